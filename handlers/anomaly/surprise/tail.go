package surprise

import (
	"math"
	"slices"
)

const (
	tailShare = 0.02  // share of the memory that the tail is fitted to
	tailMin   = 8     // and the fewest points
	rarest    = 1e-15 // what is rarer counts as this rare
)

// tail tells how rarely a statistic is as high as this, from the values of the
// last memory points: by rank where there are enough values above, and beyond
// by an exponential tail over the highest ones (the peaks-over-threshold rule of
// Siffer et al., "Anomaly detection in streams with extreme value theory", KDD
// 2017, with shape 0).
type tail struct {
	memory int
	sorted []float64
	ring   []float64 // the same in the order of time, once full beginning at oldest
	oldest int
}

// rarity returns the negative decimal logarithm of the share of points that are
// v or higher. It needs more than tailMin values.
func (t *tail) rarity(v float64) float64 {
	n := len(t.sorted)
	k := max(int(tailShare*float64(n)), tailMin)
	above := t.sorted[n-k:]
	bound := t.sorted[n-k-1]
	if v <= bound {
		below, _ := slices.BinarySearch(t.sorted, v)
		return max(0, -math.Log10(float64(n-below+1)/float64(n+1)))
	}
	excess := 0.0
	for _, x := range above {
		excess += x - bound
	}
	// A tail without extent, as of a series that never changed, still has a scale.
	excess = max(excess/float64(k), 1e-12*math.Abs(bound), 1e-300)
	return -math.Log10(max(rarest, float64(k)/float64(n)*math.Exp(-(v-bound)/excess)))
}

// add makes v part of the past, and forgets the oldest value when full.
func (t *tail) add(v float64) {
	if len(t.ring) < t.memory {
		t.ring = append(t.ring, v)
		i, _ := slices.BinarySearch(t.sorted, v)
		t.sorted = slices.Insert(t.sorted, i, v)
		return
	}
	old := t.ring[t.oldest]
	t.ring[t.oldest] = v
	t.oldest = (t.oldest + 1) % t.memory
	// One move of what lies between replaces the old value by the new.
	out, _ := slices.BinarySearch(t.sorted, old)
	in, _ := slices.BinarySearch(t.sorted, v)
	if in > out {
		in--
		copy(t.sorted[out:in], t.sorted[out+1:in+1])
	} else {
		copy(t.sorted[in+1:out+1], t.sorted[in:out])
	}
	t.sorted[in] = v
}

func (t *tail) median() float64 { return t.sorted[len(t.sorted)/2] }

func (t *tail) most() float64 { return t.sorted[len(t.sorted)-1] }
