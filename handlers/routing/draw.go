package routing

import (
	"math"

	"github.com/cespare/xxhash/v2"

	"github.com/sira-ai/sira/schemas"
)

// Mix is the finalizer of SplitMix64: every bit of x moves every bit of the
// result.
func Mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// Uniform returns the number in (0, 1) that a hash stands for.
func Uniform(h uint64) float64 { return (float64(int64(h>>11)) + 0.5) / (1 << 53) }

// Pick draws one of several by weighted rendezvous hashing: the i-th has the
// score w_i / -ln(u_i), where u_i is made from h and seeds[i], and the highest
// wins. Each is drawn with probability w_i / Σw; the same h always draws the
// same; and a changed weight moves only the draws that it gains or loses. It
// returns -1 where no weight is above 0.
func Pick(h uint64, seeds []uint64, weights []int) int {
	best, chosen := 0.0, -1
	for i, w := range weights {
		if w <= 0 {
			continue
		}
		if s := float64(w) / -math.Log(Uniform(Mix(h^seeds[i]))); s > best {
			best, chosen = s, i
		}
	}
	return chosen
}

func hashTarget(t *schemas.Target) uint64 {
	h := Mix(xxhash.Sum64String(t.Provider))
	h = Mix(h ^ xxhash.Sum64String(t.Model))
	return Mix(h ^ xxhash.Sum64String(t.Region))
}
