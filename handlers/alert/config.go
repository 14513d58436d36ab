package alert

import (
	"slices"
	"time"

	"github.com/sira-ai/sira/schemas"
)

// Config is the rules of the section alerts of the configuration document.
type Config struct {
	Every    time.Duration  `json:"every,omitempty"` // time between two looks; 30s
	Burn     []BurnRule     `json:"burn,omitempty"`
	Anomaly  []AnomalyRule  `json:"anomaly,omitempty"`
	Budget   []BudgetRule   `json:"budget,omitempty"`
	Forecast []ForecastRule `json:"forecast,omitempty"`
}

// Defaults returns the configuration of an empty document: no rules.
func Defaults() Config { return Config{Every: 30 * time.Second} }

// Rule is what all kinds of rules have in common.
type Rule struct {
	Name     string            `json:"name"`
	Severity string            `json:"severity,omitempty"` // page or ticket; page
	For      time.Duration     `json:"for,omitempty"`      // how long the condition holds before people are told; 0
	Keep     time.Duration     `json:"keep,omitempty"`     // how long an alert outlives its condition
	To       []string          `json:"to,omitempty"`       // receivers; all
	Labels   map[string]string `json:"labels,omitempty"`   // put on each alert
	Runbook  string            `json:"runbook,omitempty"`  // an address with what to do
	Kind     string            `json:"-"`
}

// Receiver says when somebody is told.
type Receiver struct {
	Name       string        `json:"name"`
	GroupBy    []string      `json:"group_by,omitempty"`    // labels of alerts that are told together; rule
	Wait       time.Duration `json:"wait,omitempty"`        // of the first alert of a group for others; 30s
	Interval   time.Duration `json:"interval,omitempty"`    // between notices about a group; 5m
	Repeat     time.Duration `json:"repeat,omitempty"`      // what goes on is told again; 4h
	FiringOnly bool          `json:"firing_only,omitempty"` // nothing is said when an alert is over
	// Relay is set for a receiver that groups and repeats by itself: it is told
	// everything at once, and again every minute.
	Relay bool `json:"-"`
}

// BurnRule alerts when requests fail faster than a service level objective allows.
type BurnRule struct {
	Rule `json:",inline" yaml:",inline"`

	Objective float64       `json:"objective"`        // percent of requests that are to be good, such as 99.5
	Within    time.Duration `json:"within,omitempty"` // a request that takes longer is bad too; 0: however long
	Period    time.Duration `json:"period,omitempty"` // of the objective; 720h, 30 days
	By        []string      `json:"by,omitempty"`     // model, tenant, provider, endpoint: one alert for each value
	Models    []string      `json:"models,omitempty"` // only these; all
	Tenants   []string      `json:"tenants,omitempty"`
	Ignore    []string      `json:"ignore,omitempty"`       // outcomes that are the requester's own and count for nothing
	Failures  int           `json:"min_failures,omitempty"` // bad requests within the long window, at least; 5
	Windows   []Window      `json:"windows,omitempty"`
}

// Window is a pair of windows and the burn rate that both must exceed.
type Window struct {
	Long     time.Duration `json:"long"`
	Short    time.Duration `json:"short"`
	Rate     float64       `json:"rate"`
	Severity string        `json:"severity,omitempty"`
}

// AnomalyRule alerts when a measure is not as it usually is, or above a limit.
type AnomalyRule struct {
	Rule `json:",inline" yaml:",inline"`

	Measure  string        `json:"measure"`            // one of Measures
	By       []string      `json:"by,omitempty"`       // one series for each value
	Models   []string      `json:"models,omitempty"`   // only these; all
	Tenants  []string      `json:"tenants,omitempty"`  // only these; all
	Currency string        `json:"currency,omitempty"` // of spend; USD
	Step     time.Duration `json:"step,omitempty"`     // of the series; 5m
	History  time.Duration `json:"history,omitempty"`  // that is learned from; 72h
	Score    float64       `json:"score,omitempty"`    // of a surprise, 0 to 1; 0.5
	Above    *float64      `json:"above,omitempty"`    // instead of a surprise: a limit for the last whole step
	Ignore   []string      `json:"ignore,omitempty"`   // as of burn rules
}

// BudgetRule alerts when a budget is nearly, or quite, used up.
type BudgetRule struct {
	Rule `json:",inline" yaml:",inline"`

	Budgets []string    `json:"budgets,omitempty"` // ids; all but shadow ones
	At      []Threshold `json:"at,omitempty"`      // percent of the limit; empty: the budget's own warn, and 100
}

// Threshold is a percentage and how bad it is to reach it.
type Threshold struct {
	Percent  int    `json:"percent"`
	Severity string `json:"severity,omitempty"`
}

// ForecastRule alerts when a budget will be used up before its window ends.
type ForecastRule struct {
	Rule `json:",inline" yaml:",inline"`

	Budgets []string      `json:"budgets,omitempty"` // ids; all but shadow ones
	Ahead   time.Duration `json:"ahead,omitempty"`   // how far is looked; 72h
	When    string        `json:"when,omitempty"`    // which forecast counts: expected, or earliest for the lower bound of the interval
	Season  int           `json:"season,omitempty"`  // hours after which spending repeats; 24
}

