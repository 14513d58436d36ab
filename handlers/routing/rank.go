package routing

import (
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/shopspring/decimal"

	"github.com/sira-ai/sira/schemas"
)

// What several strategies rank by.

// ByPrice sorts candidates by what the request would cost, with the given usage,
// the cheapest first. Amounts of the currency that most have are compared; those
// of another and those without a price follow in their order. It returns how many
// were compared.
func ByPrice(q *Query, c []Candidate, usage schemas.Usage) int {
	type priced struct {
		Candidate
		amount   decimal.Decimal
		currency string
		known    bool
	}
	var few [16]priced
	all, count := few[:0], make(map[string]int, 1)
	for i := range c {
		one := priced{Candidate: c[i]}
		if one.amount, one.currency, one.known = q.Price(&c[i], usage); one.known {
			count[one.currency]++
		}
		all = append(all, one)
	}
	money, n := most(count)
	if n == 0 {
		return 0
	}
	slices.SortStableFunc(all, func(a, b priced) int {
		aKnown, bKnown := a.known && a.currency == money, b.known && b.currency == money
		switch {
		case aKnown && bKnown:
			return a.amount.Cmp(b.amount)
		case aKnown:
			return -1
		case bKnown:
			return 1
		}
		return 0
	})
	for i := range all {
		c[i] = all[i].Candidate
		switch {
		case i >= n:
			q.Note(&c[i], "no price to compare")
		case i == 0 || q.Explain:
			q.Note(&c[i], fmt.Sprintf("about %s %s for %d+%d tokens", all[i].amount.Round(8), money, usage.InputTokens, usage.OutputTokens))
		}
	}
	return n
}

// Expected returns how long a call to a candidate takes until it is answered,
// where failed calls are made again: the mean latency over the share that
// succeeds. first takes the time to the first token instead of the whole.
func Expected(q *Query, c *Candidate, first bool) (took time.Duration, known bool) {
	seen, known := q.Health(c)
	took = seen.Latency
	if first && seen.FirstToken > 0 {
		took = seen.FirstToken
	}
	if !known || took <= 0 {
		return 0, false
	}
	return time.Duration(float64(took) / max(1-seen.Failures, 0.01)), true
}

// BySpeed sorts candidates by [Expected], the fastest first; those that were not
// measured follow in their order. It returns how many were.
func BySpeed(q *Query, c []Candidate, first bool) int {
	n := 0
	for i := range c {
		c[i].Score = math.Inf(-1)
		if took, known := Expected(q, &c[i], first); known {
			c[i].Score = -float64(took)
			n++
		}
	}
	ByScore(c)
	for i := range c {
		switch {
		case i >= n:
			q.Note(&c[i], "not measured lately")
		case i == 0 || q.Explain:
			q.Note(&c[i], fmt.Sprintf("answers in about %s", time.Duration(-c[i].Score).Round(time.Millisecond)))
		}
	}
	return n
}

// Weight is how much a goal counts; 0: not at all.
type Weight float64

// TradeOff is how much each goal counts in ByTradeOff.
type TradeOff struct {
	Price    Weight `json:"price,omitempty"` // of being cheap; no amount
	Speed    Weight `json:"speed,omitempty"`
	Failures Weight `json:"failures,omitempty"`
}

// ByTradeOff sorts candidates by the weighted geometric mean of price, latency
// and calls needed until one succeeds, the lowest first. With equal weights,
// twice as dear is as bad as twice as slow. What is not known of a candidate
// counts as the mean of the others.
func ByTradeOff(q *Query, c []Candidate, usage schemas.Usage, w TradeOff) {
	for i := range c {
		c[i].Score = 0
	}
	add := func(weight Weight, value func(*Candidate) (float64, bool)) {
		if weight == 0 {
			return
		}
		sum, n := 0.0, 0
		var few [32]float64
		logs := few[:0]
		for i := range c {
			v, known := value(&c[i])
			if !known || v <= 0 {
				logs = append(logs, math.NaN())
				continue
			}
			logs = append(logs, math.Log(v))
			sum += math.Log(v)
			n++
		}
		for i := range c {
			if n > 0 && !math.IsNaN(logs[i]) {
				c[i].Score -= float64(weight) * (logs[i] - sum/float64(n))
			}
		}
	}
	money := ""
	add(w.Price, func(c *Candidate) (float64, bool) {
		amount, currency, known := q.Price(c, usage)
		if known && money == "" {
			money = currency
		}
		return magnitude(amount), known && currency == money
	})
	add(w.Speed, func(c *Candidate) (float64, bool) {
		seen, known := q.Health(c)
		return float64(seen.Latency), known
	})
	add(w.Failures, func(c *Candidate) (float64, bool) {
		seen, known := q.Health(c)
		return 1 / max(1-seen.Failures, 0.01), known
	})
	ByScore(c)
	for i := range c {
		if i == 0 || q.Explain {
			q.Note(&c[i], fmt.Sprintf("trade-off %+.2f", c[i].Score))
		}
	}
}
