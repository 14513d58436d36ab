package embedded

import (
	"context"
	"errors"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestStatementsDoNotLeakIntoEachOther(t *testing.T) {
	t.Parallel()
	e := sharedEngine(t)
	db := database(t, e)
	before := mustRun(t, e, Statement{SQL: []byte("SELECT currentDatabase(), getSetting('max_block_size')")})
	got := mustRun(t, e, Statement{
		SQL:      []byte("SELECT currentDatabase(), getSetting('max_block_size'), {who:String}"),
		Database: db,
		Settings: map[string]string{"max_block_size": "1234"},
		Params:   map[string]string{"who": `it's \\ "me" \n`},
	})
	if want := db + "\t1234\t" + `it\'s \\ "me" \n` + "\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	mustRun(t, e, Statement{SQL: []byte("SET max_block_size = 4321")})
	mustRun(t, e, Statement{SQL: []byte("USE system")})
	after := mustRun(t, e, Statement{SQL: []byte("SELECT currentDatabase(), getSetting('max_block_size')")})
	if before != after {
		t.Errorf("was %q, is %q", before, after)
	}
}

func TestReadOnlyStatementsCannotWrite(t *testing.T) {
	t.Parallel()
	e := sharedEngine(t)
	db := database(t, e)
	for _, settings := range []map[string]string{nil, {"readonly": "0"}, {"readonly": "1"}} {
		_, err := e.Run(t.Context(), Statement{
			SQL: []byte("CREATE TABLE x (a UInt8) ENGINE = Memory"), Database: db, ReadOnly: true, Settings: settings,
		})
		var exception *Exception
		if !errors.As(err, &exception) || exception.Code != codeReadonly || exception.Name != "READONLY" {
			t.Errorf("settings %v: got %v, want code %d", settings, err, codeReadonly)
		}
	}
}

func TestSettingsCannotCarrySQL(t *testing.T) {
	t.Parallel()
	e := sharedEngine(t)
	for _, s := range []Statement{
		{SQL: []byte("SELECT 1"), Settings: map[string]string{"max_threads = 1; DROP TABLE x; SET max_threads": "1"}},
		{SQL: []byte("SELECT 1"), Settings: map[string]string{"max_threads": `1'; DROP DATABASE default; --`}},
		{SQL: []byte("SELECT 1"), Settings: map[string]string{"max_threads": `\'; DROP DATABASE default; --`}},
		{SQL: []byte("SELECT 1"), Database: "`; DROP DATABASE default; --"},
	} {
		var exception *Exception
		if _, err := e.Run(t.Context(), s); !errors.As(err, &exception) {
			t.Errorf("%+v: got %v", s, err)
		}
	}
	mustRun(t, e, Statement{SQL: []byte("USE default")})
}

func TestEndOfContextCancelsStatement(t *testing.T) {
	t.Parallel()
	e := sharedEngine(t)
	db := database(t, e)
	mustRun(t, e, Statement{SQL: []byte("CREATE TABLE sink (n UInt64) ENGINE = Null"), Database: db})
	for _, sql := range []string{
		"SELECT max(sipHash64(number)) FROM numbers(100000000000)",
		"INSERT INTO sink SELECT sipHash64(number) FROM numbers(100000000000)",
	} {
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		begin := time.Now()
		_, err := e.Run(ctx, Statement{SQL: []byte(sql), Database: db})
		cancel()
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%s: got %v", sql, err)
		}
		if took := time.Since(begin); took > 10*time.Second {
			t.Errorf("%s: cancelled after %v", sql, took)
		}
	}
}

// On a new folder chDB does not start what removes dropped tables. DROP ... SYNC then never came back, and could not be
// cancelled either.
func TestDropSyncEndsInNewFolder(t *testing.T) {
	t.Parallel()
	e := sharedEngine(t)
	db := database(t, e)
	for _, sql := range []string{
		"CREATE TABLE t (n UInt64) ENGINE = MergeTree ORDER BY n", "INSERT INTO t SELECT 1", "DROP TABLE t SYNC",
		"CREATE TABLE t (n UInt64) ENGINE = MergeTree ORDER BY n", "DROP DATABASE " + db + " SYNC",
	} {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		if _, err := e.Run(ctx, Statement{SQL: []byte(sql), Database: db}); err != nil {
			t.Errorf("%s: %v", sql, err)
		}
		cancel()
	}
}

