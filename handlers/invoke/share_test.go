package invoke

import (
	"testing"
	"time"

	"github.com/sira-ai/sira/handlers/provider"
)

// A prediction withholds calls from a provider's only endpoint: they are for the
// next target, and no request is lost where there is none.
func TestWithheldCallsGoToTheNextTarget(t *testing.T) {
	t.Parallel()
	a, b := good(), good()
	s := build(t, nil, map[string]provider.Provider{"a": a, "b": b}, 1)
	s.pools["a"].Endpoint("a-0").SetShare(5)
	for range 200 {
		if err := s.Handle(t.Context(), ask("a", "b").Job); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(a.times); n == 0 || n > 30 {
		t.Errorf("%d of 200 calls were made where 5 %% are to be made", n)
	}
	began := time.Now()
	for range 50 {
		if err := s.Handle(t.Context(), ask("a").Job); err != nil {
			t.Fatal(err)
		}
	}
	if took := time.Since(began); len(b.times)+len(a.times) != 250 || took > 5*time.Second {
		t.Errorf("%d calls at a, %d at b, in %s", len(a.times), len(b.times), took)
	}
}
