package incident

import (
	"slices"

	"github.com/sira-ai/sira/handlers/anomaly/endpoint"
	"github.com/sira-ai/sira/handlers/anomaly/predict"
)

// Report is what a replay shows of a model and a policy.
type Report struct {
	Plan       Plan       `json:"-"`
	Incidents  int        `json:"incidents"`
	Failures   int        `json:"failures"` // endpoints that an incident brought down
	Off        Counts     `json:"off"`      // weights stay
	On         Counts     `json:"on"`       // weights follow the prediction
	Diverted   float64    `json:"diverted"` // share of traffic that was withheld from endpoints without need
	Alerts     int        `json:"alerts"`
	Right      int        `json:"right"`      // alerts during an incident that ended in failure
	Unprovoked int        `json:"unprovoked"` // alerts while nothing was going on
	Early      int        `json:"early"`      // failures with an alert before they began
	Caught     int        `json:"caught"`     // failures with an alert at all
	Precision  float64    `json:"precision"`  // right alerts of all alerts
	Recall     float64    `json:"recall"`     // caught failures of all
	Foreseen   float64    `json:"foreseen"`   // early failures of all
	Brier      float64    `json:"brier"`      // of every endpoint and tick that does not fail yet
	Climate    float64    `json:"climate"`    // Brier score of always saying the mean
	Bins       []Bin      `json:"bins"`
	Kinds      []KindLine `json:"kinds"`
	Shifts     Shifts     `json:"shifts"`
	Sample     []Moment   `json:"-"` // an incident as it went
}

// Bin is a part of the reliability diagram.
type Bin struct {
	Said float64 `json:"said"` // mean probability
	Seen float64 `json:"seen"` // share that failed within Horizon
	N    int     `json:"n"`
}

// KindLine is a report on one kind of incident. Leads are in seconds, above 0
// before the failure.
type KindLine struct {
	Kind      string  `json:"kind"`
	Incidents int     `json:"incidents"`
	Alerts    int     `json:"alerts"` // that began during such incidents
	Failures  int     `json:"failures"`
	Caught    int     `json:"caught"`
	Early     int     `json:"early"`
	Lead      float64 `json:"median_lead_s"`

	Leads []float64 `json:"-"`
}

// Shifts tells how often weights changed direction.
type Shifts struct {
	Total     int `json:"total"`
	Most      int `json:"most"`       // for one endpoint in one incident that fails
	AboveTwo  int `json:"above_two"`  // endpoints and incidents with more than two
	Elsewhere int `json:"elsewhere"`  // outside of incidents that fail
	MostLow   int `json:"most_low"`   // endpoints that were low at one time
	Refused   int `json:"at_a_third"` // ticks with as many low as are allowed
}

// Moment is an endpoint at one tick of the sample.
type Moment struct {
	Second      int
	Probability float64
	Bad         float64 // share of calls that would fail
	Share       float64 // weight that the policy gave
	FirstToken  float64 // feature: slower than usual
}

// quietSample is of how many ticks without any incident one becomes an example.
const quietSample = 5

// Examples plays a plan in which weights stay and returns what there is to learn.
// m, which may be nil, says what is unusual: what is usual is learned from the
// rest, so a model is trained on examples that an earlier one took part in.
func Examples(p Plan, m *predict.Model) []predict.Example {
	var examples []predict.Example
	f := newFleet(p, m, nil)
	p.play(func(t int, in *Incident) {
		f.second(t, in)
		if t%tickSeconds != 0 {
			return
		}
		f.tick(t)
		weight := 1.0
		if in == nil || t < in.Begin-int(predict.Horizon.Seconds()) {
			weight = quietSample
		}
		if t < quiet || weight > 1 && t/tickSeconds%quietSample != 0 {
			return
		}
		for e := range f.nodes {
			if f.ahead(e, t) {
				examples = append(examples, predict.Example{Features: f.nodes[e].features, Fails: p.fails(in, e, t), Weight: weight})
			}
		}
	})
	return examples
}

// play calls second for every second of the plan, with the incident that is under
// way or that comes next.
func (p Plan) play(second func(t int, in *Incident)) {
	all := p.incidents()
	next := 0
	for t := range int(p.Length.Seconds()) {
		for next < len(all) && t >= all[next].End {
			next++
		}
		var in *Incident
		if next < len(all) {
			in = &all[next]
		}
		second(t, in)
	}
}

