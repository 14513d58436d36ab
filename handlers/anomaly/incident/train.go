package incident

import (
	"errors"
	"fmt"

	"github.com/sira-ai/sira/handlers/anomaly/predict"
)

// Train fits a model to the incidents of some plans, one for each seed, in two
// rounds: the first model decides what is unusual while the examples of the second
// are gathered, as it will where it is used. The first half of the examples gives
// coefficients, the other the calibration.
func Train(p Plan, seeds []uint64) (*predict.Model, error) {
	if len(seeds) < 2 {
		return nil, errors.New("training takes two seeds or more: one half gives coefficients, the other the calibration")
	}
	name := fmt.Sprintf("simulated incidents, %d runs of %s with %d endpoints in %d regions, seeds %v", len(seeds), p.Length, p.Endpoints, p.Regions, seeds)
	var model *predict.Model
	for _, round := range [][]uint64{seeds[:2], seeds} {
		var examples []predict.Example
		for _, seed := range round {
			p.Seed = seed
			examples = append(examples, Examples(p, model)...)
		}
		var err error
		if model, err = predict.Train(name, examples, 0.5); err != nil {
			return nil, err
		}
	}
	return model, nil
}

// Worse says in what a model's replay is worse than that of the present one;
// nil is not worse. A new model is used only then.
func (r *Report) Worse(present *Report) error {
	var faults []error
	for _, m := range []struct {
		what      string
		now, then float64
	}{
		{"Brier score", r.Brier, present.Brier},
		{"share of requests that failed during incidents", r.On.Troubled(), present.On.Troubled()},
	} {
		if m.now > 1.01*m.then {
			faults = append(faults, fmt.Errorf("%s is %.6f, that of the present model %.6f", m.what, m.now, m.then))
		}
	}
	if r.Shifts.AboveTwo > present.Shifts.AboveTwo {
		faults = append(faults, fmt.Errorf("%d endpoints shift more than twice in an incident, with the present model %d", r.Shifts.AboveTwo, present.Shifts.AboveTwo))
	}
	return errors.Join(faults...)
}

// Troubled returns the share of requests whose first attempt failed while an
// incident that ends in failure went on.
func (c Counts) Troubled() float64 { return share(c.TroubledFailed, c.TroubledRequests) }
