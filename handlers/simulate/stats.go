package simulate

import (
	"cmp"
	"slices"
	"sync"
	"sync/atomic"
)

// Stats are counts since the start or the last reset.
type Stats struct {
	Total Counts `json:"total"`
	// Calls are the counts by instance, dialect and model. After maxRows different ones, further ones are counted
	// under the model "(other)", of the instance "(other)".
	Calls []Row `json:"calls"`
	Keys  Keys  `json:"keys"`
}

// Counts are the chat calls of one kind. Started is the sum of the other four.
type Counts struct {
	Started  int64 `json:"started"`
	InFlight int64 `json:"in_flight"`
	// Finished calls were answered with status 200, in full, whatever the answer's quality.
	Finished int64 `json:"finished"`
	// Refused calls got an error status.
	Refused int64 `json:"refused"`
	// CutOff calls ended in the middle: by a fault, or because the caller left.
	CutOff int64 `json:"cut_off"`
}

// Row is the counts of one instance, dialect and model.
type Row struct {
	Instance string `json:"instance"`
	Dialect  string `json:"dialect"`
	Model    string `json:"model"`
	Counts
	// Outcomes are the ended calls by how they ended: "ok", "left" (the caller did), the name of a fault, "down",
	// "invalid", "auth", "model", "path", "method" or "too-large".
	Outcomes map[string]int64 `json:"outcomes"`
}

// Keys tell how often calls with the same Idempotency-Key came.
type Keys struct {
	Distinct int64 `json:"distinct"`
	// Repeated counts the calls beyond the first of each key, RepeatedFinished those beyond its first finished one.
	Repeated         int64 `json:"repeated"`
	RepeatedFinished int64 `json:"repeated_finished"`
	// Untracked counts calls, with or without a key, that came when the set was full: if it is not zero, the counts
	// above are lower bounds. See Config.TrackKeys.
	Untracked int64 `json:"untracked"`
}

// maxRows bounds the statistics, because callers choose the names of instances and models.
const maxRows = 1000

const other = "(other)"

type rowKey struct{ instance, dialect, model string }

// outcome is how a call ended, in the order of outcomeNames: two of its own, then the refusals, then the faults.
type outcome int

const (
	outcomeOK outcome = iota
	outcomeLeft
	outcomeDown
	outcomeRefusals // and the refusals that follow
)

const (
	outcomeFaults = outcomeRefusals + outcome(refusalCount)
	outcomeCount  = outcomeFaults + outcome(faultCount)
)

func (o outcome) String() string {
	switch {
	case o == outcomeOK:
		return "ok"
	case o == outcomeLeft:
		return "left"
	case o == outcomeDown:
		return "down"
	case o < outcomeFaults:
		return refusal(o - outcomeRefusals).String()
	}
	return fault(o - outcomeFaults).String()
}

func refusedBy(r refusal) outcome { return outcomeRefusals + outcome(r) }

func faultedBy(f fault) outcome { return outcomeFaults + outcome(f) }

// counter holds the counts of one row.
type counter struct {
	started, inFlight, finished, refused, cutOff atomic.Int64

	outcomes [outcomeCount]atomic.Int64
}

// result is the count that an ended call belongs to.
type result int

const (
	resultFinished result = iota
	resultRefused
	resultCutOff
)

func (c *counter) start() {
	c.started.Add(1)
	c.inFlight.Add(1)
}

func (c *counter) stop(r result, o outcome) {
	switch r {
	case resultFinished:
		c.finished.Add(1)
	case resultRefused:
		c.refused.Add(1)
	case resultCutOff:
		c.cutOff.Add(1)
	}
	c.outcomes[o].Add(1)
	c.inFlight.Add(-1)
}

func (c *counter) counts() Counts {
	return Counts{
		Started: c.started.Load(), InFlight: c.inFlight.Load(), Finished: c.finished.Load(),
		Refused: c.refused.Load(), CutOff: c.cutOff.Load(),
	}
}

// board is the counters of all rows.
type board struct {
	mu   sync.RWMutex
	rows map[rowKey]*counter
}

func newBoard() *board { return &board{rows: make(map[rowKey]*counter)} }

func (b *board) row(k rowKey) *counter {
	b.mu.RLock()
	c := b.rows[k]
	b.mu.RUnlock()
	if c != nil {
		return c
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if c = b.rows[k]; c != nil {
		return c
	}
	if len(b.rows) >= maxRows {
		k = rowKey{instance: other, dialect: k.dialect, model: other}
		if c = b.rows[k]; c != nil {
			return c
		}
	}
	c = new(counter)
	b.rows[k] = c
	return c
}

func (b *board) snapshot() (total Counts, rows []Row) {
	b.mu.RLock()
	defer b.mu.RUnlock()
	rows = make([]Row, 0, len(b.rows))
	for k, c := range b.rows {
		r := Row{Instance: k.instance, Dialect: k.dialect, Model: k.model, Counts: c.counts(), Outcomes: map[string]int64{}}
		for o := range outcomeCount {
			if n := c.outcomes[o].Load(); n > 0 {
				r.Outcomes[o.String()] += n
			}
		}
		total.Started += r.Started
		total.InFlight += r.InFlight
		total.Finished += r.Finished
		total.Refused += r.Refused
		total.CutOff += r.CutOff
		rows = append(rows, r)
	}
	slices.SortFunc(rows, func(x, y Row) int {
		return cmp.Or(cmp.Compare(x.Instance, y.Instance), cmp.Compare(x.Dialect, y.Dialect), cmp.Compare(x.Model, y.Model))
	})
	return total, rows
}

// keySet counts the calls of each key, in about 40 bytes a key. It knows keys by 64 bits of hash: among a million keys
// the chance that any two are taken for one is below one in ten million.
type keySet struct {
	limit  int64
	size   atomic.Int64
	shards [64]keyShard

	distinct, repeated, repeatedFinished, untracked atomic.Int64
}

type keyShard struct {
	mu   sync.Mutex
	seen map[uint64]keyCount
}

type keyCount struct{ started, finished uint32 }

func newKeySet(limit int) *keySet {
	s := &keySet{limit: int64(limit)}
	for i := range s.shards {
		s.shards[i].seen = make(map[uint64]keyCount)
	}
	return s
}

// start counts a call of the key and returns its number, from 1. When the set is full, numbers of new keys come from one
// common count: they still differ from call to call, so that a retry can fare better. Only calls that say they are named
// by their caller enter the statistics.
func (s *keySet) start(key uint64, named bool) int {
	shard := &s.shards[key%uint64(len(s.shards))]
	shard.mu.Lock()
	defer shard.mu.Unlock()
	n, known := shard.seen[key]
	if !known {
		if s.size.Add(1) > s.limit {
			s.size.Add(-1)
			return int(s.untracked.Add(1))
		}
		if named {
			s.distinct.Add(1)
		}
	} else if named {
		s.repeated.Add(1)
	}
	n.started++
	shard.seen[key] = n
	return int(n.started)
}

// finish counts a call of the key that was answered in full.
func (s *keySet) finish(key uint64, named bool) {
	shard := &s.shards[key%uint64(len(s.shards))]
	shard.mu.Lock()
	defer shard.mu.Unlock()
	n, known := shard.seen[key]
	if !known {
		return
	}
	n.finished++
	shard.seen[key] = n
	if named && n.finished > 1 {
		s.repeatedFinished.Add(1)
	}
}

func (s *keySet) snapshot() Keys {
	return Keys{
		Distinct: s.distinct.Load(), Repeated: s.repeated.Load(),
		RepeatedFinished: s.repeatedFinished.Load(), Untracked: s.untracked.Load(),
	}
}