// ahead reports whether there is something to foresee: the endpoint does not
// fail, and has not just failed.
func (f *fleet) ahead(e, t int) bool {
	n := &f.nodes[e]
	if f.plan.health(e, t, f.current).failing {
		n.failedAt = t
	}
	return n.failedAt == 0 || t-n.failedAt > int(predict.Horizon.Seconds())
}

// fails reports whether an endpoint fails now or will within the horizon.
func (p Plan) fails(in *Incident, e, t int) bool {
	if in == nil || !in.Kind.Fails() {
		return false
	}
	i := slices.Index(in.Hit, e)
	return i >= 0 && t < in.End && t >= in.Onset[i]-int(predict.Horizon.Seconds())
}

// Evaluate plays a plan twice at once, with weights that follow the model and
// with weights that stay. What the model says is judged where weights stay.
func Evaluate(p Plan, m *predict.Model, c predict.PolicyConfig) (*Report, error) {
	policy, err := predict.NewPolicy(c, p.Endpoints)
	if err != nil {
		return nil, err
	}
	j := &judge{
		plan: p, policy: c, report: &Report{Plan: p},
		alarmed: make([]bool, p.Endpoints), low: make([]bool, p.Endpoints), because: make([]*Incident, p.Endpoints),
		caught: make(map[fall]int), shifts: make(map[fall]int),
	}
	off, on := newFleet(p, m, nil), newFleet(p, m, policy)
	p.play(func(t int, in *Incident) {
		off.second(t, in)
		on.second(t, in)
		if t%tickSeconds != 0 {
			return
		}
		off.tick(t)
		shifts := on.tick(t)
		if t < quiet {
			return
		}
		j.predictions(off, t, in)
		j.weights(on, shifts, t, in)
	})
	j.report.Off, j.report.On = off.counts, on.counts
	j.finish()
	return j.report, nil
}

// fall is an endpoint in an incident.
type fall struct {
	incident int // by its beginning
	endpoint int
}

// judge gathers what a report is made of.
type judge struct {
	plan     Plan
	policy   predict.PolicyConfig
	report   *Report
	alarmed  []bool
	low      []bool
	because  []*Incident  // in which each endpoint's calls were withheld last
	caught   map[fall]int // when the first alert came
	shifts   map[fall]int
	last     *Incident // to count the shifts after its end
	bins     [10]struct{ said, seen, n float64 }
	brier    float64
	ticks    float64
	fails    float64
	diverted float64
	alerts   [KindCount]int
}

// predictions judges what the model says of every endpoint.
func (j *judge) predictions(f *fleet, t int, in *Incident) {
	for e := range f.nodes {
		p := f.nodes[e].probability
		fails := j.plan.fails(in, e, t)
		hit := -1
		if in != nil && in.Kind.Fails() && t >= in.Begin {
			hit = slices.Index(in.Hit, e)
		}
		if f.ahead(e, t) {
			outcome := 0.0
			if fails {
				outcome = 1
			}
			b := &j.bins[min(int(p*10), 9)]
			b.said, b.seen, b.n = b.said+p, b.seen+outcome, b.n+1
			j.brier += (p - outcome) * (p - outcome)
			j.ticks++
			j.fails += outcome
		}
		switch {
		case !j.alarmed[e] && p >= j.policy.Enter:
			j.alarmed[e] = true
			j.report.Alerts++
			j.during(in, t)
			if hit >= 0 || j.recent(e, t) {
				j.report.Right++
			}
		case p < j.policy.Leave:
			j.alarmed[e] = false
		}
		if key := (fall{in.begin(), e}); hit >= 0 && j.alarmed[e] {
			if _, known := j.caught[key]; !known {
				j.caught[key] = t
			}
		}
	}
}

// during books an alert on the incident that is under way.
func (j *judge) during(in *Incident, t int) {
	if in != nil && t >= in.Begin {
		j.alerts[in.Kind]++
	} else {
		j.report.Unprovoked++
	}
}

