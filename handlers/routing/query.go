package routing

import (
	"cmp"
	"math"
	"slices"
	"time"

	"github.com/expr-lang/expr/vm"
	"github.com/shopspring/decimal"

	"github.com/sira-ai/sira/pipeline"
	"github.com/sira-ai/sira/schemas"
)

// Query is a request as strategies and expressions see it. It belongs to one
// goroutine and is used again for another request once Rank returns.
type Query struct {
	Job     *pipeline.Job    // to be read only
	Request *schemas.Request // of the job
	Now     time.Time        // when a worker took the request up; in Observe, when the job was completed
	Sources Sources
	// Explain is set when people read what is noted: strategies then say of every
	// candidate what they otherwise say of the first.
	Explain bool

	features  Features
	looked    bool // features are filled in
	specs     []TargetSpec
	vm        vm.VM
	facts     facts
	read      parts // of facts that are filled in
	residency [][]string
	scratch   []Candidate
	places    []int    // of candidates that were chosen
	why       []string // by Candidate.at; empty: nothing was noted
	kept      []bool   // by Candidate.at
}

// NewQuery returns a query about a job, for those who ask a Strategy without a
// Router.
func NewQuery(job *pipeline.Job, sources Sources) *Query {
	q := new(Query)
	q.reset(job, sources)
	return q
}

func (q *Query) reset(job *pipeline.Job, sources Sources) {
	q.Job, q.Request, q.Sources, q.Explain = job, job.Request, sources, false
	q.Now = job.Started
	if q.Now.IsZero() {
		q.Now = time.Now()
	}
	q.looked, q.read, q.specs = false, 0, nil
	q.residency, q.why = q.residency[:0], q.why[:0]
}

// release drops what q holds of the request.
func (q *Query) release() {
	q.Job, q.Request, q.specs = nil, nil, nil
	q.facts.drop()
}

// Features returns what the content of the request is like. It is worked out
// once, at the first call.
func (q *Query) Features() *Features {
	if !q.looked {
		q.features = Look(q.Request)
		q.looked = true
	}
	return &q.features
}

// Note adds a reason to what is recorded of c: why it stands where it stands or,
// for one that is left out, why. Text that is the same for all requests costs
// nothing; what is put together for a request is better noted of the first
// candidate only, unless q.Explain.
func (q *Query) Note(c *Candidate, why string) {
	for len(q.why) <= c.at {
		q.why = append(q.why, "")
	}
	if before := q.why[c.at]; before != "" {
		why = before + "; " + why
	}
	q.why[c.at] = why
}

// Notes returns what was noted of c.
func (q *Query) Notes(c *Candidate) string {
	if c.at < len(q.why) {
		return q.why[c.at]
	}
	return ""
}

// Usage returns the tokens that the request is expected to take: the input as
// estimated from its text, and as output what the request allows, at most
// output, which is also taken where the request sets no limit.
func (q *Query) Usage(output int) schemas.Usage {
	out := int64(output)
	if m := q.Request.MaxTokens; m != nil && *m > 0 {
		out = min(out, *m)
	}
	return schemas.Usage{InputTokens: int64(q.Features().Tokens), OutputTokens: out}
}

// Price returns what the request would cost at a target; see [Prices].
func (q *Query) Price(c *Candidate, usage schemas.Usage) (amount decimal.Decimal, currency string, known bool) {
	if q.Sources.Prices == nil {
		return decimal.Decimal{}, "", false
	}
	amount, currency, _, known = q.Sources.Prices.Price(c.Target, q.Now, usage)
	return amount, currency, known
}

// Health returns how calls to a target went lately; see [Health].
func (q *Query) Health(c *Candidate) (Observed, bool) {
	if q.Sources.Health == nil {
		return Observed{}, false
	}
	return q.Sources.Health.Health(c.Target, q.Now)
}

// Candidates returns the candidates for specs, in their order.
func Candidates(specs ...TargetSpec) []Candidate {
	specs = slices.Clone(specs)
	out := make([]Candidate, len(specs))
	for i := range specs {
		specs[i].draw, specs[i].lightness = hashTarget(&specs[i].Target), math.MaxUint64
		if w := specs[i].Weight; w > 0 {
			specs[i].lightness = 1 << 63 / uint64(w)
		}
		out[i] = Candidate{TargetSpec: &specs[i], at: i}
	}
	return out
}

// ByScore sorts candidates by falling Score and keeps the order of equals. What is no
// number comes last.
func ByScore(c []Candidate) {
	if slices.IsSortedFunc(c, byScore) || dealOut(c) {
		return
	}
	if len(c) > 24 {
		slices.SortStableFunc(c, byScore)
		return
	}
	for i := 1; i < len(c); i++ {
		for j := i; j > 0 && byScore(c[j-1], c[j]) > 0; j-- {
			c[j], c[j-1] = c[j-1], c[j]
		}
	}
}

func byScore(a, b Candidate) int { return cmp.Compare(b.Score, a.Score) }

// dealOut sorts candidates of few different scores, as most strategies give: it goes
// through them once for each score. It reports false where there are too many.
func dealOut(c []Candidate) bool {
	var (
		few  [8]float64
		room [128]Candidate
	)
	if len(c) <= len(few) || len(c) > len(room) {
		return false
	}
	scores := few[:0]
	for i := range c {
		if slices.Contains(scores, c[i].Score) {
			continue
		}
		if len(scores) == len(few) {
			return false
		}
		scores = append(scores, c[i].Score)
	}
	slices.SortFunc(scores, func(a, b float64) int { return cmp.Compare(b, a) })
	n := 0
	for _, score := range scores {
		for i := range c {
			if c[i].Score == score {
				room[n] = c[i]
				n++
			}
		}
	}
	return n == len(c) && copy(c, room[:n]) == n // a score that is no number is not dealt out
}

// First moves the candidates that are wanted before the others, each group in
// its order, and returns how many are.
func First(c []Candidate, wanted func(*Candidate) bool) int {
	n := 0
	for i := range c {
		if !wanted(&c[i]) {
			continue
		}
		one := c[i]
		copy(c[n+1:i+1], c[n:i])
		c[n] = one
		n++
	}
	return n
}

// Keep leaves out, in place, the candidates of which why says something, and
// notes it.
func Keep(q *Query, c []Candidate, why func(*Candidate) string) []Candidate {
	out := c[:0]
	for i := range c {
		if reason := why(&c[i]); reason != "" {
			q.Note(&c[i], reason)
			continue
		}
		out = append(out, c[i])
	}
	return out
}
