package incident

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sira-ai/sira/handlers/anomaly/predict"
)

// short is a plan that a test has time for.
func short(seed uint64) Plan {
	p := DefaultPlan()
	p.Seed, p.Length, p.Between = seed, 12*time.Hour, 15*time.Minute
	return p
}

// slowly skips under the race detector: a simulation is one goroutine.
func slowly(t *testing.T) {
	if race {
		t.Skip("hours of traffic in one goroutine: too slow under the race detector, and nothing for it to find")
	}
}

func evaluate(t *testing.T, p Plan) *Report {
	t.Helper()
	m, err := predict.Default()
	if err != nil {
		t.Fatal(err)
	}
	r, err := Evaluate(p, m, predict.DefaultPolicy())
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestWeightsThatFollowThePredictionHalveFailures(t *testing.T) {
	t.Parallel()
	slowly(t)
	r := evaluate(t, short(1001)) // a seed that no model was trained on
	if r.Failures < 10 {
		t.Fatalf("only %d failures to measure by", r.Failures)
	}
	if on, off := r.On.Troubled(), r.Off.Troubled(); on > off/2 {
		t.Errorf("during incidents %.4f of the requests fail, without prediction %.4f", on, off)
	}
	if r.Precision < 0.7 || r.Recall < 0.95 || r.Foreseen < 0.3 {
		t.Errorf("precision %.2f, recall %.2f, foreseen %.2f", r.Precision, r.Recall, r.Foreseen)
	}
	if r.Brier >= r.Climate {
		t.Errorf("Brier score %.5f, no better than always saying the mean (%.5f)", r.Brier, r.Climate)
	}
	if r.Shifts.Most > 2 || r.Shifts.MostLow > r.Plan.Endpoints/3 {
		t.Errorf("%d shifts in one incident, %d endpoints low at once", r.Shifts.Most, r.Shifts.MostLow)
	}
	for _, k := range r.Kinds {
		if k.Kind == SlowBurn.String() && (k.Early < k.Failures || k.Lead < 60) {
			t.Errorf("%d of %d slow burns are foreseen, median lead %.0f s", k.Early, k.Failures, k.Lead)
		}
	}
}

func TestSameSeedSameFigures(t *testing.T) {
	t.Parallel()
	p := short(7)
	p.Length = 4 * time.Hour
	if diff := cmp.Diff(evaluate(t, p), evaluate(t, p)); diff != "" {
		t.Error(diff)
	}
}

func TestIncidentsLookLikeWhatTheyAre(t *testing.T) {
	t.Parallel()
	p := DefaultPlan()
	seen := make(map[Kind]int)
	end := 0
	for _, in := range p.incidents() {
		seen[in.Kind]++
		if in.Begin < end+600 {
			t.Errorf("%s begins at %d, %d s after the one before", in.Kind, in.Begin, in.Begin-end)
		}
		end = in.End
		for i, e := range in.Hit {
			before, during, after := p.health(e, in.Onset[i]-1, &in), p.health(e, in.Onset[i], &in), p.health(e, in.End, &in)
			if before.failing || after.failing || during.failing != in.Kind.Fails() {
				t.Errorf("%s fails before %v, during %v, after %v", in.Kind, before.failing, during.failing, after.failing)
			}
			if bad := during.fault + during.limited + during.overloaded + during.cut; in.Kind.Fails() && bad < 0.5 {
				t.Errorf("%s fails with only %.2f of the calls bad", in.Kind, bad)
			}
		}
	}
	for k := range KindCount {
		if seen[k] < 10 {
			t.Errorf("%d incidents of kind %s", seen[k], k)
		}
	}
}

func TestTrainingOnFewIncidentsGivesAModelThatWorks(t *testing.T) {
	t.Parallel()
	slowly(t)
	p := short(0)
	p.Length, p.Between = 8*time.Hour, 12*time.Minute
	m, err := Train(p, []uint64{51, 52})
	if err != nil {
		t.Fatal(err)
	}
	p.Seed = 53
	r, err := Evaluate(p, m, predict.DefaultPolicy())
	if err != nil {
		t.Fatal(err)
	}
	if r.Brier >= r.Climate {
		t.Errorf("Brier score %.5f, no better than always saying the mean (%.5f)", r.Brier, r.Climate)
	}
	if _, err := Train(p, []uint64{1}); err == nil {
		t.Error("training on a single seed was accepted")
	}
}

func TestWorseModelIsRefusedWithTheReason(t *testing.T) {
	t.Parallel()
	good := &Report{Brier: 0.005, On: Counts{TroubledRequests: 1000, TroubledFailed: 5}}
	bad := &Report{Brier: 0.006, On: Counts{TroubledRequests: 1000, TroubledFailed: 9}, Shifts: Shifts{AboveTwo: 1}}
	if err := good.Worse(bad); err != nil {
		t.Errorf("a better model is refused: %v", err)
	}
	var joined interface{ Unwrap() []error }
	if err := bad.Worse(good); !errors.As(err, &joined) || len(joined.Unwrap()) != 3 {
		t.Errorf("error %v, want three reasons", err)
	}
}

func TestPicturesAreWellFormed(t *testing.T) {
	t.Parallel()
	p := short(3)
	p.Length = 10 * time.Hour
	for name, picture := range evaluate(t, p).Pictures() {
		for d := xml.NewDecoder(bytes.NewReader(picture)); ; {
			_, err := d.Token()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Errorf("%s: %v", name, err)
				break
			}
		}
		if bytes.Contains(picture, []byte("NaN")) || bytes.Contains(picture, []byte("Inf")) {
			t.Errorf("%s has a number that is none", name)
		}
	}
}
