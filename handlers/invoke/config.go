package invoke

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Config bounds how long and how often a request is tried.
type Config struct {
	AttemptTimeout    time.Duration `json:"attempt_timeout,omitempty"`     // of one call; 120 s
	FirstTokenTimeout time.Duration `json:"first_token_timeout,omitempty"` // of a stream until its first output; 14 s
	StallTimeout      time.Duration `json:"stall_timeout,omitempty"`       // of a stream between two pieces; 30 s
	MaxAttempts       int           `json:"max_attempts,omitempty"`        // calls in one round, over all targets; 6
	MaxWait           time.Duration `json:"max_wait,omitempty"`            // longest wait before a call; what needs longer goes to the next target; 10 s
	Backoff           Backoff       `json:"backoff,omitzero"`
	RetryBudget       RetryBudget   `json:"retry_budget,omitzero"`
	Hedge             HedgeConfig   `json:"hedge,omitzero"`
	// Continue has a target that can go on from what a stream said that broke off;
	// any other begins anew.
	Continue bool `json:"continue,omitempty"`
	// BatchPoll is the longest wait between two looks at a vendor's batch; 1 minute.
	BatchPoll time.Duration `json:"batch_poll,omitempty"`
	Seed      uint64        `json:"seed,omitempty"` // of the jitter; the same seed gives the same waits
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

// HedgeConfig says when a second call is made beside one that takes long. It goes to
// another endpoint of the target or else to the next target, and the first of the
// two that answers, or that begins to where the answer is streamed, counts.
type HedgeConfig struct {
	// After is how long the first call has: a percentile of what its target took
	// lately, from p50 to p99, or a duration. Empty: no hedges.
	After string `json:"after,omitempty"`
	// Share is the spend cap: expected tokens of hedges for each token that was asked
	// for in about the last ten minutes; 0.05.
	Share float64 `json:"share,omitempty"`
	// Samples is how many answers of a target make its percentile known; 20.
	Samples int `json:"samples,omitempty"`
}

// Defaults returns the configuration of an empty document.
func Defaults() Config {
	return Config{
		AttemptTimeout:    120 * time.Second,
		FirstTokenTimeout: 14 * time.Second,
		StallTimeout:      30 * time.Second,
		MaxAttempts:       6,
		MaxWait:           10 * time.Second,
		BatchPoll:         time.Minute,
		Backoff:           Backoff{Initial: 500 * time.Millisecond, Max: 8 * time.Second},
		RetryBudget:       RetryBudget{Share: 0.2, PerSecond: 1, Burst: 20},
		Hedge:             HedgeConfig{Share: 0.05, Samples: 20},
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
		{"batch_poll", c.BatchPoll},
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
	return errors.Join(append(faults, c.Hedge.faults()...)...)
}

func (h *HedgeConfig) faults() []error {
	var faults []error
	if _, _, err := h.after(); err != nil {
		faults = append(faults, err)
	}
	if !(h.Share >= 0 && h.Share <= 1) {
		faults = append(faults, fmt.Errorf("hedge.share is %v: write 0 to 1, such as 0.05", h.Share))
	}
	if h.Samples < 1 || h.Samples > history {
		faults = append(faults, fmt.Errorf("hedge.samples is %d: write 1 to %d", h.Samples, history))
	}
	return faults
}

// after returns the percentile or the duration that After names.
func (h *HedgeConfig) after() (percentile int, d time.Duration, err error) {
	if h.After == "" {
		return 0, 0, nil
	}
	if number, ok := strings.CutPrefix(h.After, "p"); ok {
		if p, err := strconv.Atoi(number); err == nil && p >= 50 && p <= 99 {
			return p, 0, nil
		}
	} else if d, err := time.ParseDuration(h.After); err == nil && d > 0 {
		return 0, d, nil
	}
	return 0, 0, fmt.Errorf("hedge.after is %q: write p50 to p99, such as p95, or a duration, such as 3s", h.After)
}
