// Package fleet watches the endpoints of a model together and decides what share
// of its calls each gets.
//
// Workers observe every call into a Watch and report its sums. The analyst, which
// owns a fleet, adds the reports up and lets a Fleet look at them every few
// seconds: how likely is each endpoint to fail within the next minutes, why, and
// which calls are better made elsewhere. What it finds is the state that workers
// follow through a Guide, which falls back on a Fleet of its own when the analyst
// is silent.
package fleet

import (
	"cmp"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/sira-ai/sira/handlers/anomaly/endpoint"
	"github.com/sira-ai/sira/handlers/anomaly/predict"
	"github.com/sira-ai/sira/schemas"
)

// forgotten is the number of ticks after which an endpoint that nobody lists any
// more has left.
const forgotten = 60

// calmly is the probability below which what is seen of an endpoint is its custom.
const calmly = 0.1

// Fleet is the endpoints that are judged together. Not safe for concurrent use.
type Fleet struct {
	name    string
	config  Config
	model   *predict.Model
	version string
	models  [][]string // the providers of each
	members []*member  // by name
}

// member is an endpoint of a fleet.
type member struct {
	Name
	region      string
	stats       endpoint.Stats // since the last tick
	calls       uint32         // of the last tick
	state       endpoint.State
	features    endpoint.Features
	probability float64
	hold        predict.Hold
	since       time.Time
	shifts      int64
	absent      int // ticks
	quiet       int // ticks since the state was published
}

// New returns a fleet without endpoints. version names the model in states.
func New(name string, c Config, m *predict.Model, version string, l *Layout) *Fleet {
	return &Fleet{name: name, config: c, model: m, version: version, models: l.models[name]}
}

func (f *Fleet) member(n Name) *member {
	i, ok := slices.BinarySearchFunc(f.members, n, func(m *member, n Name) int {
		return cmp.Or(cmp.Compare(m.Provider, n.Provider), cmp.Compare(m.Endpoint, n.Endpoint))
	})
	if !ok {
		f.members = slices.Insert(f.members, i, &member{Name: n, hold: predict.Whole()})
	}
	return f.members[i]
}

// Knows reports whether the endpoint is of the fleet already.
func (f *Fleet) Knows(n Name) bool {
	return slices.ContainsFunc(f.members, func(m *member) bool { return m.Name == n })
}

// Add counts what was seen of an endpoint, perhaps nothing, until the next Tick.
func (f *Fleet) Add(n Name, region string, s endpoint.Stats) {
	m := f.member(n)
	m.region, m.absent = region, 0
	m.stats.Add(s)
}

// Restore goes on where the owner before stopped. A memory that can't be read is an
// error and leaves an endpoint that has everything to learn.
func (f *Fleet) Restore(s *schemas.EndpointState) error {
	m := f.member(Name{s.Provider, s.Endpoint})
	m.region, m.since, m.shifts, m.probability = s.Region, s.Since, s.Shifts, s.Probability
	m.hold = HoldOf(s)
	if s.Memory == "" {
		return nil
	}
	if err := json.Unmarshal([]byte(s.Memory), &m.state); err != nil {
		return fmt.Errorf("restoring endpoint %s of %s: %w", s.Endpoint, s.Provider, err)
	}
	return nil
}

// HoldOf returns the hold that a state tells of, within bounds.
func HoldOf(s *schemas.EndpointState) predict.Hold {
	return predict.Hold{Share: min(max(s.Share, 1), 100), Low: s.Low, Calm: time.Duration(s.CalmMS) * time.Millisecond}
}

// Tick looks at what was added since the last one and returns the shifts. What
// follow returns for an endpoint is its hold whatever the fleet thinks, and no
// shift; a nil follow leaves everything to the fleet.
func (f *Fleet) Tick(now time.Time, follow func(Name) (predict.Hold, bool)) []schemas.HealthEvent {
	f.members = slices.DeleteFunc(f.members, func(m *member) bool {
		m.absent++
		return m.absent > forgotten
	})
	probabilities, holds := make([]float64, len(f.members)), make([]predict.Hold, len(f.members))
	led := make([]bool, len(f.members))
	for i, m := range f.members {
		f.look(m)
		probabilities[i], holds[i] = m.probability, m.hold
		if follow == nil {
			continue
		}
		if h, ok := follow(m.Name); ok {
			// The policy counts it as it is, and finds nothing to change.
			probabilities[i], holds[i], led[i], m.hold = f.config.Leave, h, true, h
		}
	}
	var events []schemas.HealthEvent
	for _, s := range f.config.Step(holds, probabilities, f.groups(), f.config.Tick) {
		if m := f.members[s.Endpoint]; !led[s.Endpoint] {
			m.shifts++
			m.since = now
			events = append(events, f.event(m, s, now))
		}
	}
	for i, m := range f.members {
		if !led[i] {
			m.hold = holds[i]
		}
	}
	return events
}

