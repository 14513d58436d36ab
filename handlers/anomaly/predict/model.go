// Package predict says how likely an endpoint is to fail within the next
// minutes, why, and what share of the calls it should get meanwhile.
//
// The probability is a logistic regression over the endpoint's features, made
// honest by a calibration curve. Coefficients are trained offline, on incidents
// of the simulator in the folder incident, by `sira detect train`; they are in
// model.json with what they were trained on.
package predict

import (
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/sira-ai/sira/handlers/anomaly/endpoint"
)

// Horizon is how far ahead a probability looks.
const Horizon = 5 * time.Minute

// Model turns features into a probability. Nobody changes it once it is in use.
type Model struct {
	Trained      string             `json:"trained"`      // on what
	Intercept    float64            `json:"intercept"`    // log odds where nothing is worse than usual
	Coefficients map[string]float64 `json:"coefficients"` // log odds for each unit of a feature, by its name
	Calibration  []Knot             `json:"calibration"`  // ascending; straight lines between

	weights endpoint.Features
}

// Knot is a point of the calibration curve: of what was said to happen with
// probability Said, a share Seen did.
type Knot struct {
	Said float64 `json:"said"`
	Seen float64 `json:"seen"`
}

//go:embed model.json
var trained []byte

// Default returns the model that comes with Sira.
func Default() (*Model, error) { return Read(trained) }

// Read reads a model.
func Read(document []byte) (*Model, error) {
	m := new(Model)
	if err := json.Unmarshal(document, m); err != nil {
		return nil, fmt.Errorf("reading model: %w", err)
	}
	if err := m.init(); err != nil {
		return nil, fmt.Errorf("reading model: %w", err)
	}
	return m, nil
}

func (m *Model) init() error {
	known := 0
	for f := range endpoint.FeatureCount {
		w, ok := m.Coefficients[f.String()]
		if ok {
			known++
		}
		m.weights[f] = w
	}
	if known != len(m.Coefficients) {
		return errors.New("it has coefficients of features that there are not: train one with this version")
	}
	for i, k := range m.Calibration {
		if i > 0 && (k.Said <= m.Calibration[i-1].Said || k.Seen < m.Calibration[i-1].Seen) {
			return fmt.Errorf("its calibration does not ascend at knot %d", i)
		}
	}
	if len(m.Calibration) < 2 {
		return errors.New("its calibration needs two knots or more")
	}
	return nil
}

// Failing is the share of calls without a whole answer from which an endpoint
// counts as failing: there is nothing left to predict.
const Failing = 0.25

// Probability returns how likely the endpoint is to fail within Horizon, or to go
// on failing where the share of bad calls says that it does already. It never
// falls when a feature rises.
func (m *Model) Probability(f *endpoint.Features, bad float64) float64 {
	p := m.calibrate(m.said(f))
	if bad >= Failing {
		p = max(p, 0.95)
	}
	return p
}

// said returns the probability before calibration.
func (m *Model) said(f *endpoint.Features) float64 {
	x := m.Intercept
	for i, v := range f {
		x += m.weights[i] * v
	}
	return 1 / (1 + math.Exp(-x))
}

func (m *Model) calibrate(p float64) float64 {
	k := m.Calibration
	if p <= k[0].Said {
		return k[0].Seen
	}
	for i := 1; i < len(k); i++ {
		if p <= k[i].Said {
			a, b := k[i-1], k[i]
			return a.Seen + (b.Seen-a.Seen)*(p-a.Said)/(b.Said-a.Said)
		}
	}
	return k[len(k)-1].Seen
}

// Reason is one feature's part in a probability.
type Reason struct {
	Feature endpoint.Feature
	Value   float64
	Weight  float64 // log odds that it adds
}

// String returns the reason in words.
func (r Reason) String() string {
	switch r.Feature {
	case endpoint.Neighbours:
		return fmt.Sprintf("%s: %.0f %% of the region's other endpoints fail", r.Feature, 100*r.Value)
	case endpoint.Together:
		return fmt.Sprintf("%s: slower and failing more at once", r.Feature)
	default:
		return fmt.Sprintf("%s: %.1f times the usual", r.Feature, math.Exp(r.Value))
	}
}

// Reasons returns what speaks most for failure, the weightiest first, at most n.
func (m *Model) Reasons(f *endpoint.Features, n int) []Reason {
	var all []Reason
	for i, v := range f {
		if w := m.weights[i] * v; w > 0.1 {
			all = append(all, Reason{endpoint.Feature(i), v, w})
		}
	}
	slices.SortStableFunc(all, func(a, b Reason) int {
		switch {
		case a.Weight > b.Weight:
			return -1
		case a.Weight < b.Weight:
			return 1
		}
		return 0
	})
	return all[:min(n, len(all))]
}
