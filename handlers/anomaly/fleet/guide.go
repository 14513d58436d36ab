package fleet

import (
	"sync"
	"time"

	"github.com/sira-ai/sira/handlers/anomaly/predict"
	"github.com/sira-ai/sira/schemas"
)

// Guide tells a worker what share of its calls each endpoint gets: what the analyst
// says while there is news, and what the worker's own fleets find when there is
// none. Going from one to the other is no jump: the own fleets start with the
// shares that were heard last. Hear and News are safe for concurrent use; the rest
// is for one goroutine.
type Guide struct {
	config Config
	build  func(fleet string) *Fleet
	layout *Layout
	fleets map[string]*Fleet

	mu   sync.Mutex
	news map[Name]heard
}

type heard struct {
	state schemas.EndpointState
	at    time.Time
}

// NewGuide returns a guide that has heard nothing.
func NewGuide(c Config, m *predict.Model, version string, l *Layout) *Guide {
	return &Guide{
		config: c, layout: l, fleets: map[string]*Fleet{}, news: map[Name]heard{},
		build: func(name string) *Fleet { return New(name, c, m, version, l) },
	}
}

// Hear takes a state that the analyst published. One that is old when it is heard
// is history: shares start from it, and no more.
func (g *Guide) Hear(s schemas.EndpointState, now time.Time) {
	at := now
	if now.Sub(s.Time) > g.config.Silence {
		at = s.Time
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.news[Name{s.Provider, s.Endpoint}] = heard{s, at}
}

// News returns what was heard last of an endpoint.
func (g *Guide) News(n Name) (s schemas.EndpointState, at time.Time, ok bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	h, ok := g.news[n]
	return h.state, h.at, ok
}

// Advice is what an endpoint gets, and why.
type Advice struct {
	Name
	Share       int
	Probability float64
	Reasons     []string
	Own         bool // the worker's own judgement: the analyst is silent
}

// Tick takes what was seen of every endpoint of the worker since the last tick and
// returns the advice for each, and the shifts that the worker decided by itself.
func (g *Guide) Tick(now time.Time, seen []schemas.EndpointSums) ([]Advice, []schemas.HealthEvent) {
	for i := range seen {
		s := &seen[i]
		name := g.layout.Fleet(s.Provider)
		f := g.fleets[name]
		if f == nil {
			f = g.build(name)
			g.fleets[name] = f
		}
		n := Name{s.Provider, s.Endpoint}
		if !f.Knows(n) {
			g.begin(f, n, now)
		}
		f.Add(n, s.Region, StatsOf(s))
	}
	g.forget(now)
	var (
		advice []Advice
		events []schemas.HealthEvent
	)
	for _, f := range g.fleets {
		events = append(events, f.Tick(now, g.follow(now))...)
		for _, m := range f.members {
			a := Advice{Name: m.Name, Share: m.hold.Share, Probability: m.probability, Own: true}
			if s, at, ok := g.News(m.Name); ok && now.Sub(at) <= g.config.Silence {
				a.Probability, a.Reasons, a.Own = s.Probability, s.Reasons, false
			} else {
				a.Reasons = f.reasons(m)
			}
			advice = append(advice, a)
		}
	}
	return advice, events
}

// forget drops the news of endpoints that nobody speaks of any more.
func (g *Guide) forget(now time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for n, h := range g.news {
		if now.Sub(h.at) > history {
			delete(g.news, n)
		}
	}
}

// history is how old news may be for a worker to begin with it.
const history = 10 * time.Minute

// begin lets an own fleet go on from what the analyst said last.
func (g *Guide) begin(f *Fleet, n Name, now time.Time) {
	if s, at, ok := g.News(n); ok && now.Sub(at) <= history {
		// A memory that can't be read is learned anew: the shares are restored first.
		_ = f.Restore(&s)
	}
}

// follow returns the holds of the endpoints of which there is news.
func (g *Guide) follow(now time.Time) func(Name) (predict.Hold, bool) {
	return func(n Name) (predict.Hold, bool) {
		s, at, ok := g.News(n)
		return HoldOf(&s), ok && now.Sub(at) <= g.config.Silence
	}
}