// The measures of AnomalyRule.
const (
	Requests    = "requests"
	Failing     = "failing_percent"
	P50         = "latency_p50_ms"
	P99         = "latency_p99_ms"
	Spend       = "spend"
	Probability = "failure_probability" // that prediction gives endpoints
)

// Measures are what anomaly rules can look at.
func Measures() []string { return []string{Requests, Failing, P50, P99, Spend, Probability} }

// Ignored are the outcomes that are the requester's own doing.
func Ignored() []string {
	return []string{
		string(schemas.InvalidRequest), string(schemas.Unsupported), string(schemas.ContextLength), string(schemas.PayloadTooLarge),
		string(schemas.ContentFiltered), string(schemas.Cancelled), string(schemas.Conflict), string(schemas.BudgetExceeded),
	}
}

// Google's recommended parameters for an objective over 30 days, which page at 2 %
// of the error budget within an hour and at 5 % within six, and open a ticket at
// 10 % within three days: rate = share x period / long window. Source: The Site
// Reliability Workbook, chapter 5, "Multiwindow, Multi-Burn-Rate Alerts", table 5-8
// (https://sre.google/workbook/alerting-on-slos/).
func recommended() []Window {
	return []Window{
		{Long: time.Hour, Short: 5 * time.Minute, Rate: 14.4, Severity: Page},
		{Long: 6 * time.Hour, Short: 30 * time.Minute, Rate: 6, Severity: Page},
		{Long: 72 * time.Hour, Short: 6 * time.Hour, Rate: 1, Severity: Ticket},
	}
}

// RawLimit is the longest window that is counted from single requests; longer ones
// come from the rollup by the hour, which knows model and tenant only.
const RawLimit = 6 * time.Hour

// Rules returns the common part of all rules, in the order of the document.
func (c *Config) Rules() []Rule {
	var out []Rule
	for i := range c.Burn {
		out = append(out, c.Burn[i].Rule)
	}
	for i := range c.Anomaly {
		out = append(out, c.Anomaly[i].Rule)
	}
	for i := range c.Budget {
		out = append(out, c.Budget[i].Rule)
	}
	for i := range c.Forecast {
		out = append(out, c.Forecast[i].Rule)
	}
	return out
}

// Complete sets what the document left out.
func (c *Config) Complete() {
	unset(&c.Every, Defaults().Every)
	for i := range c.Burn {
		c.Burn[i].complete()
	}
	for i := range c.Anomaly {
		c.Anomaly[i].complete()
	}
	for i := range c.Budget {
		c.Budget[i].fill(KindBudget, Ticket)
	}
	for i := range c.Forecast {
		r := &c.Forecast[i]
		r.fill(KindForecast, Ticket)
		unset(&r.Keep, 2*time.Hour) // the forecast is made once an hour
		unset(&r.Ahead, 72*time.Hour)
		unset(&r.When, "expected")
		unset(&r.Season, 24)
	}
}

func unset[T comparable](v *T, value T) {
	var none T
	if *v == none {
		*v = value
	}
}

func (r *Rule) fill(kind, severity string) {
	r.Kind = kind
	unset(&r.Severity, severity)
}

func (r *BurnRule) complete() {
	r.fill(KindBurn, Page)
	unset(&r.Period, 30*24*time.Hour)
	unset(&r.Failures, 5)
	if r.Ignore == nil {
		r.Ignore = Ignored()
	}
	if len(r.Windows) == 0 {
		r.Windows = recommended()
		if !rolledUp(r.By) {
			r.Windows = slices.DeleteFunc(r.Windows, func(w Window) bool { return w.Long > RawLimit })
		}
	}
	slices.SortStableFunc(r.Windows, func(a, b Window) int { // the worst last
		switch {
		case a.Rate < b.Rate:
			return -1
		case a.Rate > b.Rate:
			return 1
		}
		return 0
	})
}

func (r *AnomalyRule) complete() {
	r.fill(KindAnomaly, Ticket)
	unset(&r.Currency, "USD")
	unset(&r.Step, 5*time.Minute)
	unset(&r.History, 72*time.Hour)
	if r.Above == nil {
		unset(&r.Score, 0.5)
		unset(&r.Keep, 15*time.Minute) // an anomaly is one point
	}
	if r.Ignore == nil {
		r.Ignore = Ignored()
	}
}

// Complete sets what the document left out. every is the time between two looks.
func (r *Receiver) Complete(every time.Duration) {
	if r.Relay {
		r.Wait, r.Interval, r.Repeat = 0, 0, max(time.Minute, every)
		return
	}
	if r.GroupBy == nil {
		r.GroupBy = []string{"rule"}
	}
	unset(&r.Wait, 30*time.Second)
	unset(&r.Interval, 5*time.Minute)
	unset(&r.Repeat, 4*time.Hour)
}

// lifetime is for how long a notice holds. Alertmanager ends an alert that is not
// sent again by then; Prometheus gives four times the resend delay
// (https://github.com/prometheus/prometheus/blob/main/rules/manager.go, SendAlerts).
func (r *Receiver) lifetime() time.Duration { return 4 * r.Repeat }
