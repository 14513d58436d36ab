package endpoint

import (
	"encoding/json"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

func TestTheNextOwnerGoesOnWhereTheLastOneStopped(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(7, 0))
	one := settled(r)
	text, err := json.Marshal(one)
	if err != nil {
		t.Fatal(err)
	}
	two := new(State)
	if err := json.Unmarshal(text, two); err != nil {
		t.Fatal(err)
	}
	for range 20 {
		tick := calls(r, 10, 0.9, Fault, 0.1)
		if diff := cmp.Diff(one.Tick(&tick, Around{}), two.Tick(&tick, Around{}), cmpopts.EquateApprox(1e-9, 1e-12)); diff != "" {
			t.Fatal(diff)
		}
	}
	if len(text) > 1200 {
		t.Errorf("a memory is %d bytes", len(text))
	}
}

func TestLongerAnswersAreADriftAndNoTrouble(t *testing.T) {
	t.Parallel()
	var s State
	tick := func(tokens int64) Features {
		var t Stats
		for range 10 {
			t.Observe(Call{Input: 100, Output: tokens})
		}
		return s.Tick(&t, Around{Healthy: true})
	}
	for range 100 {
		tick(50)
	}
	var f Features
	for range 10 {
		f = tick(200)
	}
	if in, out := s.Drift(); math.Abs(in) > 1e-9 || out < 0.8 || f != (Features{}) {
		t.Errorf("drift %.2f and %.2f, features %v", in, out, f)
	}
}

func FuzzMemory(f *testing.F) {
	good, err := json.Marshal(new(State))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add([]byte(`{"bad":[1,-1]}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		var s State
		if json.Unmarshal(text, &s) != nil {
			return
		}
		var tick Stats
		tick.Observe(Call{FirstToken: 1, Outcome: OK})
		for i, v := range s.Tick(&tick, Around{Healthy: true}) {
			if !(v >= 0 && v <= 8) {
				t.Errorf("%s is %v", Feature(i), v)
			}
		}
	})
}
