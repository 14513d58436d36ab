package balance

import (
	"errors"
	"fmt"
	"time"
)

// Config says when endpoints are left alone and for how long, and what is
// preferred among the others.
type Config struct {
	Breaker   BreakerConfig   `json:"breaker,omitzero"`
	Rest      RestConfig      `json:"rest,omitzero"`
	SlowStart SlowStartConfig `json:"slow_start,omitzero"`
	Locality  LocalityConfig  `json:"locality,omitzero"`
	Measure   MeasureConfig   `json:"measure,omitzero"`
	Health    HealthConfig    `json:"health,omitzero"`
	// Seed of all jitter. Workers with different seeds do not return to an
	// endpoint together.
	Seed uint64 `json:"seed,omitempty"`
}

// BreakerConfig says when an endpoint's circuit breaker opens and closes. Only
// failures whose policy says Breaker count.
//
// It opens by a sequential likelihood-ratio test (a Bernoulli CUSUM, Page 1954):
// each failed call adds ln(Failing/Healthy) to the evidence, each answer takes
// ln((1-Healthy)/(1-Failing)) from it, never below 0, and at Evidence the breaker
// opens. Ten failures among few calls suffice, three in a hundred hardly ever do. It
// also opens after Consecutive failures in a row and, where Ratio is set, at
// that share of failures.
//
// It does not flap, for five reasons: opening takes evidence; a call that began
// before the last change of state has no say in the next; closing takes Probes
// successes in a row; after closing the evidence begins anew; and each opening
// that follows a failed probe, or a closing less than Window ago, lasts twice as
// long as the one before, up to OpenMax.
type BreakerConfig struct {
	Consecutive uint32        `json:"consecutive,omitempty"`  // failures in a row that open it; 5
	Healthy     float64       `json:"healthy,omitempty"`      // share of failures of an endpoint that is well; 0.01
	Failing     float64       `json:"failing,omitempty"`      // share of failures of one that is not; 0.08
	Evidence    float64       `json:"evidence,omitempty"`     // log-likelihood ratio of failing to healthy that opens it; 20
	Memory      time.Duration `json:"memory,omitempty"`       // after how long evidence counts half; 5 min
	Ratio       float64       `json:"ratio,omitempty"`        // share of failures within Window that opens it too; 0, no share does
	MinRequests uint32        `json:"min_requests,omitempty"` // finished calls within Window before Ratio counts; 10
	Window      time.Duration `json:"window,omitempty"`       // how long a finished call counts for Ratio and Consecutive; 30 s
	OpenFor     time.Duration `json:"open_for,omitempty"`     // longest it stays open before the first probes; 10 s
	OpenMax     time.Duration `json:"open_max,omitempty"`     // longest it stays open before later ones, if above OpenFor; 25 s
	Jitter      float64       `json:"jitter,omitempty"`       // share of an opening by which it may be shorter; 0.2
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

// SlowStartConfig says how an endpoint that has just joined, or whose breaker has
// just closed, comes back: its weight grows evenly from Floor percent.
type SlowStartConfig struct {
	Window time.Duration `json:"window,omitempty"` // until it has its whole weight; 10 s; 0: at once
	Floor  int           `json:"floor,omitempty"`  // percent of its weight at the beginning; 10
}

// LocalityConfig says where this process is and how much it prefers endpoints
// that are near. Where neither region nor zone is named there is no preference.
type LocalityConfig struct {
	Region string `json:"region,omitempty"`
	Zone   string `json:"zone,omitempty"`   // within the region
	Remote int    `json:"remote,omitempty"` // percent of its weight that an endpoint of another zone keeps, one of another region the square of that; 100
}

// MeasureConfig says how latency and success are measured.
type MeasureConfig struct {
	Decay time.Duration `json:"decay,omitempty"` // after which a measurement has 1/e of its say; 10 s
}

// Defaults returns the configuration of an empty document.
func Defaults() Config {
	return Config{
		Breaker: BreakerConfig{
			Consecutive: 5, Healthy: 0.01, Failing: 0.08, Evidence: 20, Memory: 5 * time.Minute, MinRequests: 10,
			Window: 30 * time.Second, OpenFor: 10 * time.Second, OpenMax: 25 * time.Second, Jitter: 0.2, Probes: 2,
		},
		Rest: RestConfig{
			RateLimited: time.Second, Quota: 5 * time.Minute, Auth: 10 * time.Minute,
			Permission: 10 * time.Minute, NotFound: 5 * time.Minute, Max: time.Hour,
		},
		SlowStart: SlowStartConfig{Window: 10 * time.Second, Floor: 10},
		Locality:  LocalityConfig{Remote: 100},
		Measure:   MeasureConfig{Decay: 10 * time.Second},
		Health:    HealthConfig{Timeout: 10 * time.Second, Idle: time.Minute, Max: 10 * time.Minute, Jitter: 0.2},
		Seed:      1,
	}
}

// Validate reports everything that is wrong with c.
func (c *Config) Validate() error {
	faults := c.Breaker.faults()
	for _, d := range []struct {
		name string
		d    time.Duration
	}{
		{"breaker.window", c.Breaker.Window},
		{"breaker.memory", c.Breaker.Memory},
		{"breaker.open_for", c.Breaker.OpenFor},
		{"breaker.open_max", c.Breaker.OpenMax},
		{"rest.rate_limited", c.Rest.RateLimited},
		{"rest.quota", c.Rest.Quota},
		{"rest.auth", c.Rest.Auth},
		{"rest.permission", c.Rest.Permission},
		{"rest.not_found", c.Rest.NotFound},
		{"rest.max", c.Rest.Max},
		{"measure.decay", c.Measure.Decay},
		{"health.timeout", c.Health.Timeout},
		{"health.idle", c.Health.Idle},
		{"health.max", c.Health.Max},
	} {
		if d.d <= 0 {
			faults = append(faults, fmt.Errorf("%s is %s: write a duration above 0, such as 30s", d.name, d.d))
		}
	}
	if c.SlowStart.Window < 0 {
		faults = append(faults, fmt.Errorf("slow_start.window is %s: write a duration, or 0s for none", c.SlowStart.Window))
	}
	for _, p := range []struct {
		name string
		p    int
	}{{"slow_start.floor", c.SlowStart.Floor}, {"locality.remote", c.Locality.Remote}} {
		if p.p < 1 || p.p > 100 {
			faults = append(faults, fmt.Errorf("%s is %d: write a percentage from 1 to 100", p.name, p.p))
		}
	}
	if !(c.Health.Jitter >= 0 && c.Health.Jitter < 1) {
		faults = append(faults, fmt.Errorf("health.jitter is %v: write a share from 0 up to, without, 1, such as 0.2", c.Health.Jitter))
	}
	return errors.Join(faults...)
}

func (b *BreakerConfig) faults() []error {
	var faults []error
	if b.Consecutive == 0 {
		faults = append(faults, errors.New("breaker.consecutive is 0: write how many failures in a row open the breaker, such as 5"))
	}
	// The comparisons are written so that they refuse NaN too.
	if !(b.Healthy > 0 && b.Healthy < b.Failing && b.Failing < 1) {
		faults = append(faults, fmt.Errorf("breaker.healthy is %v and breaker.failing %v: write two shares between 0 and 1, the smaller first, such as 0.01 and 0.08", b.Healthy, b.Failing))
	}
	if !(b.Evidence > 0) {
		faults = append(faults, fmt.Errorf("breaker.evidence is %v: write a log-likelihood ratio above 0, such as 20", b.Evidence))
	}
	if !(b.Ratio >= 0 && b.Ratio <= 1) {
		faults = append(faults, fmt.Errorf("breaker.ratio is %v: write a share above 0 and up to 1, such as 0.5, or 0 for none", b.Ratio))
	}
	if b.MinRequests == 0 {
		faults = append(faults, errors.New("breaker.min_requests is 0: write after how many calls the ratio counts, such as 10"))
	}
	if !(b.Jitter >= 0 && b.Jitter < 1) {
		faults = append(faults, fmt.Errorf("breaker.jitter is %v: write a share from 0 up to, without, 1, such as 0.2", b.Jitter))
	}
	if b.Probes == 0 {
		faults = append(faults, errors.New("breaker.probes is 0: write how many calls must succeed before the breaker closes, such as 2"))
	}
	return faults
}
