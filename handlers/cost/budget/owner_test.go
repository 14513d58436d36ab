package budget

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/shopspring/decimal"
)

func dec(s string) decimal.Decimal { return decimal.RequireFromString(s) }

var noon = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

func owner(t testing.TB, mode Mode, limit string) *Owner {
	t.Helper()
	o, err := NewOwner([]Config{{ID: "b", Limit: dec(limit), Currency: "USD", Window: Day, Zone: "Europe/Berlin", Mode: mode}})
	if err != nil {
		t.Fatal(err)
	}
	return o
}

func reserve(id, amount string, at time.Time) Command {
	return Command{Budget: "b", Action: Reserve, ID: id, Amount: dec(amount), At: at, TTL: time.Minute}
}

func settle(id, amount string, at time.Time) Command {
	return Command{Budget: "b", Action: Settle, ID: id, Amount: dec(amount), At: at}
}

// Restore makes the changes of a whole changelog, or of what came after a snapshot,
// in order. Changes that are in the state already are skipped; a gap is an error.
func (o *Owner) Restore(changes []Change) error {
	for i := range changes {
		c := &changes[i]
		b := o.budgets[c.Budget]
		if b == nil || c.Decision == Unknown || c.Seq <= b.state.Seq {
			continue
		}
		if c.Seq != b.state.Seq+1 {
			return fmt.Errorf("restoring budget %q: change %d follows %d: the changelog has a gap", c.Budget, c.Seq, b.state.Seq)
		}
		b.state.apply(c)
	}
	return nil
}

// handle says what was decided, without warnings of their own.
func handle(o *Owner, commands ...Command) (out []string) {
	for _, c := range commands {
		for _, change := range o.Handle(c) {
			s := fmt.Sprintf("%s %s %s", change.ID, change.Decision, change.Amount)
			if change.Warning > 0 {
				s += fmt.Sprintf(" warns %d", change.Warning)
			}
			if change.Seq == 0 {
				s += " again"
			}
			out = append(out, s)
		}
	}
	return out
}

func spent(t testing.TB, o *Owner) string {
	t.Helper()
	s, ok := o.Snapshot("b")
	if !ok {
		t.Fatal("there is no such budget")
	}
	return s.Spent.String() + " " + s.Reserved.String()
}

func TestAHardLimitRefusesWhatDoesNotFit(t *testing.T) {
	t.Parallel()
	o := owner(t, Hard, "10")
	got := handle(o,
		reserve("a", "6", noon), reserve("b", "3", noon), reserve("c", "2", noon), reserve("d", "1", noon),
		settle("a", "5", noon), reserve("e", "1", noon), reserve("f", "0.000000000001", noon),
	)
	want := []string{"a granted 6", "b granted 3 warns 80", "c refused 2", "d granted 1 warns 95", "a settled 5", "e granted 1", "f refused 0.000000000001"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if got := spent(t, o); got != "5 5" {
		t.Errorf("spent and reserved: %s", got)
	}
}

func TestSoftAndShadowLimitsLetPassAndSaySo(t *testing.T) {
	t.Parallel()
	for _, mode := range []Mode{Soft, Shadow} {
		got := handle(owner(t, mode, "10"), reserve("a", "9", noon), reserve("b", "3", noon), settle("b", "3", noon))
		if diff := cmp.Diff([]string{"a granted 9 warns 80", "b over 3 warns 95", "b settled 3"}, got); diff != "" {
			t.Errorf("%s: %s", mode, diff)
		}
	}
}

func TestHandledAgainNothingChanges(t *testing.T) {
	t.Parallel()
	o := owner(t, Hard, "10")
	handle(o, reserve("a", "6", noon), reserve("b", "6", noon))
	if diff := cmp.Diff([]string{"a granted 6 again", "b refused 5"}, handle(o, reserve("a", "7", noon), reserve("b", "5", noon))); diff != "" {
		t.Error(diff)
	}
	handle(o, settle("a", "5", noon))
	if diff := cmp.Diff([]string{"a settled 5 again", "a settled 6 again"}, handle(o, settle("a", "5", noon), reserve("a", "6", noon))); diff != "" {
		t.Error(diff)
	}
	if got := spent(t, o); got != "5 0" {
		t.Errorf("spent and reserved: %s", got)
	}
}

func TestWhatNobodySettlesComesBackAndIsStillBookedLate(t *testing.T) {
	t.Parallel()
	o := owner(t, Hard, "10")
	handle(o, reserve("a", "6", noon), reserve("b", "4", noon.Add(time.Second)))
	got := handle(o, reserve("c", "5", noon.Add(time.Minute)), settle("a", "7", noon.Add(time.Minute)))
	for _, c := range o.Expire(noon.Add(time.Hour)) {
		got = append(got, fmt.Sprintf("%s %s %s", c.ID, c.Decision, c.Amount))
	}
	if diff := cmp.Diff([]string{"a expired 6", "c granted 5", "a settled 7", "b expired 4", "c expired 5"}, withoutWarnings(got)); diff != "" {
		t.Error(diff)
	}
	if got := spent(t, o); got != "7 0" {
		t.Errorf("spent and reserved: %s", got)
	}
}

func withoutWarnings(lines []string) []string {
	for i := range lines {
		lines[i], _, _ = strings.Cut(lines[i], " warns")
	}
	return lines
}

func TestAWindowBeginsAtTheCustomersMidnight(t *testing.T) {
	t.Parallel()
	o := owner(t, Hard, "10")
	night := time.Date(2026, 11, 23, 22, 59, 0, 0, time.UTC) // 23:59 in Berlin
	got := handle(o, reserve("a", "9", night), settle("a", "9", night), reserve("b", "9", night.Add(59*time.Second)), reserve("c", "9", night.Add(time.Minute)), reserve("d", "9", night))
	want := []string{"a granted 9", "a settled 9", "b refused 9", "c granted 9", "d refused 9"}
	if diff := cmp.Diff(want, withoutWarnings(got)); diff != "" {
		t.Error(diff)
	}
}

func TestWindowsFollowTheClockOfTheirZone(t *testing.T) {
	t.Parallel()
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		window   Window
		at       string
		from, to string
	}{
		{Day, "2026-03-29T10:00:00Z", "2026-03-28T23:00:00Z", "2026-03-29T22:00:00Z"},   // 23 hours
		{Day, "2026-10-25T10:00:00Z", "2026-10-24T22:00:00Z", "2026-10-25T23:00:00Z"},   // 25 hours
		{Hour, "2026-10-25T00:30:00Z", "2026-10-25T00:00:00Z", "2026-10-25T01:00:00Z"},  // first 02:30
		{Hour, "2026-10-25T01:30:00Z", "2026-10-25T01:00:00Z", "2026-10-25T02:00:00Z"},  // second 02:30
		{Week, "2026-11-22T22:59:00Z", "2026-11-15T23:00:00Z", "2026-11-22T23:00:00Z"},  // Sunday night
		{Week, "2026-11-22T23:00:00Z", "2026-11-22T23:00:00Z", "2026-11-29T23:00:00Z"},  // Monday
		{Month, "2026-12-31T22:59:00Z", "2026-11-30T23:00:00Z", "2026-12-31T23:00:00Z"}, // still December
	} {
		at, _ := time.Parse(time.RFC3339, c.at)
		from, to := c.window.Bounds(at, berlin)
		if got := from.UTC().Format(time.RFC3339) + " " + to.UTC().Format(time.RFC3339); got != c.from+" "+c.to {
			t.Errorf("%s of %s: got %s", c.window, c.at, got)
		}
	}
}

