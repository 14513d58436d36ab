package embedded

import (
	"errors"
	"math"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestAFullDiskRefusesInsertsAndABrokenMergeIsTakenBack(t *testing.T) {
	e := sharedEngine(t)
	t.Cleanup(func() { sharedRoom.Store(math.MaxInt64) })
	db := database(t, e)
	ask := func(sql string) string {
		t.Helper()
		return strings.TrimSpace(mustRun(t, e, Statement{SQL: []byte(strings.ReplaceAll(sql, "d.", db+".")), Format: "TabSeparated"}))
	}
	s := &Server{engine: e, cfg: ServerConfig{}.withDefaults()}
	insert := func() error {
		r := httptest.NewRequest(http.MethodPost, "/", strings.NewReader("INSERT INTO "+db+".t FORMAT TabSeparated\n7\tseven\n"))
		return s.answer(httptest.NewRecorder(), r)
	}
	full := func(want bool) {
		t.Helper()
		for limit := time.Now().Add(20 * time.Second); (e.Ready() != nil) != want; time.Sleep(5 * time.Millisecond) {
			if time.Now().After(limit) {
				t.Fatalf("Ready is %v", e.Ready())
			}
		}
	}
	for _, sql := range []string{
		"CREATE TABLE d.t (a UInt64, s String) ENGINE = MergeTree ORDER BY a",
		"CREATE TABLE d.sums (n UInt64) ENGINE = SummingMergeTree ORDER BY tuple()",
		"CREATE MATERIALIZED VIEW d.mv TO d.sums AS SELECT count() AS n FROM d.t",
		"INSERT INTO d.t SELECT number, 'x' FROM numbers(1000)",
		"INSERT INTO d.t SELECT number, 'y' FROM numbers(2000)",
		"OPTIMIZE TABLE d.t FINAL",
	} {
		ask(sql)
	}
	part := ask("SELECT path FROM system.parts WHERE active AND table = 't' AND database || '.' = 'd.'")
	marks, err := filepath.Glob(filepath.Join(part, "data.cmrk*"))
	if err != nil || len(marks) != 1 {
		t.Fatalf("marks of the merged part: %v, %v", marks, err)
	}
	if err := os.Truncate(marks[0], 0); err != nil {
		t.Fatal(err)
	}

	sharedRoom.Store(diskReserve - 1)
	full(true)
	var refused *Exception
	if err := insert(); !errors.As(err, &refused) || refused.Code != codeNotEnoughSpace {
		t.Errorf("insert into a full disk: %v, want code %d", err, codeNotEnoughSpace)
	}
	sharedRoom.Store(diskReserve + 1) // room, but not enough to begin again
	time.Sleep(3 * diskLook)
	full(true)
	sharedRoom.Store(2 * diskReserve)
	full(false)
	if err := insert(); err != nil {
		t.Error(err)
	}
	if got := ask("SELECT count(), sum(s = 'y'), (SELECT sum(n) FROM d.sums) FROM d.t"); got != "3001\t2000\t3001" {
		t.Errorf("rows, rows of the second insert, rows that the view saw: %s, want 3001 2000 3001", got)
	}
	ask("OPTIMIZE TABLE d.t FINAL") // merges go on
	if got := ask("SELECT value FROM system.merge_tree_settings WHERE name = 'old_parts_lifetime'"); got != "480" {
		t.Errorf("what was merged is kept for %s s, want 480", got)
	}
}
