package kafka

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"go.uber.org/zap/zaptest"
)

// embeddedChildDir, when set, makes the test binary a broker in a process of its own, for tests that kill it.
const embeddedChildDir = "SIRA_TEST_EMBEDDED_DIR"

func startEmbedded(t *testing.T, cfg EmbeddedConfig) *Embedded {
	t.Helper()
	cfg.Log = zaptest.NewLogger(t)
	e, err := StartEmbedded(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.Close)
	return e
}

func embeddedClient(t *testing.T, brokers []string, opts ...kgo.Opt) *kgo.Client {
	t.Helper()
	cl, err := Config{Brokers: brokers}.NewClient(zaptest.NewLogger(t), nil, opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cl.Close)
	return cl
}

// TestEmbeddedChild is no test: it is the broker that TestEmbeddedSurvivesKill kills.
func TestEmbeddedChild(t *testing.T) {
	dir := os.Getenv(embeddedChildDir)
	if dir == "" {
		t.Skip("runs only as the child of TestEmbeddedSurvivesKill")
	}
	e, err := StartEmbedded(EmbeddedConfig{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	fmt.Printf("listening on %s\n", e.Addr())
	<-t.Context().Done()
}

// killableBroker runs TestEmbeddedChild in a process of its own and returns its address and a function that kills it.
func killableBroker(t *testing.T, dir string) (addr string, kill func()) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	cmd := exec.CommandContext(ctx, os.Args[0], "-test.run=^TestEmbeddedChild$")
	cmd.Env = append(os.Environ(), embeddedChildDir+"="+dir)
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		cancel()
		t.Fatal(err)
	}
	kill = func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		cancel()
	}
	t.Cleanup(kill)
	for lines := bufio.NewScanner(out); lines.Scan(); {
		if a, ok := strings.CutPrefix(lines.Text(), "listening on "); ok {
			return a, kill
		}
	}
	t.Fatal("the broker process ended before it listened")
	return "", nil
}

func TestEmbeddedSurvivesKill(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	addr, kill := killableBroker(t, dir)
	cl := embeddedClient(t, []string{addr})
	if _, err := EnsureTopics(t.Context(), cl, []TopicSpec{{Name: "kept", Partitions: 3}}); err != nil {
		t.Fatal(err)
	}
	const n = 100
	for i := range n {
		cl.Produce(t.Context(), &kgo.Record{Topic: "kept", Value: fmt.Append(nil, i)}, nil)
	}
	if err := cl.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	var commit kadm.Offsets
	commit.AddOffset("kept", 1, 7, -1)
	if err := kadm.NewClient(cl).CommitAllOffsets(t.Context(), "readers", commit); err != nil {
		t.Fatal(err)
	}
	kill()
	cl.Close()

	e := startEmbedded(t, EmbeddedConfig{Dir: dir})
	cl = embeddedClient(t, e.Brokers())
	infos, err := ListTopics(t.Context(), cl, []string{"kept"})
	if err != nil {
		t.Fatal(err)
	}
	if got := infos[0].Records(); got != n || len(infos[0].Partitions) != 3 {
		t.Errorf("after kill -9: %d records in %d partitions, want %d in 3", got, len(infos[0].Partitions), n)
	}
	offsets, err := kadm.NewClient(cl).FetchOffsets(t.Context(), "readers")
	if err != nil {
		t.Fatal(err)
	}
	if o, ok := offsets.Lookup("kept", 1); !ok || o.At != 7 {
		t.Errorf("after kill -9: committed offset %+v, want 7", o)
	}
}

func TestTwoBrokersCannotShareAFolder(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	first := startEmbedded(t, EmbeddedConfig{Dir: dir})
	_, err := StartEmbedded(EmbeddedConfig{Dir: dir})
	if err == nil || !strings.Contains(err.Error(), fmt.Sprintf("in use by process %d", os.Getpid())) {
		t.Fatalf("got %v, want an error naming the process that holds the folder", err)
	}
	first.Close()
	startEmbedded(t, EmbeddedConfig{Dir: dir}).Close()
}

func TestARefusedStartReleasesTheFolder(t *testing.T) {
	t.Parallel()
	dir, taken := t.TempDir(), startEmbedded(t, EmbeddedConfig{})
	if _, err := StartEmbedded(EmbeddedConfig{Dir: dir, Addr: taken.Addr()}); err == nil {
		t.Fatal("two brokers on one address")
	}
	startEmbedded(t, EmbeddedConfig{Dir: dir})
}

func TestEmbeddedTakesTheAddressItIsGiven(t *testing.T) {
	t.Parallel()
	first := startEmbedded(t, EmbeddedConfig{Addr: "127.0.0.1:0"})
	addr := first.Addr()
	first.Close()
	if got := startEmbedded(t, EmbeddedConfig{Addr: addr}).Addr(); got != addr {
		t.Errorf("listening on %s, want %s", got, addr)
	}
}

func TestEmbeddedRefusesOtherMachines(t *testing.T) {
	t.Parallel()
	for _, addr := range []string{"0.0.0.0:9092", ":9092", "10.0.0.1:9092", "kafka.example:9092", "127.0.0.1", "127.0.0.1:http"} {
		if _, err := StartEmbedded(EmbeddedConfig{Addr: addr}); err == nil || !strings.Contains(err.Error(), "write") {
			t.Errorf("%s: got %v, want a refusal that says what to write", addr, err)
		}
	}
	for _, addr := range []string{"", "localhost:0", "[::1]:9092", "127.0.0.2:9092"} {
		if err := (EmbeddedConfig{Addr: addr}).Validate(); err != nil {
			t.Errorf("%s: %v", addr, err)
		}
	}
}

// An auto-created topic would be gone after a kill -9.
func TestEmbeddedNeverCreatesTopicsOnItsOwn(t *testing.T) {
	t.Parallel()
	e := startEmbedded(t, EmbeddedConfig{})
	cl := embeddedClient(t, e.Brokers(), kgo.AllowAutoTopicCreation(), kgo.UnknownTopicRetries(1))
	if err := cl.ProduceSync(t.Context(), &kgo.Record{Topic: "stray"}).FirstErr(); err == nil {
		t.Error("producing to an unknown topic succeeded")
	}
}
