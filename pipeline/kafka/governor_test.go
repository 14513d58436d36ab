package kafka

import (
	"testing"
	"time"
)

// drive runs g for a while on a machine where a request takes latency, and that
// answers and commits rate of them in a second before goroutines queue up.
func drive(g *governor, steps int, rate float64, latency time.Duration) (limit int, queued time.Duration) {
	atRisk := int(g.limit)
	for range steps {
		needed := rate * latency.Seconds() // requests in flight that keep the machine just busy
		queued = time.Duration(max(0, (float64(atRisk)-needed)/rate) * float64(time.Second))
		atRisk = g.step(queued, 20*time.Millisecond+queued, atRisk)
	}
	return atRisk, queued
}

func TestSlowProvidersGetAllTheConcurrencyThereIs(t *testing.T) {
	t.Parallel()
	g := newGovernor(10_000, 0)
	if limit, _ := drive(g, 40, 20_000, time.Minute); limit != 10_000 {
		t.Errorf("limit %d after two seconds of idle processors, want 10000", limit)
	}
}

func TestABusyMachineKeepsFewAnswersWaiting(t *testing.T) {
	t.Parallel()
	g := newGovernor(2000, 0)
	const rate = 700
	limit, queued := drive(g, 400, rate, 150*time.Millisecond)
	if queued > 150*time.Millisecond || limit < rate*150/1000 {
		t.Errorf("limit %d with answers %v late, want enough to be busy and no more", limit, queued)
	}
}

func TestSlowTransactionsLowerTheLimitButFarBrokersDoNot(t *testing.T) {
	t.Parallel()
	near, far := newGovernor(2000, 0), newGovernor(2000, 0)
	for range 100 {
		near.step(0, 15*time.Millisecond, 2000)
		far.step(0, 250*time.Millisecond, 2000) // every transaction, from the first
	}
	if near.limit < 2000 || far.limit < 2000 {
		t.Fatalf("limits %v and %v where nothing waits, want 2000", near.limit, far.limit)
	}
	for range 20 {
		near.step(0, 250*time.Millisecond, 2000)
	}
	if near.limit > 200 {
		t.Errorf("limit %v while transactions take 16 times as long as they could", near.limit)
	}
}

func TestReservesAreNeverTakenAway(t *testing.T) {
	t.Parallel()
	g := newGovernor(2000, 300)
	for range 100 {
		g.step(time.Second, time.Second, 2000)
	}
	if g.limit <= 300 {
		t.Errorf("limit %v, want above the reserves of 300", g.limit)
	}
	s := newScheduler(2000, []LaneConfig{{Name: "a", Weight: 1, Reserve: 300}, {Name: "b", Weight: 1}})
	s.setLimit(int(g.limit))
	tr := newTracker("t", 0, [16]byte{}, 0, nil)
	for i := range 1000 {
		s.add(&item{tracker: tr, lane: 1, tenant: "t", offset: int64(i)})
	}
	b := 0
	for s.next() != nil {
		b++
	}
	for i := range 1000 {
		s.add(&item{tracker: tr, lane: 0, tenant: "t", offset: int64(i)})
	}
	a := 0
	for s.next() != nil {
		a++
	}
	if a < 300 || b == 0 {
		t.Errorf("lanes got %d and %d places, want the reserve of 300 and some", a, b)
	}
}

// Calls that finish while nothing can be committed are lost to the next kill.
func TestALaneThatCannotCommitHandsNothingOut(t *testing.T) {
	t.Parallel()
	s := newScheduler(10, []LaneConfig{{Name: "a", Weight: 1}, {Name: "b", Weight: 1}})
	tr := newTracker("t", 0, [16]byte{}, 0, nil)
	s.add(&item{tracker: tr, lane: 0, tenant: "t"})
	s.add(&item{tracker: tr, lane: 1, tenant: "t"})
	s.hold(0, true)
	if it := s.next(); it == nil || it.lane != 1 {
		t.Fatalf("got %+v, want the other lane's", it)
	}
	if it := s.next(); it != nil {
		t.Fatal("a held lane handed something out")
	}
	s.hold(0, false)
	select {
	case <-s.wake:
	default:
		t.Error("nobody was told that the lane goes on")
	}
	if it := s.next(); it == nil || it.lane != 0 {
		t.Errorf("got %+v, want the lane that goes on", it)
	}
}
