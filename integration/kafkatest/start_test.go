package kafkatest_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sira-ai/sira/integration/kafkatest"
)

const hostVariable = "KAFKATEST_HOST_PROCESS"

// A test process that dies without cleaning up, as after a panic or a -timeout, must not leave brokers behind: they
// would keep their ports and half a gigabyte each.
func TestBrokerDiesWithTheTestProcess(t *testing.T) {
	if os.Getenv("SIRA_INTEGRATION") == "" {
		t.Skip("starts real brokers: run `make integration`")
	}
	if os.Getenv(hostVariable) != "" {
		hostBroker(t)
		return
	}
	if _, err := os.Stat("/proc/self"); err != nil {
		t.Skip("only Linux ends a process with its parent")
	}
	t.Setenv("SIRA_KAFKA", "jars")
	skipWithoutJars(t)

	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	host := exec.CommandContext(ctx, os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v")
	// The host's temporary folder has nobody else to remove it.
	host.Env = append(os.Environ(), hostVariable+"=1", "TMPDIR="+t.TempDir())
	out, err := host.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := host.Start(); err != nil {
		t.Fatal(err)
	}
	broker := announcedBroker(t, bufio.NewScanner(out))
	if err := host.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = host.Wait() // It was killed, and says so.
	waitUntilClosed(t, broker)
}

// hostBroker runs in the process that is killed.
func hostBroker(t *testing.T) {
	cluster := kafkatest.Start(t, kafkatest.Options{})
	fmt.Printf("\nbroker %s\n", cluster.Brokers()[0])
	<-t.Context().Done()
}

func announcedBroker(t *testing.T, lines *bufio.Scanner) string {
	t.Helper()
	var said []string
	for lines.Scan() {
		if address, ok := strings.CutPrefix(lines.Text(), "broker "); ok {
			return address
		}
		said = append(said, lines.Text())
	}
	t.Fatalf("the host process started no broker; it said:\n%s", strings.Join(said, "\n"))
	return ""
}

func waitUntilClosed(t *testing.T, address string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	for {
		conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", address)
		if errors.Is(err, syscall.ECONNREFUSED) {
			return
		}
		if err == nil {
			_ = conn.Close()
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			t.Fatalf("the broker at %s still listens 10s after its test process was killed", address)
		}
	}
}

// skipWithoutJars ends the test as Start would, without starting anything.
func skipWithoutJars(t *testing.T) {
	t.Helper()
	if _, _, err := kafkatest.FindJars(); err != nil {
		kafkatest.Start(t, kafkatest.Options{})
	}
}

func TestMissingJarsSkipTheTest(t *testing.T) {
	for _, tt := range []struct {
		name, ci string
		want     outcome
	}{
		{"on a developer's machine they skip it", "", outcome{skipped: true}},
		{"in CI they fail it", "true", outcome{failed: true}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Setenv("CI", tt.ci)
			t.Setenv("SIRA_KAFKA", "jars")
			t.Setenv("SIRA_CACHE", t.TempDir())
			got, said := outcomeOfStart(t)
			if got != tt.want {
				t.Errorf("Start left the test %+v, want %+v", got, tt.want)
			}
			if !strings.Contains(said, "make kafka") && !strings.Contains(said, "JAVA_HOME") {
				t.Errorf("Start said %q, which does not tell what to run", said)
			}
		})
	}
}

func TestUnknownChoiceFailsTheTest(t *testing.T) {
	t.Setenv("SIRA_KAFKA", "podman")
	if got, said := outcomeOfStart(t); !got.failed || !strings.Contains(said, "jars, docker") {
		t.Errorf("Start left the test %+v and said %q, want a failure that names the choices", got, said)
	}
}

// The containers answer to the same tests: SIRA_KAFKA=docker go test ./integration/kafkatest. This one runs the most
// telling of them wherever a Docker engine is at hand.
func TestContainersBehaveAlike(t *testing.T) {
	if testing.Short() {
		t.Skip("an image of 400 MB may have to be fetched")
	}
	t.Setenv("SIRA_KAFKA", "docker")
	killedBrokerKeepsRecords(t, kafkatest.Start(t, kafkatest.Options{}))
}

type outcome struct{ skipped, failed bool }

// recorder is a testing.TB that remembers how the code under test ended it.
type recorder struct {
	testing.TB
	outcome
	said string
}

type ended struct{}

func (r *recorder) Skipf(format string, args ...any) {
	r.skipped, r.said = true, fmt.Sprintf(format, args...)
	panic(ended{})
}

func (r *recorder) Fatalf(format string, args ...any) {
	r.failed, r.said = true, fmt.Sprintf(format, args...)
	panic(ended{})
}

func outcomeOfStart(t *testing.T) (got outcome, said string) {
	t.Helper()
	r := &recorder{TB: t}
	defer func() {
		if p := recover(); p != nil && p != any(ended{}) {
			panic(p)
		}
		got, said = r.outcome, r.said
	}()
	kafkatest.Start(r, kafkatest.Options{})
	return r.outcome, r.said
}
