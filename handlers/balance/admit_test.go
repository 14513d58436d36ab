package balance_test

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sira-ai/sira/handlers/balance"
)

// What is not admitted is passed over, counts as nothing, and says when to come
// back.
func TestEndpointsThatAreNotAdmittedArePassedOver(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := newPool(t, "least_load", nil, balance.EndpointConfig{ID: "a"}, balance.EndpointConfig{ID: "b"})
		now := time.Now()
		not := func(id string) func(*balance.Endpoint) time.Time {
			return func(e *balance.Endpoint) time.Time {
				if e.ID == id || id == "" {
					return now.Add(3 * time.Second)
				}
				return time.Time{}
			}
		}
		for _, id := range []string{"a", "b", "a", "b"} {
			l, err := p.AcquireIf(0, "", "m", now, not(id))
			if err != nil || l.Endpoint.ID == id {
				t.Fatalf("%v at %+v without %s", err, l, id)
			}
			l.Done(nil, time.Second)
		}
		_, err := p.AcquireIf(0, "", "m", now, not(""))
		if u, ok := errors.AsType[*balance.UnusableError](err); !ok || !u.Until.Equal(now.Add(3*time.Second)) {
			t.Errorf("error %v, want one until in 3 s", err)
		}
		for _, e := range p.Snapshot() {
			if e.InFlight != 0 || e.Calls != 2 {
				t.Errorf("%s has %d in flight and %d calls", e.ID, e.InFlight, e.Calls)
			}
		}
	})
}