func TestTheStateIsRebuiltFromItsChangelogAtAnyPoint(t *testing.T) {
	t.Parallel()
	o := owner(t, Hard, "10")
	var log []Change
	for n := range 400 {
		id := fmt.Sprint(n / 2)
		at := noon.Add(time.Duration(n) * 7 * time.Minute)
		c := reserve(id, "1.5", at)
		if n%2 == 1 && n%5 != 0 {
			c = settle(id, fmt.Sprintf("1.%d", n%9), at)
		}
		log = append(log, o.Handle(c)...)
	}
	want, _ := o.Snapshot("b")
	for _, cut := range []int{0, 1, len(log) / 3, len(log) - 1} {
		again := owner(t, Hard, "10")
		if err := again.Restore(log[:cut]); err != nil {
			t.Fatal(err)
		}
		// Over JSON, as a compacted topic would keep it.
		s, _ := again.Snapshot("b")
		text, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		var kept State
		if err := json.Unmarshal(text, &kept); err != nil {
			t.Fatal(err)
		}
		next := owner(t, Hard, "10")
		next.Load("b", kept)
		if err := next.Restore(log); err != nil { // what is in the snapshot is skipped
			t.Fatal(err)
		}
		got, _ := next.Snapshot("b")
		if diff := cmp.Diff(want, got, cmpopts.IgnoreUnexported(State{}), cmp.Comparer(decimal.Decimal.Equal), cmp.Comparer(time.Time.Equal)); diff != "" {
			t.Errorf("cut at %d: %s", cut, diff)
		}
	}
	gap := slices.Delete(slices.Clone(log), 3, 4)
	if err := owner(t, Hard, "10").Restore(gap); err == nil {
		t.Error("a gap in the changelog was not noticed")
	}
}

func TestCallsThatAreLongDoneAreForgotten(t *testing.T) {
	t.Parallel()
	o := owner(t, Hard, "1000000")
	for n := range 5000 {
		id, at := fmt.Sprint(n), noon.Add(time.Duration(n)*10*time.Second)
		handle(o, reserve(id, "1", at), settle(id, "1", at))
	}
	if s, _ := o.Snapshot("b"); len(s.Done) < 90 || len(s.Done) > 98 || len(s.Open) > 0 {
		t.Errorf("%d calls are remembered; want those of a quarter of an hour, and of a minute more at most", len(s.Done))
	}
}

func TestConfigSaysWhatToWrite(t *testing.T) {
	t.Parallel()
	bad := Config{ID: "a b", Limit: dec("0"), Currency: "Dollar", Window: "year", Mode: "loud", Zone: "Mars/Olympus", Warn: []int{90, 80}, Wait: -1, Outage: "shrug"}
	err := bad.Validate()
	if err == nil || strings.Count(err.Error(), "\n") != 8 {
		t.Errorf("got %v", err)
	}
	good := Config{ID: "a", Limit: dec("5"), Currency: "USD", Window: Month, Tenant: "acme", Labels: Labels{"team": "red"}}
	if err := good.Validate(); err != nil || good.Mode != Hard {
		t.Errorf("got %v, %+v", err, good)
	}
	if good.Covers("acme", nil) || good.Covers("other", map[string]string{"team": "red"}) || !good.Covers("acme", map[string]string{"team": "red", "x": "y"}) {
		t.Error("covers the wrong requests")
	}
}
