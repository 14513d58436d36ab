package gaussian

import (
	"math"
	"testing"
	"time"

	"github.com/sira-ai/sira/pipeline/catalog"
)

func TestDistanceFromTheMeanIsWhatScores(t *testing.T) {
	d, err := catalog.New("detector", Entry).Build("gaussian", catalog.Settings(`{"window":100,"step":10}`), catalog.Env{})
	if err != nil {
		t.Fatal(err)
	}
	at := time.Unix(0, 0)
	for i := range 200 {
		d.Observe(at, float64(i%2)) // mean 0.5, deviation 0.5
	}
	for v, want := range map[float64]float64{0.5: 0.5, 1: 0.8413, 0: 0.8413, 5: 1} {
		if got := d.Observe(at, v).Score; math.Abs(got-want) > 0.01 {
			t.Errorf("%v scores %.4f, want %.4f", v, got, want)
		}
	}
	if got := d.Observe(at, math.NaN()).Score; got != 0 {
		t.Errorf("what is no number scores %v", got)
	}
}

func TestWindowThatMakesNoSenseIsRefused(t *testing.T) {
	for _, s := range []string{`{"step":0}`, `{"window":10,"step":20}`} {
		if err := catalog.New("detector", Entry).Check("gaussian", catalog.Settings(s)); err == nil {
			t.Errorf("%s was accepted", s)
		}
	}
}
