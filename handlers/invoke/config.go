package invoke

import (
	"errors"
	"fmt"
	"time"
)

// Config bounds how long and how often a request is tried.
type Config struct {
	AttemptTimeout    time.Duration `json:"attempt_timeout,omitempty"`     // of one call; 120 s
	FirstTokenTimeout time.Duration `json:"first_token_timeout,omitempty"` // of a stream until its first output; 15 s
	StallTimeout      time.Duration `json:"stall_timeout,omitempty"`       // of a stream between two pieces; 30 s
	MaxAttempts       int           `json:"max_attempts,omitempty"`        // calls in one round, over all targets; 6
	MaxWait           time.Duration `json:"max_wait,omitempty"`            // longest wait before a call; what needs longer goes to the next target; 10 s
	Backoff           Backoff       `json:"backoff,omitzero"`
	RetryBudget       RetryBudget   `json:"retry_budget,omitzero"`
	Seed              uint64        `json:"seed,omitempty"` // of the jitter; the same seed gives the same waits
}

// Backoff is the wait before the same target is asked again, where the provider
// names none: Initial, doubled each time up to Max, give or take a quarter.
type Backoff struct {
	Initial time.Duration `json:"initial,omitempty"` // 0.5 s
	Max     time.Duration `json:"max,omitempty"`     // 8 s
}

// RetryBudget bounds how much the retries of this process add to its calls, so
// that an outage does not multiply load. Asking another target is no retry.
type RetryBudget struct {
	Share     float64 `json:"share,omitempty"`      // retries for each first call; 0.2
	PerSecond float64 `json:"per_second,omitempty"` // retries allowed however few calls there are; 1
	Burst     float64 `json:"burst,omitempty"`      // unused retries that are kept; 20
}

// Defaults returns the configuration of an empty document.
func Defaults() Config {
	return Config{
		AttemptTimeout:    120 * time.Second,
		FirstTokenTimeout: 15 * time.Second,
		StallTimeout:      30 * time.Second,
		MaxAttempts:       6,
		MaxWait:           10 * time.Second,
		Backoff:           Backoff{Initial: 500 * time.Millisecond, Max: 8 * time.Second},
		RetryBudget:       RetryBudget{Share: 0.2, PerSecond: 1, Burst: 20},
		Seed:              1,
	}
}

// Validate reports everything that is wrong with c.
func (c *Config) Validate() error {
	var faults []error
	for _, d := range []struct {
		name string
		d    time.Duration
	}{
		{"attempt_timeout", c.AttemptTimeout},
		{"first_token_timeout", c.FirstTokenTimeout},
		{"stall_timeout", c.StallTimeout},
		{"max_wait", c.MaxWait},
		{"backoff.initial", c.Backoff.Initial},
		{"backoff.max", c.Backoff.Max},
	} {
		if d.d <= 0 {
			faults = append(faults, fmt.Errorf("%s is %s: write a duration above 0, such as 15s", d.name, d.d))
		}
	}
	if c.Backoff.Max < c.Backoff.Initial {
		faults = append(faults, fmt.Errorf("backoff.max is %s: write at least backoff.initial, %s", c.Backoff.Max, c.Backoff.Initial))
	}
	if c.MaxAttempts < 1 {
		faults = append(faults, fmt.Errorf("max_attempts is %d: write 1 or more", c.MaxAttempts))
	}
	b := c.RetryBudget
	if !(b.Share >= 0 && b.Share <= 1) { // so that NaN is refused too
		faults = append(faults, fmt.Errorf("retry_budget.share is %v: write 0 to 1, such as 0.2", b.Share))
	}
	if !(b.PerSecond >= 0) {
		faults = append(faults, fmt.Errorf("retry_budget.per_second is %v: write 0 or more", b.PerSecond))
	}
	if !(b.Burst >= 1) {
		faults = append(faults, fmt.Errorf("retry_budget.burst is %v: write 1 or more", b.Burst))
	}
	return errors.Join(faults...)
}
