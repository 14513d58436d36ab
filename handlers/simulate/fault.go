package simulate

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Fault is one way to fail, for a share of the calls.
type Fault struct {
	// Share of the calls, 0 to 1.
	Share float64 `json:"share"`
	// After is how many tokens a stream carries before it fails. Default 2.
	After *int `json:"after,omitempty"`
	// RetryAfter, in whole seconds on the wire (rounded up), goes with 429, 500, 503 and 529; none is sent when it is 0.
	RetryAfter Duration `json:"retry_after,omitempty"`
	// Latency is the wait of the slow fault. Default 10s.
	Latency Duration `json:"latency,omitempty"`
	// Times limits the fault to the first calls of a key, so that a retry succeeds. 0 is no limit.
	Times int `json:"times,omitempty"`
}

func (f Fault) validate(name string) error {
	var errs []error
	if faultNamed(name) == faultNone {
		errs = append(errs, fmt.Errorf("faults: no fault %q: there are %s", name, strings.Join(faultNames(), ", ")))
	}
	if err := share("faults."+name+".share", f.Share); err != nil {
		errs = append(errs, err)
	}
	if f.After != nil && *f.After < 0 {
		errs = append(errs, fmt.Errorf("faults.%s.after: %d: write how many tokens come first", name, *f.After))
	}
	if f.RetryAfter < 0 || f.Latency < 0 || f.Times < 0 || time.Duration(f.Latency) > maxLatency {
		errs = append(errs, fmt.Errorf("faults.%s: retry_after, latency (up to %s) and times are not below zero", name, maxLatency))
	}
	return errors.Join(errs...)
}

// fault identifies a way to fail. The order of the constants is the order in which shares are laid out on the line from
// 0 to 1 that a call draws from.
type fault int

const (
	faultNone fault = iota
	faultRate
	faultQuota
	faultServer
	faultUnavailable
	faultOverloaded
	faultAuth
	faultContext
	faultPolicy
	faultFilter
	faultReset
	faultSilence
	faultSlow
	faultCut
	faultStall
	faultMalformed
	faultNoEnd
	faultStreamError
	faultCount
)

// faults gives every fault its name, and the refusal for those that are an answer with an error status.
var faults = [faultCount]struct {
	name    string
	refusal refusal
}{
	faultNone:        {name: ""},
	faultRate:        {name: "429", refusal: refusedRate},
	faultQuota:       {name: "quota", refusal: refusedQuota},
	faultServer:      {name: "500", refusal: refusedServer},
	faultUnavailable: {name: "503", refusal: refusedUnavailable},
	faultOverloaded:  {name: "529", refusal: refusedOverloaded},
	faultAuth:        {name: "auth", refusal: refusedAuth},
	faultContext:     {name: "context", refusal: refusedContext},
	faultPolicy:      {name: "policy", refusal: refusedPolicy},
	faultFilter:      {name: "filter"},
	faultReset:       {name: "reset"},
	faultSilence:     {name: "silence"},
	faultSlow:        {name: "slow"},
	faultCut:         {name: "cut"},
	faultStall:       {name: "stall"},
	faultMalformed:   {name: "malformed"},
	faultNoEnd:       {name: "no-end"},
	faultStreamError: {name: "stream-error"},
}

func (f fault) String() string { return faults[f].name }

func faultNamed(name string) fault {
	for f := faultNone + 1; f < faultCount; f++ {
		if faults[f].name == name {
			return f
		}
	}
	return faultNone
}

func faultNames() []string {
	names := make([]string, 0, faultCount-1)
	for f := faultNone + 1; f < faultCount; f++ {
		names = append(names, faults[f].name)
	}
	return names
}

// drawn is the fault of one call with what it needs to know.
type drawn struct {
	fault      fault
	after      int
	retryAfter time.Duration
	latency    time.Duration
}

// settle fills in the defaults of f for its use as kind.
func (f Fault) settle(kind fault) drawn {
	d := drawn{fault: kind, after: 2, retryAfter: time.Duration(f.RetryAfter), latency: time.Duration(f.Latency)}
	if f.After != nil {
		d.after = *f.After
	}
	if d.latency == 0 {
		d.latency = 10 * time.Second
	}
	return d
}

// appliesTo reports whether f still fails the given call of a key, counted from 1.
func (f Fault) appliesTo(attempt int) bool { return f.Times == 0 || attempt <= f.Times }

// drawFault returns the fault of the call with the given seed, which is the attempt-th of its key.
func (b *Behaviour) drawFault(seed uint64, attempt int) drawn {
	if len(b.Faults) == 0 {
		return drawn{}
	}
	u := unit(seed, drawFault)
	for kind := faultNone + 1; kind < faultCount; kind++ {
		f, ok := b.Faults[faults[kind].name]
		if !ok {
			continue
		}
		if u < f.Share {
			if f.appliesTo(attempt) {
				return f.settle(kind)
			}
			return drawn{}
		}
		u -= f.Share
	}
	return drawn{}
}

// directive is what a caller orders for one call, by header or behind the model's name.
type directive struct {
	kind  fault
	fault Fault
}

// parseDirective reads "name[;after=2][;retry-after=3][;latency=5s][;times=1]".
func parseDirective(text string) (directive, error) {
	name, rest, more := strings.Cut(text, ";")
	d := directive{kind: faultNamed(strings.TrimSpace(name))}
	if d.kind == faultNone {
		return d, fmt.Errorf("no fault %q: there are %s", name, strings.Join(faultNames(), ", "))
	}
	for more {
		var option string
		option, rest, more = strings.Cut(rest, ";")
		if err := d.option(strings.TrimSpace(option)); err != nil {
			return d, err
		}
	}
	return d, nil
}

func (d *directive) option(text string) error {
	key, value, _ := strings.Cut(text, "=")
	switch key {
	case "after", "times", "retry-after":
		n, err := strconv.Atoi(value)
		if err != nil || n < 0 || n > maxTokens {
			return fmt.Errorf("fault option %q: write a whole number, such as %s=3", text, key)
		}
		switch key {
		case "after":
			d.fault.After = &n
		case "times":
			d.fault.Times = n
		default:
			d.fault.RetryAfter = Duration(time.Duration(n) * time.Second)
		}
		return nil
	case "latency":
		latency, err := parseLatency(value)
		d.fault.Latency = Duration(latency)
		return err
	}
	return fmt.Errorf("no fault option %q: there are after, times, retry-after and latency", key)
}

func parseLatency(text string) (time.Duration, error) {
	var d Duration
	if err := d.UnmarshalText([]byte(text)); err != nil {
		return 0, err
	}
	if time.Duration(d) > maxLatency {
		return 0, fmt.Errorf("latency %s: write %s at most", text, maxLatency)
	}
	return time.Duration(d), nil
}

// splitModel parts the order for a fault from the name of a model: "gpt-4o-mini+fault=429;retry-after=3".
func splitModel(model string) (name, order string) {
	name, order, _ = strings.Cut(model, "+fault=")
	return name, order
}
