package bench

import (
	"cmp"
	"math"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// Verdict is what a comparison says about one figure.
type Verdict string

// The verdicts. Same means that the difference is within what the two runs leave
// uncertain.
const (
	Same   Verdict = "same"
	Faster Verdict = "faster"
	Slower Verdict = "slower"
)

// Difference is one percentile of one kind of request in two runs.
type Difference struct {
	Series     string     `json:"series"`
	Percentile float64    `json:"percentile"`
	A          float64    `json:"a_ms"`
	B          float64    `json:"b_ms"`
	RangeA     [2]float64 `json:"a_range_ms"` // 95 % confidence
	RangeB     [2]float64 `json:"b_range_ms"`
	Change     float64    `json:"change"` // of B against A: 0.1 is a tenth more
	Verdict    Verdict    `json:"verdict"`
}

// percentiles are those that are compared.
var percentiles = [...]float64{50, 90, 99, 99.9}

// Compare returns the percentiles that both runs have, series by series.
func Compare(a, b *Run) ([]Difference, error) {
	var out []Difference
	for i := range a.Latency {
		for j := range b.Latency {
			if a.Latency[i].Name != b.Latency[j].Name || a.Latency[i].Count == 0 || b.Latency[j].Count == 0 {
				continue
			}
			ha, err := a.Latency[i].histogram()
			if err != nil {
				return nil, err
			}
			hb, err := b.Latency[j].histogram()
			if err != nil {
				return nil, err
			}
			for _, p := range percentiles {
				out = append(out, difference(a.Latency[i].Name, p, ha, hb))
			}
		}
	}
	return out, nil
}

func difference(series string, p float64, a, b *hdrhistogram.Histogram) Difference {
	d := Difference{
		Series: series, Percentile: p, A: millis(a.ValueAtQuantile(p)), B: millis(b.ValueAtQuantile(p)),
		RangeA: confidence(a, p), RangeB: confidence(b, p), Verdict: Same,
	}
	d.Change = d.B/d.A - 1
	switch {
	case d.RangeB[0] > d.RangeA[1]:
		d.Verdict = Slower
	case d.RangeB[1] < d.RangeA[0]:
		d.Verdict = Faster
	}
	return d
}

// confidence returns the values between which a percentile lies with 95 %, by
// order statistics: how many of n independent values are below it is binomial.
// (Conover, Practical Nonparametric Statistics, 3.2.) Latencies of one run are not
// quite independent, so the true range is wider.
func confidence(h *hdrhistogram.Histogram, p float64) [2]float64 {
	n, q := float64(h.TotalCount()), p/100
	half := 1.96 * math.Sqrt(n*q*(1-q))
	at := func(rank float64) float64 {
		share := 100 * min(max(rank, 1), n) / n
		return millis(h.ValueAtQuantile(share))
	}
	return [2]float64{at(n*q - half), at(n*q + half + 1)}
}

// Worst returns the slower difference that is the largest, if it is above limit.
func Worst(differences []Difference, limit float64) (Difference, bool) {
	var worst Difference
	for _, d := range differences {
		if d.Verdict == Slower && d.Change > limit && cmp.Compare(d.Change, worst.Change) > 0 {
			worst = d
		}
	}
	return worst, worst.Series != ""
}

// Unlike says in words in which way the loads of two runs differ: then their
// latencies say little about each other.
func Unlike(a, b *Run) []string {
	var out []string
	add := func(differ bool, what, va, vb string) {
		if differ {
			out = append(out, what+": "+va+" and "+vb)
		}
	}
	add(a.Load != b.Load, "load", a.Load, b.Load)
	add(a.Model != b.Model, "model", a.Model, b.Model)
	add(a.Lane != b.Lane, "lane", a.Lane, b.Lane)
	add(a.Machine != b.Machine, "machine", a.Machine, b.Machine)
	return out
}
