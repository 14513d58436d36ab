package balance

import (
	"math"
	"time"
)

// evidence is a one-sided sequential likelihood-ratio test of whether an endpoint
// fails as a failing one does rather than as a healthy one: a CUSUM of Bernoulli
// trials (Page, "Continuous inspection schemes", Biometrika 41, 1954). What was
// seen long ago counts less, so that a quiet endpoint is not tried on old news.
// Endpoint.counting guards it.
type evidence struct {
	failure, success float64 // what an outcome adds
	memory           float64 // half-life in nanoseconds
	healthy, most    float64 // of odds: those of an endpoint that is well, and the most they count

	score float64
	at    time.Time // of score
}

func newEvidence(c BreakerConfig) *evidence {
	return &evidence{
		failure: math.Log(c.Failing / c.Healthy),
		success: math.Log((1 - c.Failing) / (1 - c.Healthy)),
		memory:  float64(c.Memory),
		healthy: logit(c.Healthy),
		most:    c.Evidence / 2,
	}
}

// add counts an outcome.
func (ev *evidence) add(failed bool, now time.Time) {
	if ev.score == 0 && !failed {
		return
	}
	if passed := now.Sub(ev.at); ev.score > 0 && passed > 0 {
		ev.score *= math.Exp2(-float64(passed) / ev.memory)
	}
	ev.at = now
	if failed {
		ev.score += ev.failure
	} else {
		ev.score = max(ev.score+ev.success, 0)
	}
}

func (ev *evidence) reset() { ev.score = 0 }

// odds returns what a probability of failing is worth as evidence.
func (ev *evidence) odds(probability float64) float64 {
	if !(probability > 0) {
		return 0
	}
	return min(max(logit(min(probability, 0.999))-ev.healthy, 0), ev.most)
}

func logit(p float64) float64 { return math.Log(p / (1 - p)) }
