package predict

import (
	"cmp"
	"errors"
	"math"
	"slices"

	"github.com/sira-ai/sira/handlers/anomaly/endpoint"
)

// Example is an endpoint at one moment, with what became of it.
type Example struct {
	Features endpoint.Features
	Fails    bool    // within Horizon
	Weight   float64 // how many such moments it stands for
}

// Train fits a model. Coefficients of the logistic regression come from the
// first part of the examples by Newton's method with a small ridge, none below
// zero: a signal that gets worse never makes a failure less likely, and every
// reason reads as one. The calibration curve comes from the rest, by pooling
// adjacent violators. The order of examples is therefore that of time.
func Train(on string, examples []Example, forCoefficients float64) (*Model, error) {
	cut := int(forCoefficients * float64(len(examples)))
	fit, check := examples[:cut], examples[cut:]
	if !mixed(fit) || !mixed(check) {
		return nil, errors.New("training needs examples that fail and that do not, in both parts")
	}
	m := &Model{Trained: on, Coefficients: make(map[string]float64)}
	m.Intercept, m.weights = newton(fit)
	m.Intercept = round(m.Intercept)
	for i := range m.weights {
		m.weights[i] = round(m.weights[i])
		if w := m.weights[i]; w != 0 {
			m.Coefficients[endpoint.Feature(i).String()] = w
		}
	}
	m.Calibration = m.curve(check)
	return m, m.init()
}

func mixed(examples []Example) bool {
	failing := 0
	for i := range examples {
		if examples[i].Fails {
			failing++
		}
	}
	return failing > 0 && failing < len(examples)
}

// dim counts the intercept in.
const dim = int(endpoint.FeatureCount) + 1

// newton fits, drops what came out negative, and fits again until nothing did.
func newton(examples []Example) (intercept float64, weights endpoint.Features) {
	var off [dim]bool
	for {
		w := irls(examples, off)
		again := false
		for i := 1; i < dim; i++ {
			if w[i] < 0 {
				off[i], again = true, true
			}
		}
		if !again {
			copy(weights[:], w[1:])
			return w[0], weights
		}
	}
}

// irls is Newton's method for the logistic likelihood (McCullagh and Nelder,
// Generalized Linear Models, 2.5), without the features that are off.
func irls(examples []Example, off [dim]bool) [dim]float64 {
	const rounds, ridge = 25, 1.0
	var w [dim]float64
	for range rounds {
		var gradient [dim]float64
		var hessian [dim][dim]float64
		for i := range examples {
			e := &examples[i]
			x := [dim]float64{1}
			copy(x[1:], e.Features[:])
			z := 0.0
			for j := range x {
				z += w[j] * x[j]
			}
			p := 1 / (1 + math.Exp(-z))
			residual, curvature := -p, p*(1-p)
			if e.Fails {
				residual = 1 - p
			}
			residual, curvature = residual*e.Weight, curvature*e.Weight
			for j := range x {
				if x[j] == 0 {
					continue
				}
				gradient[j] += residual * x[j]
				for k := range j + 1 {
					hessian[j][k] += curvature * x[j] * x[k]
				}
			}
		}
		for j := range dim {
			gradient[j] -= ridge * w[j]
			hessian[j][j] += ridge
			if off[j] {
				gradient[j], hessian[j] = 0, [dim]float64{}
				for k := range dim {
					hessian[k][j] = 0
				}
				hessian[j][j] = 1
			}
		}
		step := solve(hessian, gradient)
		largest := 0.0
		for j := range w {
			w[j] += max(-2, min(2, step[j]))
			largest = max(largest, math.Abs(step[j]))
		}
		if largest < 1e-6 {
			break
		}
	}
	return w
}

// solve returns x with a·x = b for a symmetric, positive definite a of which the
// lower half is given, by Cholesky's factors.
func solve(a [dim][dim]float64, b [dim]float64) [dim]float64 {
	for i := range dim {
		for j := range i + 1 {
			sum := a[i][j]
			for k := range j {
				sum -= a[i][k] * a[j][k]
			}
			if i == j {
				a[i][i] = math.Sqrt(max(sum, 1e-12))
			} else {
				a[i][j] = sum / a[j][j]
			}
		}
	}
	for i := range dim {
		for k := range i {
			b[i] -= a[i][k] * b[k]
		}
		b[i] /= a[i][i]
	}
	for i := dim - 1; i >= 0; i-- {
		for k := i + 1; k < dim; k++ {
			b[i] -= a[k][i] * b[k]
		}
		b[i] /= a[i][i]
	}
	return b
}

// curveGroup is the fewest examples behind a knot of the calibration.
const curveGroup = 400

// curve returns the calibration: groups of equal size by what the model says,
// each with the share that failed, neighbours in the wrong order pooled (Zadrozny
// and Elkan, "Transforming classifier scores into accurate multiclass probability
// estimates", KDD 2002).
func (m *Model) curve(examples []Example) []Knot {
	type group struct{ said, seen, n float64 }
	all := make([]group, len(examples))
	for i := range examples {
		all[i] = group{said: m.said(&examples[i].Features), n: examples[i].Weight}
		if examples[i].Fails {
			all[i].seen = 1
		}
	}
	slices.SortFunc(all, func(a, b group) int { return cmp.Compare(a.said, b.said) })
	pool := func(many []group) (g group) {
		for _, p := range many {
			g.said, g.seen, g.n = g.said+p.n*p.said, g.seen+p.n*p.seen, g.n+p.n
		}
		g.said, g.seen = g.said/g.n, g.seen/g.n
		return g
	}
	var groups []group
	for len(all) > 0 {
		// Most examples are quiet: groups shrink where it becomes interesting.
		n := min(max(curveGroup, len(all)/8), len(all))
		if len(all)-n < curveGroup/2 {
			n = len(all)
		}
		groups = append(groups, pool(all[:n]))
		all = all[n:]
		for k := len(groups); k > 1 && groups[k-2].seen >= groups[k-1].seen; k = len(groups) {
			groups = append(groups[:k-2], pool(groups[k-2:]))
		}
	}
	knots := []Knot{{0, 0}}
	for _, g := range groups {
		if k := (Knot{round(g.said), round(g.seen)}); k.Said > knots[len(knots)-1].Said && k.Said < 1 {
			knots = append(knots, k)
		}
	}
	return append(knots, Knot{1, max(knots[len(knots)-1].Seen, 0.99)})
}

func round(x float64) float64 { return math.Round(x*1e5) / 1e5 }