// look gives a member its tick.
func (f *Fleet) look(m *member) {
	near := f.neighbours(m)
	m.features = m.state.Tick(&m.stats, endpoint.Around{
		Neighbours: near, Slower: f.slower(m), Healthy: m.probability < calmly && near == 0,
	})
	m.calls, m.stats = m.stats.Calls, endpoint.Stats{}
	m.probability = f.model.Probability(&m.features, m.state.Bad())
}

// neighbours returns what share of the other endpoints fail that are in the same
// region of the same provider.
func (f *Fleet) neighbours(m *member) float64 {
	others, troubled := 0.0, 0.0
	for _, o := range f.members {
		if o == m || o.Provider != m.Provider || o.region != m.region {
			continue
		}
		others++
		if o.features[endpoint.FaultsNow]+o.features[endpoint.OverloadedNow] > 2.3 {
			troubled++
		}
	}
	if others == 0 {
		return 0
	}
	return troubled / others
}

// slower returns by how much the median of the other endpoints in use is slower
// that answer for the same models.
func (f *Fleet) slower(m *member) float64 {
	var all []float64
	for _, o := range f.members {
		if o != m && o.state.Recent() >= 1 && f.together(o.Provider, m.Provider) {
			all = append(all, o.state.Slower())
		}
	}
	if len(all) == 0 {
		return 0
	}
	slices.Sort(all)
	return (all[(len(all)-1)/2] + all[len(all)/2]) / 2
}

func (f *Fleet) together(a, b string) bool {
	return a == b || slices.ContainsFunc(f.models, func(of []string) bool { return slices.Contains(of, a) && slices.Contains(of, b) })
}

// groups returns the members that answer for each model.
func (f *Fleet) groups() [][]int {
	groups := make([][]int, 0, len(f.models))
	for _, of := range f.models {
		var g []int
		for i, m := range f.members {
			if slices.Contains(of, m.Provider) {
				g = append(g, i)
			}
		}
		groups = append(groups, g)
	}
	if len(groups) == 0 { // of no model: it is called by nobody, or by those who name it
		all := make([]int, len(f.members))
		for i := range all {
			all[i] = i
		}
		groups = append(groups, all)
	}
	return groups
}

func (f *Fleet) event(m *member, s predict.Shift, now time.Time) schemas.HealthEvent {
	return schemas.HealthEvent{
		ID: schemas.ShiftID(m.Provider, m.Endpoint, m.shifts), Time: now, Kind: schemas.HealthShare,
		Provider: m.Provider, Endpoint: m.Endpoint, Region: m.region, Applied: f.config.Mode == ModeAct,
		FromShare: m.hold.Share, ToShare: s.To, Probability: s.Probability, Bad: m.state.Bad(), Reasons: f.reasons(m),
	}
}

// reasons returns why a member may fail, in words.
func (f *Fleet) reasons(m *member) []string {
	var out []string
	if bad := m.state.Bad(); bad >= predict.Failing {
		out = append(out, fmt.Sprintf("failing: %.0f %% of the calls get no whole answer", 100*bad))
	}
	for _, r := range f.model.Reasons(&m.features, 3) {
		out = append(out, r.String())
	}
	if input, output := m.state.Drift(); len(out) > 0 && max(input, output) > math.Ln2 {
		out = append(out, fmt.Sprintf("meanwhile requests are %.1f and answers %.1f times as long as usual", math.Exp(input), math.Exp(output)))
	}
	return out
}

// States returns the state of every member that is worth publishing: it had calls,
// or does not get all of them, or its followers would soon take silence for an
// owner that is gone.
func (f *Fleet) States(now time.Time, owner string) ([]schemas.EndpointState, error) {
	var out []schemas.EndpointState
	most := int(f.config.Silence/f.config.Tick) - 2
	for _, m := range f.members {
		m.quiet++
		if m.calls == 0 && m.hold.Share == 100 && m.quiet < most {
			continue
		}
		m.quiet = 0
		memory, err := json.Marshal(&m.state)
		if err != nil {
			return nil, fmt.Errorf("keeping endpoint %s of %s: %w", m.Endpoint, m.Provider, err)
		}
		s := f.view(m, now)
		s.Owner, s.Memory = owner, string(memory)
		out = append(out, s)
	}
	return out, nil
}

func (f *Fleet) view(m *member, now time.Time) schemas.EndpointState {
	input, output := m.state.Drift()
	return schemas.EndpointState{
		Provider: m.Provider, Endpoint: m.Endpoint, Region: m.region, Fleet: f.name, Time: now,
		Probability: m.probability, Bad: m.state.Bad(), Share: m.hold.Share, Low: m.hold.Low, CalmMS: m.hold.Calm.Milliseconds(),
		Since: m.since, Shifts: m.shifts, Reasons: f.reasons(m), InputDrift: input, OutputDrift: output, ModelVersion: f.version,
	}
}
