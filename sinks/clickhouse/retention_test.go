package clickhouse

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestOldRowsGoAndMoneyStays(t *testing.T) {
	h := migrated(t)
	ctx := t.Context()
	insert := func(table string) {
		t.Helper()
		for _, age := range []string{"100 DAY", "1 DAY"} {
			if err := h.direct.Exec(ctx, "INSERT INTO "+table+" (event_time) SELECT now() - INTERVAL "+age); err != nil {
				t.Fatal(err)
			}
		}
	}
	rows := func(table string) uint64 {
		t.Helper()
		if err := h.direct.Exec(ctx, "OPTIMIZE TABLE "+table+" FINAL"); err != nil {
			t.Fatal(err)
		}
		return h.number(t, "SELECT count() FROM "+table)
	}
	age := func(a Ages, want ...string) {
		t.Helper()
		changed, err := Age(ctx, h.direct, a)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, changed); diff != "" {
			t.Errorf("%+v changed other tables: %s", a, diff)
		}
	}
	insert("attempts")
	insert("costs")
	age(Ages{})
	if n := rows("attempts"); n != 2 {
		t.Fatalf("%d attempts, want 2", n)
	}
	keep := Ages{Delete: map[string]time.Duration{"attempts": 90 * 24 * time.Hour, "metrics": 0}}
	age(keep, "attempts")
	age(keep) // a second recorder, or the next start
	if n := rows("attempts"); n != 1 {
		t.Errorf("%d attempts are left, want the young one", n)
	}
	if n := rows("costs"); n != 2 {
		t.Errorf("%d costs are left, want both", n)
	}
	age(Ages{Delete: map[string]time.Duration{"attempts": 30 * 24 * time.Hour}}, "attempts")
	age(Ages{Delete: map[string]time.Duration{"attempts": 0}}, "attempts")
	insert("attempts")
	if n := rows("attempts"); n != 3 {
		t.Errorf("%d attempts, want 3: they are kept for ever again", n)
	}
	age(Ages{Policy: "default"}) // which they have
	if _, err := Age(ctx, h.direct, Ages{Move: 48 * time.Hour, Volume: "cold"}); err == nil {
		t.Error("rows can be moved to a volume that is not there")
	}
}

func TestAgesThatCannotWorkAreRefused(t *testing.T) {
	t.Parallel()
	day := 24 * time.Hour
	for says, a := range map[string]Ages{
		`"costs" don't age`:              {Delete: map[string]time.Duration{"costs": 90 * day}},
		`shorter than a day; write 24h`:  {Delete: map[string]time.Duration{"attempts": time.Hour}},
		`before they are moved`:          {Delete: map[string]time.Duration{"attempts": 2 * day}, Move: 3 * day, Volume: "cold"},
		`move_after: 1h0m0s`:             {Move: time.Hour, Volume: "cold"},
		`go together`:                    {Move: 2 * day},
		`no name of a policy`:            {Policy: "a'; DROP"},
		`move_to: "x y" is no name of a`: {Move: 2 * day, Volume: "x y"},
	} {
		if err := a.Validate(); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%+v: %v, want %q", a, err, says)
		}
	}
}
