package embedded

import (
	"os"
	"os/signal"
	"syscall"
	"testing"
	"time"
)

// libchdb takes SIGSEGV and others away from Go when it starts, and would again at every connection. A nil dereference then
// killed the process instead of becoming a panic.
func TestGoKeepsItsSignals(t *testing.T) {
	e := sharedEngine(t)
	mustRun(t, e, Statement{SQL: []byte("SELECT 1")})
	for _, sig := range []syscall.Signal{syscall.SIGSEGV, syscall.SIGBUS, syscall.SIGFPE, syscall.SIGABRT, syscall.SIGTRAP} {
		if actions := saveSignals(); actions[sig][0] == 0 {
			t.Errorf("%v has the default action", sig)
		}
	}
	func() {
		defer func() {
			if recover() == nil {
				t.Error("a nil dereference did not panic")
			}
		}()
		var nothing *Engine
		_ = nothing.dir
	}()
	terms := make(chan os.Signal, 1)
	signal.Notify(terms, syscall.SIGTERM)
	defer signal.Stop(terms)
	if err := syscall.Kill(os.Getpid(), syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	select {
	case <-terms:
	case <-time.After(5 * time.Second):
		t.Error("SIGTERM did not reach Go")
	}
}