func TestStatementsRunConcurrently(t *testing.T) {
	t.Parallel()
	e := sharedEngine(t)
	db := database(t, e)
	mustRun(t, e, Statement{SQL: []byte("CREATE TABLE t (n UInt64) ENGINE = MergeTree ORDER BY n"), Database: db})
	var writers sync.WaitGroup
	for i := range 8 {
		writers.Go(func() {
			for range 5 {
				_, err := e.Run(t.Context(), Statement{
					SQL:      []byte("INSERT INTO t SELECT number + getSetting('max_block_size') FROM numbers(100)"),
					Database: db,
					Settings: map[string]string{"max_block_size": "65409", "insert_deduplicate": "0"},
				})
				if err != nil {
					t.Errorf("writer %d: %v", i, err)
				}
			}
		})
	}
	writers.Wait()
	if got := mustRun(t, e, Statement{SQL: []byte("SELECT count() FROM t"), Database: db}); got != "4000\n" {
		t.Errorf("got %q rows", got)
	}
}

func TestConfigXMLOfTheWorkingFolderIsIgnored(t *testing.T) {
	needLibrary(t)
	dir := t.TempDir()
	t.Chdir(t.TempDir())
	if err := os.WriteFile("config.xml", []byte("<clickhouse><broken"), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd, out, release := child(t, "hold", dir)
	if !out.Scan() || out.Text() != "open" {
		t.Errorf("the engine said %q", out.Text())
	}
	release()
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
}

func TestFolderOpensAgainAfterCloseWithItsRows(t *testing.T) {
	t.Parallel()
	needLibrary(t)
	cmd, out, _ := child(t, "reopen", t.TempDir())
	out.Scan()
	if got := out.Text(); got != "1" {
		t.Errorf("after reopening the sum is %q, want 1", got)
	}
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
}

func TestSecondOpenerIsRefusedUntilTheFirstIsKilled(t *testing.T) {
	t.Parallel()
	needLibrary(t)
	dir := t.TempDir()
	cmd, out, _ := child(t, "hold", dir)
	if !out.Scan() || out.Text() != "open" {
		t.Fatalf("the first opener said %q", out.Text())
	}
	_, err := Open(t.Context(), Config{Dir: dir})
	var locked *LockedError
	if !errors.As(err, &locked) || locked.PID != cmd.Process.Pid {
		t.Errorf("got %v, want a LockedError with pid %d", err, cmd.Process.Pid)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // it reports the kill
	cmd, out, _ = child(t, "reopen", dir)
	out.Scan()
	if got := out.Text(); got != "3" {
		t.Errorf("after a kill and another start the sum is %q, want 1 + 2", got)
	}
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
}

func TestSecondEngineOfAProcessIsRefused(t *testing.T) {
	t.Parallel()
	needLibrary(t)
	cmd, out, _ := child(t, "second-engine", t.TempDir())
	var lines []string
	for out.Scan() {
		lines = append(lines, out.Text())
	}
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
	if len(lines) != 2 || !strings.Contains(lines[0], "already open in this process") ||
		!strings.Contains(lines[1], "a process can run one engine only") {
		t.Errorf("got %q", lines)
	}
}

func TestMissingLibraryTellsWhatToDo(t *testing.T) {
	t.Setenv("SIRA_LIBCHDB", "")
	t.Setenv("SIRA_CACHE", t.TempDir())
	if _, err := Open(t.Context(), Config{Dir: t.TempDir()}); !errors.Is(err, ErrNoLibrary) {
		t.Errorf("got %v", err)
	}
}

func TestExceptionIsTakenFromTheEnginesText(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		text string
		want *Exception
	}{
		{
			"Code: 60. DB::Exception: Table x does not exist. (UNKNOWN_TABLE)",
			&Exception{60, "UNKNOWN_TABLE", "Table x does not exist"},
		},
		{
			"Code: 164. DB::Exception: Code: 164. DB::Exception: Cannot modify. (READONLY) (version 26.5.1.1). (READONLY)",
			&Exception{164, "READONLY", "Cannot modify"},
		},
		{"Code: 62. DB::Exception: odd (thing)", &Exception{62, "", "odd (thing)"}},
		{"Invalid or closed connection", &Exception{1002, "UNKNOWN_EXCEPTION", "Invalid or closed connection"}},
		{"Code: 99999999999999999999. DB::Exception: x", &Exception{1002, "UNKNOWN_EXCEPTION", "Code: 99999999999999999999. DB::Exception: x"}},
	} {
		if diff := cmp.Diff(test.want, parseException(test.text)); diff != "" {
			t.Errorf("%q (-want +got):\n%s", test.text, diff)
		}
	}
}
