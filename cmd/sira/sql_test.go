package main

import (
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/sira-ai/sira/cmd/app"
	"github.com/sira-ai/sira/pipeline/tracing/tracingtest"
	"github.com/sira-ai/sira/sinks/clickhouse/embedded"
)

// The engine lives once in a process, so this is the only test that starts it.
func TestRecordedRequestsAreFoundBySQLAndAuditVerify(t *testing.T) {
	if _, err := embedded.Find(); errors.Is(err, embedded.ErrNoLibrary) && os.Getenv("CI") == "" {
		t.Skip(err)
	} else if err != nil {
		t.Fatal(err)
	}
	collector := tracingtest.Start(t)
	file := gatewayOf(t, traced(collector), app.RoleClickHouse, app.RoleRecorder)
	withTracing(t, file, collector)
	if code, _, errs := sira(t, "enqueue", "--id", "r1", "--wait", "--config", file, "hi"); code != exitOK {
		t.Fatalf("enqueue: exit code %d\n%s", code, errs)
	}
	var out, errs string
	for end := time.Now().Add(30 * time.Second); !strings.Contains(out, `"n":1`); {
		if time.Now().After(end) {
			t.Fatalf("the request is not in the tables: %s%s", out, errs)
		}
		_, out, errs = sira(t, "sql", "--json", "--config", file, "SELECT least((SELECT count() FROM requests), (SELECT count() FROM audit)) AS n")
	}
	oneTrace(t, file, collector)
	if code, out, errs := sira(t, "audit", "verify", "--config", file); code != exitOK || !strings.Contains(out, "1 records in 1 chains") {
		t.Errorf("audit verify: exit code %d\n%s%s", code, out, errs)
	}
	code, out, errs := sira(t, "route", "explain", "r1", "--config", file)
	for _, says := range []string{"request  r1 of ", "route    default", "call 1   first", " ok, ", "\n   1  "} {
		if code != exitOK || !strings.Contains(out, says) {
			t.Errorf("route explain of an id: exit code %d, no %q in\n%s%s", code, says, out, errs)
		}
	}
	if code, _, errs := sira(t, "route", "explain", "r2", "--config", file); code != exitFailure || !strings.Contains(errs, "neither a file nor an answered request") {
		t.Errorf("route explain of nothing: exit code %d, %s", code, errs)
	}
	if code, _, errs := sira(t, "sql", "--config", file, "SELECT nonsense"); code != exitFailure || !strings.Contains(errs, "nonsense") {
		t.Errorf("a bad query: exit code %d, %s", code, errs)
	}
}

func TestTableShowsEveryKindOfCell(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	var none *string
	text := "x"
	err := printTable(&b, []string{"time", "number", "text", "none", "some"}, [][]any{
		{time.Date(2026, 1, 2, 3, 4, 5, 6e6, time.UTC), 1.5, []byte("bytes"), none, &text},
		{time.Time{}, 2.0, "", none, &text},
	})
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimRight(b.String(), "\n"), "\n")
	if len(lines) != 4 || strings.Join(strings.Fields(lines[2]), " ") != "2026-01-02 03:04:05.006 1.50 bytes NULL x" {
		t.Errorf("table:\n%s", b.String())
	}
}