// recent reports whether e failed within the last minute: calls that began then
// still end badly.
func (j *judge) recent(e, t int) bool {
	return j.last != nil && t < j.last.End+60 && slices.Contains(j.last.Hit, e)
}

func (in *Incident) begin() int {
	if in == nil {
		return -1
	}
	return in.Begin
}

// weights judges what the policy does.
func (j *judge) weights(f *fleet, shifts []predict.Shift, t int, in *Incident) {
	if in != nil && in.Kind.Fails() && t >= in.Begin {
		j.last = in
	}
	s := &j.report.Shifts
	for _, shift := range shifts {
		s.Total++
		e := shift.Endpoint
		if j.low[e] = shift.To < 100; j.low[e] {
			j.because[e] = nil
			if j.last != nil && slices.Contains(j.last.Hit, e) && t < j.last.End+60 {
				j.because[e] = j.last
			}
		}
		// What comes back counts for the incident that it was withheld in.
		if j.because[e] != nil {
			j.shifts[fall{j.because[e].Begin, e}]++
		} else {
			s.Elsewhere++
		}
	}
	low := 0
	for e := range f.nodes {
		if j.low[e] {
			low++
		}
		if !j.plan.fails(in, e, t) {
			j.diverted += (1 - f.nodes[e].weight) / float64(len(f.nodes))
		}
	}
	s.MostLow = max(s.MostLow, low)
	if low == len(f.nodes)/3 {
		s.Refused++
	}
	j.sample(f, t, in)
}

// sample keeps the first slow burn.
func (j *judge) sample(f *fleet, t int, in *Incident) {
	if in == nil || in.Kind != SlowBurn || t < in.Begin-600 {
		return
	}
	r := j.report
	if len(r.Sample) > 0 && r.Sample[0].Second < in.Begin-610 {
		return
	}
	n := &f.nodes[in.Hit[0]]
	h := j.plan.health(in.Hit[0], t, in)
	r.Sample = append(r.Sample, Moment{
		Second: t, Probability: n.probability, Bad: h.fault + h.limited + h.overloaded + h.cut, Share: n.weight,
		FirstToken: n.features[endpoint.FirstTokenNow],
	})
}

func (j *judge) finish() {
	r := j.report
	kinds := make([]KindLine, KindCount)
	for k := range KindCount {
		kinds[k].Kind = k.String()
	}
	for _, in := range j.plan.incidents() {
		r.Incidents++
		line := &kinds[in.Kind]
		line.Incidents++
		if !in.Kind.Fails() {
			continue
		}
		for i, e := range in.Hit {
			r.Failures++
			line.Failures++
			at, ok := j.caught[fall{in.Begin, e}]
			if !ok {
				continue
			}
			r.Caught++
			line.Caught++
			lead := float64(in.Onset[i] - at)
			line.Leads = append(line.Leads, lead)
			if lead > 0 {
				r.Early++
				line.Early++
			}
		}
	}
	for k := range kinds {
		slices.Sort(kinds[k].Leads)
		kinds[k].Lead = Median(kinds[k].Leads)
		kinds[k].Alerts = j.alerts[k]
	}
	r.Kinds = kinds
	for _, n := range j.shifts {
		r.Shifts.Most = max(r.Shifts.Most, n)
		if n > 2 {
			r.Shifts.AboveTwo++
		}
	}
	r.Precision = share(r.Right, r.Alerts)
	r.Recall, r.Foreseen = share(r.Caught, r.Failures), share(r.Early, r.Failures)
	r.Brier = j.brier / j.ticks
	mean := j.fails / j.ticks
	r.Climate = mean * (1 - mean)
	r.Diverted = j.diverted / (j.ticks / float64(j.plan.Endpoints))
	for _, b := range j.bins {
		if b.n > 0 {
			r.Bins = append(r.Bins, Bin{b.said / b.n, b.seen / b.n, int(b.n)})
		}
	}
}

// Median of ascending values; 0 of none.
func Median(ascending []float64) float64 {
	n := len(ascending)
	if n == 0 {
		return 0
	}
	return (ascending[(n-1)/2] + ascending[n/2]) / 2
}

func share(part, whole int) float64 {
	if whole == 0 {
		return 0
	}
	return float64(part) / float64(whole)
}
