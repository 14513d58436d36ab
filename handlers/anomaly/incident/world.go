// Package incident simulates a fleet of endpoints with incidents, to train the
// failure predictor and to measure it: what it says, how early, and what it saves
// when weights follow it.
//
// The incidents are made up, after the forms that public status pages and
// post-mortems tell of (docs/detection.md names them). Figures of a simulation
// compare one policy with another; they do not promise how often real providers
// fail.
package incident

import (
	"math"
	"math/rand/v2"
	"time"
)

// Kind is a form of incident.
type Kind uint8

// The kinds. The first four end in failure, the others only look like it.
const (
	SlowBurn Kind = iota // queues grow, the first token comes later and later, then calls fail
	SuddenDeath
	RateStorm    // the share of 429 and 529 climbs until most calls are turned away
	RegionalLoss // one endpoint of a region falls, then the others
	Swell        // slow for a while, then well again
	Surge        // twice the traffic, a little slower
	Mix          // longer prompts: a later first token, for good reasons
	Blip         // a few failures, then none
	KindCount
)

var kindNames = [KindCount]string{"slow burn", "sudden death", "rate-limit storm", "regional loss", "swell", "surge", "prompt mix", "blip"}

func (k Kind) String() string { return kindNames[k] }

// Fails reports whether incidents of the kind end in failure.
func (k Kind) Fails() bool { return k < Swell }

// Incident is one thing that happens to some endpoints of a fleet.
type Incident struct {
	Kind   Kind
	Begin  int   // seconds; first signs, if there are any
	Onset  []int // seconds; when each endpoint begins to fail, or is at its worst
	End    int   // seconds; all is well again
	Hit    []int // endpoints
	Force  float64
	Region int
}

// failing reports whether the i-th endpoint of the incident fails at a time.
func (in *Incident) failing(i, t int) bool {
	return in.Kind.Fails() && t >= in.Onset[i] && t < in.End
}

// Plan says what a fleet is and what happens to it.
type Plan struct {
	Seed      uint64
	Endpoints int           // of one model
	Regions   int           // endpoints are spread evenly over them
	Rate      float64       // calls a second of the whole fleet
	Length    time.Duration // of the simulation
	Between   time.Duration // mean time from the end of one incident to the next
}

// DefaultPlan is a model with nine endpoints in three regions.
func DefaultPlan() Plan {
	return Plan{Seed: 1, Endpoints: 9, Regions: 3, Rate: 20, Length: 7 * 24 * time.Hour, Between: 40 * time.Minute}
}

// quiet is how long nothing happens at the beginning, for the usual to be known.
const quiet = 3600

// incidents draws what happens.
func (p Plan) incidents() []Incident {
	r := rand.New(rand.NewPCG(p.Seed, 1))
	var all []Incident
	end := int(p.Length.Seconds())
	minutes := func(low, high float64) int { return int(60 * (low + (high-low)*r.Float64())) }
	var deck []int // so that every kind comes as often as any other
	for t := quiet; ; {
		t += 600 + int(r.ExpFloat64()*(p.Between.Seconds()-600))
		if len(deck) == 0 {
			deck = r.Perm(int(KindCount))
		}
		in := Incident{Kind: Kind(deck[0]), Begin: t, Force: 0.5 + r.Float64()}
		deck = deck[1:]
		first := r.IntN(p.Endpoints)
		in.Region, in.Hit = first%p.Regions, []int{first}
		warning := 0
		switch in.Kind {
		case SlowBurn:
			warning = minutes(4, 15)
		case RateStorm:
			warning = minutes(2, 8)
		case RegionalLoss:
			for i := in.Region; i < p.Endpoints; i += p.Regions {
				if i != first {
					in.Hit = append(in.Hit, i)
				}
			}
		case Swell, Mix:
			warning = minutes(3, 12)
		}
		in.Onset = []int{t + warning}
		for range in.Hit[1:] {
			in.Onset = append(in.Onset, in.Onset[len(in.Onset)-1]+minutes(0.5, 4))
		}
		in.End = in.Onset[len(in.Onset)-1] + minutes(8, 35)
		if in.Kind == Blip {
			in.End = t + minutes(1, 3)
		}
		if in.End+1800 > end {
			return all
		}
		all = append(all, in)
		t = in.End
	}
}

// health is how an endpoint does at one moment: what its next calls are drawn from.
type health struct {
	firstToken, gap float64 // medians in seconds
	fault, limited  float64 // shares of calls
	overloaded, cut float64
	failing         bool
}

// health returns what the endpoint is like at a second, whoever calls it.
func (p Plan) health(e, t int, in *Incident) health {
	day := math.Sin(2 * math.Pi * float64(t) / 86400)
	h := health{
		firstToken: (0.35 + 0.05*float64(e%4)) * (1 + 0.12*day), gap: 0.06 * (1 + 0.06*day),
		fault: 0.0008, limited: 0.0006, overloaded: 0.0003, cut: 0.0003,
	}
	if in == nil || t < in.Begin || t >= in.End {
		return h
	}
	i := -1
	for k, hit := range in.Hit {
		if hit == e {
			i = k
		}
	}
	if i < 0 {
		if in.Kind == Surge || in.Kind == Mix { // all of them see it
			h.strain(in, t, in.Onset[0])
		}
		return h
	}
	h.failing = in.failing(i, t)
	h.strain(in, t, in.Onset[i])
	return h
}

// strain makes h worse by what the incident does at a time.
func (h *health) strain(in *Incident, t, onset int) {
	ramp := 1.0
	if t < onset {
		ramp = float64(t-in.Begin) / float64(onset-in.Begin)
	}
	switch in.Kind {
	case SlowBurn:
		h.firstToken *= 1 + 4*in.Force*ramp
		h.gap *= 1 + in.Force*ramp
		h.fault += 0.06 * in.Force * ramp * ramp
		if h.failing {
			h.fault, h.overloaded, h.cut = 0.35, 0.15, 0.05
		}
	case SuddenDeath, RegionalLoss:
		if h.failing {
			h.fault = 0.9
		} else if in.Kind == RegionalLoss { // the neighbour's load arrives
			h.firstToken *= 1.25
		}
	case RateStorm:
		h.limited += 0.12 * in.Force * ramp * ramp
		h.overloaded += 0.05 * in.Force * ramp * ramp
		if h.failing {
			h.limited, h.overloaded = 0.45, 0.2
		}
	case Swell:
		swell := ramp
		if t >= onset {
			swell = float64(in.End-t) / float64(in.End-onset)
		}
		h.firstToken *= 1 + 2*in.Force*swell
	case Surge:
		h.firstToken *= 1.2
	case Mix:
		h.firstToken *= 1 + 0.5*ramp
	case Blip:
		h.fault += 0.08 * in.Force
	}
}

// load returns how much traffic there is at a second, 1 being the plan's rate.
func (p Plan) load(t int, in *Incident) float64 {
	x := 1 + 0.4*math.Sin(2*math.Pi*float64(t)/86400-1)
	if in != nil && in.Kind == Surge && t >= in.Begin && t < in.End {
		x *= 2
	}
	return x
}
