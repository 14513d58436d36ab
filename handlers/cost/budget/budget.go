// Package budget keeps spending within limits while thousands of requests run at
// once. Money is reserved before a call, settled after it, and comes back by itself
// where nobody settles.
//
// One owner decides about a budget: the reader of the partition that the budget's
// commands are on. It takes commands in order, so nothing can be raced, and
// writes what it decided to a changelog from which another owner goes on.
// Nothing here speaks to Kafka: commands come in and changes go out. Package office
// carries both.
//
// The bound: as long as calls cost at most what was reserved for them, spending
// never exceeds a hard limit. A call that costs more than was reserved exceeds it by the
// difference, once for each call that was in flight when the limit was reached.
package budget

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"time"

	"github.com/shopspring/decimal"

	"github.com/sira-ai/sira/schemas"
)

// Mode says what a limit does.
type Mode string

// The modes.
const (
	Hard   Mode = "hard"   // refuses what does not fit
	Soft   Mode = "soft"   // lets it pass and says so
	Shadow Mode = "shadow" // only counts, to see what a limit would do
)

// Window is how long a limit lasts.
type Window string

// The windows. A week begins on Monday.
const (
	Hour  Window = "hour"
	Day   Window = "day"
	Week  Window = "week"
	Month Window = "month"
)

// Config is a limit on spending.
type Config struct {
	ID       string          `json:"id"`
	Tenant   string          `json:"tenant,omitempty"` // empty: all together
	Labels   Labels          `json:"labels,omitempty"` // all of them must match
	Limit    decimal.Decimal `json:"limit"`
	Currency string          `json:"currency"`
	Window   Window          `json:"window"`
	Zone     string          `json:"zone,omitempty"` // IANA name, such as Europe/Berlin; UTC
	Mode     Mode            `json:"mode,omitempty"` // hard
	Warn     []int           `json:"warn,omitempty"` // percent of the limit; 80, 95
	// First is reserved for a call that nothing is known about yet; 0.05, and at most
	// a hundredth of the limit.
	First decimal.Decimal `json:"first_reservation,omitzero"`
	// Wait is how long a request waits for the owner of a hard budget; 15s. Then it
	// fails as unavailable, or passes if Outage is allow.
	Wait   time.Duration `json:"wait,omitempty"`
	Outage Outage        `json:"on_outage,omitempty"` // refuse
}

// Outage says what happens to requests while nobody can say what is left of a hard
// budget.
type Outage string

// What happens.
const (
	RefuseOnOutage Outage = "refuse" // they fail as unavailable and may be tried later
	AllowOnOutage  Outage = "allow"  // they pass, and are booked when the owner is back
)

// defaultWait is longer than another owner needs to take over.
const defaultWait = 15 * time.Second

var defaultFirst = decimal.New(5, -2)

// Labels are label names and values.
type Labels map[string]string

var name = regexp.MustCompile(`^[A-Za-z0-9_.:/-]{1,200}$`)

// Validate sets defaults and says what to write instead.
func (c *Config) Validate() error {
	if c.Mode == "" {
		c.Mode = Hard
	}
	if c.Zone == "" {
		c.Zone = "UTC"
	}
	if c.Warn == nil {
		c.Warn = []int{80, 95}
	}
	if c.First.IsZero() {
		c.First = decimal.Min(defaultFirst, c.Limit.Shift(-2)).RoundUp(schemas.MoneyScale)
	}
	if c.Wait == 0 {
		c.Wait = defaultWait
	}
	if c.Outage == "" {
		c.Outage = RefuseOnOutage
	}
	var errs []error
	wrong := func(format string, args ...any) {
		errs = append(errs, fmt.Errorf("budget %q: "+format, append([]any{c.ID}, args...)...))
	}
	if !name.MatchString(c.ID) {
		wrong("id: write letters, digits and any of _.:/-")
	}
	if !c.Limit.IsPositive() || !c.Limit.LessThan(maxAmount) || c.Limit.Exponent() < -schemas.MoneyScale {
		wrong("limit: write an amount above 0 and below 10^18 with at most %d places, such as 500", schemas.MoneyScale)
	}
	if len(c.Currency) != 3 {
		wrong("currency: write three capital letters such as USD")
	}
	if !slices.Contains([]Window{Hour, Day, Week, Month}, c.Window) {
		wrong("window: write hour, day, week or month")
	}
	if !slices.Contains([]Mode{Hard, Soft, Shadow}, c.Mode) {
		wrong("mode: write hard, soft or shadow")
	}
	if _, err := time.LoadLocation(c.Zone); err != nil {
		wrong("zone: write a name such as Europe/Berlin: %w", err)
	}
	if !slices.IsSorted(c.Warn) || len(c.Warn) > 0 && (c.Warn[0] < 1 || c.Warn[len(c.Warn)-1] > 100) {
		wrong("warn: write percentages from 1 to 100, rising")
	}
	if c.Limit.IsPositive() && (!c.First.IsPositive() || c.First.GreaterThan(c.Limit)) {
		wrong("first_reservation: write an amount above 0 and at most the limit, or leave it out")
	}
	if c.Wait < 0 {
		wrong("wait: write a duration such as 15s, or leave it out")
	}
	if c.Outage != RefuseOnOutage && c.Outage != AllowOnOutage {
		wrong("on_outage: write refuse or allow")
	}
	return errors.Join(errs...)
}

// ValidateAll is Validate for all budgets of a document, whose ids must differ. Each
// fault names its budget.
func ValidateAll(configs []Config) error {
	var errs []error
	seen := make(map[string]bool, len(configs))
	for i := range configs {
		errs = append(errs, configs[i].Validate())
		if seen[configs[i].ID] {
			errs = append(errs, fmt.Errorf("budget %q: there are two of this id; each needs its own", configs[i].ID))
		}
		seen[configs[i].ID] = true
	}
	return errors.Join(errs...)
}

// Covers reports whether a request's spending counts.
func (c *Config) Covers(tenant string, labels map[string]string) bool {
	if c.Tenant != "" && c.Tenant != tenant {
		return false
	}
	for k, v := range c.Labels {
		if labels[k] != v {
			return false
		}
	}
	return true
}

// Bounds returns the window that a moment lies in, in the budget's time zone. A day
// on which clocks change has 23 or 25 hours, and an hour stays an hour.
func (w Window) Bounds(at time.Time, zone *time.Location) (from, to time.Time) {
	at = at.In(zone)
	year, month, day := at.Date()
	switch w {
	case Hour:
		from = at.Add(-time.Duration(at.Minute())*time.Minute - time.Duration(at.Second())*time.Second - time.Duration(at.Nanosecond()))
		return from, from.Add(time.Hour)
	case Week:
		monday := day - (int(at.Weekday())+6)%7
		return time.Date(year, month, monday, 0, 0, 0, 0, zone), time.Date(year, month, monday+7, 0, 0, 0, 0, zone)
	case Month:
		return time.Date(year, month, 1, 0, 0, 0, 0, zone), time.Date(year, month+1, 1, 0, 0, 0, 0, zone)
	}
	return time.Date(year, month, day, 0, 0, 0, 0, zone), time.Date(year, month, day+1, 0, 0, 0, 0, zone)
}
