package kafka

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func fill(s *scheduler, lane, n int, tenants ...string) {
	for i := range n {
		s.add(&item{lane: lane, offset: int64(i), tenant: tenants[i%len(tenants)]})
	}
}

func TestLanesShareByWeight(t *testing.T) {
	t.Parallel()
	s := newScheduler(10, []LaneConfig{{Weight: 8}, {Weight: 3}, {Weight: 1}})
	for lane := range 3 {
		fill(s, lane, 200, "a")
	}
	got := [3]int{}
	for range 120 {
		it := s.next()
		got[it.lane]++
		s.done(it)
	}
	if want := [3]int{80, 30, 10}; got != want {
		t.Errorf("of 120 turns the lanes had %v, want %v", got, want)
	}
}

func TestIdleLanesLeaveTheirShareToOthers(t *testing.T) {
	t.Parallel()
	for lane := range 3 {
		s := newScheduler(4, []LaneConfig{{Weight: 8}, {Weight: 3}, {Weight: 1}})
		fill(s, lane, 20, "a")
		for i := range 20 {
			it := s.next()
			if it == nil {
				t.Fatalf("lane %d alone: nothing at turn %d", lane, i)
			}
			s.done(it)
		}
	}
}

func TestReservedPlacesAreLeftFree(t *testing.T) {
	t.Parallel()
	s := newScheduler(10, []LaneConfig{{Weight: 1, Reserve: 4}, {Weight: 100}})
	fill(s, 1, 50, "bulk")
	n := 0
	for s.next() != nil {
		n++
	}
	if n != 6 {
		t.Fatalf("the lane without reserve runs %d, want 6 of 10", n)
	}
	fill(s, 0, 50, "a")
	for n = 0; s.next() != nil; n++ {
	}
	if n != 4 {
		t.Errorf("the reserve gave %d places, want 4", n)
	}
}

func TestBusyTenantDoesNotStarveOthers(t *testing.T) {
	t.Parallel()
	s := newScheduler(100, []LaneConfig{{Weight: 1}})
	fill(s, 0, 1000, "busy")
	fill(s, 0, 3, "quiet")
	seen := 0
	for range 6 {
		if s.next().tenant == "quiet" {
			seen++
		}
	}
	if seen != 3 {
		t.Errorf("of the first 6 places the quiet tenant had %d, want 3", seen)
	}
}

func TestTenantNeverExceedsItsCap(t *testing.T) {
	t.Parallel()
	s := newScheduler(100, []LaneConfig{{Weight: 1, TenantInFlight: 2}})
	fill(s, 0, 50, "a", "b")
	running := map[string]int{}
	var first *item
	for it := s.next(); it != nil; it = s.next() {
		if first == nil {
			first = it
		}
		running[it.tenant]++
	}
	if diff := cmp.Diff(map[string]int{"a": 2, "b": 2}, running); diff != "" {
		t.Fatalf("in flight (-want +got):\n%s", diff)
	}
	s.done(first)
	if it := s.next(); it == nil || it.tenant != first.tenant {
		t.Errorf("after one of %s ended, next is %v", first.tenant, it)
	}
}

func TestDroppedItemsAreNeverHandedOut(t *testing.T) {
	t.Parallel()
	s := newScheduler(100, []LaneConfig{{Weight: 1}, {Weight: 1}})
	leaving := &tracker{}
	for i := range 30 {
		it := &item{lane: i % 2, offset: int64(i), tenant: fmt.Sprint(i % 3)}
		if i%5 == 0 {
			it.tracker = leaving
		}
		s.add(it)
	}
	s.done(s.next())
	dropped := s.drop(func(it *item) bool { return it.tracker == leaving })
	rest := 1 // the one that ran before
	for it := s.next(); it != nil; it = s.next() {
		if it.tracker == leaving {
			t.Errorf("offset %d was dropped and handed out", it.offset)
		}
		rest++
	}
	if len(dropped)+rest != 30 {
		t.Errorf("%d dropped and %d handed out, want 30 together", len(dropped), rest)
	}
	for lane := range 2 {
		if waiting, _ := s.counts(lane); waiting != 0 {
			t.Errorf("lane %d counts %d waiting, want none", lane, waiting)
		}
	}
}

// A tenant whose queue never ran empty kept a place in memory for every request
// that it had ever sent.
func TestQueueThatNeverEmptiesDoesNotGrow(t *testing.T) {
	t.Parallel()
	s := newScheduler(10, []LaneConfig{{Weight: 1}})
	fill(s, 0, 10, "a")
	for i := range 100_000 {
		it := s.next()
		if it.offset != int64(i%10) {
			t.Fatalf("turn %d gave offset %d: out of order", i, it.offset)
		}
		s.add(it)
		s.done(it)
	}
	if n := cap(s.lanes[0].tenants["a"].items); n > 100 {
		t.Errorf("10 waiting items take %d places", n)
	}
}

func TestForgottenTenantsLeaveNothingBehind(t *testing.T) {
	t.Parallel()
	s := newScheduler(10, []LaneConfig{{Weight: 1}})
	for i := range 1000 {
		fill(s, 0, 1, fmt.Sprint("tenant ", i))
		s.done(s.next())
	}
	if n := len(s.lanes[0].tenants); n != 0 {
		t.Errorf("%d tenants without requests are remembered", n)
	}
}
