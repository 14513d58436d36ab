package balance

import (
	"errors"
	"fmt"
	"time"
)

// Config says when endpoints are left alone and for how long.
type Config struct {
	Breaker BreakerConfig `json:"breaker,omitzero"`
	Rest    RestConfig    `json:"rest,omitzero"`
}

// BreakerConfig says when an endpoint's circuit breaker opens and closes. Only
// failures whose policy says Breaker count.
//
// It does not flap, for four reasons: opening takes evidence (a run of failures,
// or a bad ratio of many calls); a call that began before the last change of
// state has no say in the next; closing takes Probes successes in a row; and
// after closing the count begins anew. An endpoint that fails again at once
// therefore costs Consecutive calls for every OpenFor, no more.
type BreakerConfig struct {
	Consecutive uint32        `json:"consecutive,omitempty"`  // failures in a row that open it; 5
	Ratio       float64       `json:"ratio,omitempty"`        // share of failures within Window that opens it; 0.5
	MinRequests uint32        `json:"min_requests,omitempty"` // finished calls within Window before Ratio counts; 10
	Window      time.Duration `json:"window,omitempty"`       // how long a finished call counts; 30 s
	OpenFor     time.Duration `json:"open_for,omitempty"`     // how long it stays open before probes; 10 s
	Probes      uint32        `json:"probes,omitempty"`       // calls let through when half open, all of which must succeed; 2
}

// RestConfig says how long something rests when the provider names no time.
type RestConfig struct {
	RateLimited time.Duration `json:"rate_limited,omitempty"` // the key; 1 s
	Quota       time.Duration `json:"quota,omitempty"`        // the key; 5 min
	Auth        time.Duration `json:"auth,omitempty"`         // the key, whatever the provider says; 10 min
	Permission  time.Duration `json:"permission,omitempty"`   // the model with this key; 10 min
	NotFound    time.Duration `json:"not_found,omitempty"`    // the model at this provider; 5 min
	Max         time.Duration `json:"max,omitempty"`          // longest rest, whatever the provider says; 1 h
}

// Defaults returns the configuration of an empty document.
func Defaults() Config {
	return Config{
		Breaker: BreakerConfig{
			Consecutive: 5, Ratio: 0.5, MinRequests: 10,
			Window: 30 * time.Second, OpenFor: 10 * time.Second, Probes: 2,
		},
		Rest: RestConfig{
			RateLimited: time.Second, Quota: 5 * time.Minute, Auth: 10 * time.Minute,
			Permission: 10 * time.Minute, NotFound: 5 * time.Minute, Max: time.Hour,
		},
	}
}

// Validate reports everything that is wrong with c.
func (c *Config) Validate() error {
	var faults []error
	b := c.Breaker
	if b.Consecutive == 0 {
		faults = append(faults, errors.New("breaker.consecutive is 0: write how many failures in a row open the breaker, such as 5"))
	}
	if !(b.Ratio > 0 && b.Ratio <= 1) { // so that NaN is refused too
		faults = append(faults, fmt.Errorf("breaker.ratio is %v: write a share above 0 and up to 1, such as 0.5", b.Ratio))
	}
	if b.MinRequests == 0 {
		faults = append(faults, errors.New("breaker.min_requests is 0: write after how many calls the ratio counts, such as 10"))
	}
	if b.Probes == 0 {
		faults = append(faults, errors.New("breaker.probes is 0: write how many calls must succeed before the breaker closes, such as 2"))
	}
	for _, d := range []struct {
		name string
		d    time.Duration
	}{
		{"breaker.window", b.Window},
		{"breaker.open_for", b.OpenFor},
		{"rest.rate_limited", c.Rest.RateLimited},
		{"rest.quota", c.Rest.Quota},
		{"rest.auth", c.Rest.Auth},
		{"rest.permission", c.Rest.Permission},
		{"rest.not_found", c.Rest.NotFound},
		{"rest.max", c.Rest.Max},
	} {
		if d.d <= 0 {
			faults = append(faults, fmt.Errorf("%s is %s: write a duration above 0, such as 30s", d.name, d.d))
		}
	}
	return errors.Join(faults...)
}
