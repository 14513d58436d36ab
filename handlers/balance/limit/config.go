package limit

import (
	"errors"
	"fmt"
	"time"
)

// Config is the limits of a gateway.
type Config struct {
	Rules   []Rule        `json:"rules,omitempty"`
	Queue   int           `json:"queue,omitempty"`    // requests that wait at most; 1000
	MaxWait time.Duration `json:"max_wait,omitempty"` // of a request without a deadline; 1 min
	// Settle is how long a process waits before it uses a share that grew, so that
	// the others have given theirs up; 1 s. It should be longer than news takes.
	Settle time.Duration `json:"settle,omitempty"`
}

// Scope is what a limit is for.
type Scope string

// The scopes.
const (
	Tenant   Scope = "tenant"
	Key      Scope = "key" // a credential at a provider
	Endpoint Scope = "endpoint"
	Model    Scope = "model"
)

// learned is the scope of limits that nobody configured: a provider names them,
// for a key and a model.
const learned Scope = "key and model"

// Rule limits each tenant, key, endpoint or model, or the one that it names: the
// named rules of one take the place of the rules for each. What is not given is
// not limited. Limits are those of all processes together.
type Rule struct {
	Scope       Scope           `json:"scope"`
	Name        string          `json:"name,omitempty"`        // "": each
	Requests    int64           `json:"requests,omitempty"`    // a minute
	Tokens      int64           `json:"tokens,omitempty"`      // a minute, of input and output
	Concurrency int64           `json:"concurrency,omitempty"` // calls at once
	Burst       int64           `json:"burst,omitempty"`       // percent of a minute's requests or tokens admitted at once after a pause; 2
	Adaptive    *AdaptiveConfig `json:"adaptive,omitempty"`    // concurrency that finds itself
}

// Defaults returns the configuration of an empty document: no limits.
func Defaults() Config {
	return Config{Queue: 1000, MaxWait: time.Minute, Settle: time.Second}
}

// Validate fills in what rules leave out and reports everything that is wrong.
func (c *Config) Validate() error {
	var faults []error
	if c.Queue < 0 {
		faults = append(faults, fmt.Errorf("queue is %d: write how many requests may wait, or 0 for none", c.Queue))
	}
	if c.MaxWait <= 0 {
		faults = append(faults, fmt.Errorf("max_wait is %s: write a duration above 0, such as 1m", c.MaxWait))
	}
	if c.Settle < 0 {
		faults = append(faults, fmt.Errorf("settle is %s: write a duration, such as 1s", c.Settle))
	}
	for i := range c.Rules {
		for _, err := range c.Rules[i].faults() {
			faults = append(faults, fmt.Errorf("rules[%d].%w", i, err))
		}
	}
	return errors.Join(faults...)
}

func (r *Rule) faults() []error {
	var faults []error
	switch r.Scope {
	case Tenant, Key, Endpoint, Model:
	default:
		faults = append(faults, fmt.Errorf("scope is %q: write tenant, key, endpoint or model", r.Scope))
	}
	for _, n := range []struct {
		name string
		n    int64
	}{{"requests", r.Requests}, {"tokens", r.Tokens}, {"concurrency", r.Concurrency}} {
		if n.n < 0 || n.n > maxUnits {
			faults = append(faults, fmt.Errorf("%s is %d: write 1 to %d, or leave it out", n.name, n.n, maxUnits))
		}
	}
	if r.Requests == 0 && r.Tokens == 0 && r.Concurrency == 0 && r.Adaptive == nil {
		faults = append(faults, errors.New("requests: write at least one of requests, tokens, concurrency, adaptive"))
	}
	if r.Burst < 0 || r.Burst > 100 {
		faults = append(faults, fmt.Errorf("burst is %d: write a percentage from 1 to 100, such as 2", r.Burst))
	}
	if r.Burst == 0 {
		r.Burst = defaultBurst
	}
	if r.Adaptive != nil {
		filled := r.Adaptive.withDefaults()
		r.Adaptive = &filled
		faults = append(faults, filled.faults()...)
	}
	return faults
}

// defaultBurst keeps any minute within 5 percent of the limit, with something to
// spare for shares that change.
const defaultBurst = 2
