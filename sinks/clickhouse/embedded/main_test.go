package embedded

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"go.uber.org/zap"
)

// childRole, in the environment, makes the test binary play the process that a test needs besides its own.
const childRole = "SIRA_EMBEDDED_CHILD"

// A process runs one engine on one folder. So the tests share one, each in a database of its own, and what opens and closes
// engines runs in a child process.
var shared = sync.OnceValues(func() (*Engine, error) {
	sharedRoom.Store(math.MaxInt64)
	return Open(context.Background(), Config{Log: zap.Must(zap.NewDevelopment()), room: func(string) (int64, error) { return sharedRoom.Load(), nil }})
})

// sharedRoom is how much room the shared engine believes its disk to have.
var sharedRoom atomic.Int64

func TestMain(m *testing.M) {
	if role := os.Getenv(childRole); role != "" {
		if err := playChild(role, os.Args[len(os.Args)-1]); err != nil {
			fmt.Println("error:", err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	code := m.Run()
	if _, err := Find(); err == nil {
		if e, err := shared(); err == nil {
			if err := e.Close(); err != nil {
				fmt.Println("closing the shared engine:", err)
				code = 1
			}
		}
	}
	os.Exit(code)
}

func needLibrary(tb testing.TB) {
	tb.Helper()
	if _, err := Find(); errors.Is(err, ErrNoLibrary) && os.Getenv("CI") == "" {
		tb.Skip("libchdb.so is not here; run `make chdb`")
	} else if err != nil {
		tb.Fatal(err)
	}
}

func sharedEngine(tb testing.TB) *Engine {
	tb.Helper()
	needLibrary(tb)
	e, err := shared()
	if err != nil {
		tb.Fatal(err)
	}
	return e
}

// database makes one for the test alone.
func database(tb testing.TB, e *Engine) string {
	tb.Helper()
	name := "t_" + strings.ToLower(strings.NewReplacer("/", "_", "#", "_").Replace(tb.Name()))
	mustRun(tb, e, Statement{SQL: []byte("DROP DATABASE IF EXISTS " + name + " SYNC")})
	mustRun(tb, e, Statement{SQL: []byte("CREATE DATABASE " + name)})
	return name
}

func mustRun(tb testing.TB, e *Engine, s Statement) string {
	tb.Helper()
	result, err := e.Run(tb.Context(), s)
	if err != nil {
		tb.Fatalf("%.200s: %v", s.SQL, err)
	}
	return string(result.Data)
}

// child starts this test binary in a role and returns it with its standard output.
func child(t *testing.T, role, dir string) (*exec.Cmd, *bufio.Scanner, func()) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), os.Args[0], dir)
	cmd.Env = append(os.Environ(), childRole+"="+role)
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	release := func() { _ = stdin.Close() }
	t.Cleanup(release)
	return cmd, bufio.NewScanner(stdout), release
}

func playChild(role, dir string) error {
	ctx := context.Background()
	e, err := Open(ctx, Config{Dir: dir})
	if err != nil {
		return err
	}
	for _, sql := range []string{
		"CREATE TABLE IF NOT EXISTS t (n UInt64) ENGINE = MergeTree ORDER BY n",
		"INSERT INTO t SELECT count() + 1 FROM t",
	} {
		if _, err := e.Query(ctx, []byte(sql), ""); err != nil {
			return err
		}
	}
	switch role {
	case "hold":
		fmt.Println("open")
		_, _ = bufio.NewReader(os.Stdin).ReadByte()
	case "second-engine":
		_, same := Open(ctx, Config{Dir: dir})
		fmt.Println(same)
		other, err := os.MkdirTemp("", "other")
		if err != nil {
			return err
		}
		defer func() { _ = os.RemoveAll(other) }()
		_, another := Open(ctx, Config{Dir: other})
		fmt.Println(another)
	case "lost-insert":
		insert := func() error {
			_, err := e.Run(ctx, Statement{SQL: []byte("INSERT INTO d.t VALUES (7)"), Settings: map[string]string{"insert_deduplication_token": "x"}})
			return err
		}
		for _, sql := range []string{
			"CREATE DATABASE d",
			"CREATE TABLE d.t (n UInt64) ENGINE = MergeTree ORDER BY n SETTINGS non_replicated_deduplication_window = 100",
		} {
			if _, err := e.Query(ctx, []byte(sql), ""); err != nil {
				return err
			}
		}
		if err := insert(); err != nil {
			return err
		}
		path, err := e.Query(ctx, []byte("SELECT path FROM system.parts WHERE database = 'd'"), "TSVRaw")
		if err != nil {
			return err
		}
		if err := e.Close(); err != nil {
			return err
		}
		if err := os.RemoveAll(strings.TrimSpace(string(path))); err != nil { // as if it had never got its name
			return err
		}
		if e, err = Open(ctx, Config{Dir: dir}); err != nil {
			return err
		}
		for range 2 { // and then it is a copy
			if err := insert(); err != nil {
				return err
			}
		}
		out, err := e.Query(ctx, []byte("SELECT count() FROM d.t"), "TSV")
		if err != nil {
			return err
		}
		fmt.Print(string(out))
	case "reopen":
		if err := e.Close(); err != nil {
			return err
		}
		if _, err := e.Query(ctx, []byte("SELECT 1"), ""); !errors.Is(err, ErrClosed) {
			return fmt.Errorf("a closed engine answered %w", err)
		}
		temporary, err := Open(ctx, Config{})
		if err != nil {
			return err
		}
		if err := temporary.Close(); err != nil {
			return err
		}
		if _, err := os.Stat(temporary.Dir()); !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("the temporary folder is still there: %w", err)
		}
		if e, err = Open(ctx, Config{Dir: dir}); err != nil {
			return err
		}
		out, err := e.Query(ctx, []byte("SELECT sum(n) FROM t"), "")
		if err != nil {
			return err
		}
		fmt.Print(string(out))
	}
	return e.Close()
}
