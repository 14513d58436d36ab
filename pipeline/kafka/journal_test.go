package kafka

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
	"go.uber.org/zap"

	"github.com/sira-ai/sira/pipeline"
)

func outcomeOf(n int) (journalKey, []pipeline.Record) {
	return journalKey{"requests", int32(n % 3), int64(n), 1000 + int64(n)}, []pipeline.Record{
		{Topic: "results", Key: []byte(fmt.Sprint("k", n)), Value: []byte("v"), Headers: []pipeline.Header{{Key: "h", Value: []byte{0, byte(n)}}}},
		{Topic: "costs", Value: []byte{}},
	}
}

func TestOutcomesAreFoundAgainByTheNextLife(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	j, err := openJournal(dir, zap.NewNop())
	if err != nil {
		t.Fatal(err)
	}
	file := 0
	for n := range 100 {
		k, out := outcomeOf(n)
		file = j.add(k, out)
	}
	j.committed(file, 40)
	j.flush()
	dead := t.TempDir() // what kill -9 leaves
	if err := os.CopyFS(dead, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	j.committed(file, 60)
	j.close()
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("%d files after a clean stop, %v", len(left), err)
	}

	// The last outcome was cut off.
	name := filepath.Join(dead, fmt.Sprintf("outcomes.%d", file))
	info, err := os.Stat(name)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(name, info.Size()-1); err != nil {
		t.Fatal(err)
	}
	j, err = openJournal(dead, zap.NewNop())
	if err != nil {
		t.Fatal(err)
	}
	defer j.close()
	for n := range 100 {
		k, want := outcomeOf(n)
		got, ok := j.take(k)
		if ok != (n < 99) {
			t.Fatalf("outcome %d found: %v", n, ok)
		}
		if diff := cmp.Diff(want, got); ok && diff != "" {
			t.Errorf("outcome %d (-kept +found):\n%s", n, diff)
		}
		k.timestamp++ // a record of another topic with that name
		if _, ok := j.take(k); ok {
			t.Errorf("outcome %d was given to another record", n)
		}
	}
}

func TestAJournalDoesNotGrowForEver(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	j, err := openJournal(dir, zap.NewNop())
	if err != nil {
		t.Fatal(err)
	}
	big := []pipeline.Record{{Topic: "results", Value: make([]byte, 4<<20)}}
	for n := range 40 {
		k, _ := outcomeOf(n)
		j.committed(j.add(k, big), 1)
		j.flush()
	}
	var size int64
	files, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		info, err := f.Info()
		if err != nil {
			t.Fatal(err)
		}
		size += info.Size()
	}
	if size > 64<<20 {
		t.Errorf("%d bytes in %d files after 160 MiB of outcomes, all committed", size, len(files))
	}
	j.close()
}

func TestOutcomesInAFileThatIsWrittenOverAreFound(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	j, err := openJournal(dir, zap.NewNop())
	if err != nil {
		t.Fatal(err)
	}
	value := make([]byte, 1000)
	written := 0
	for n := 0; written < 5*journalFile; n++ {
		k, _ := outcomeOf(n)
		j.committed(j.add(k, []pipeline.Record{{Topic: "results", Value: value}}), 1)
		if written += 1000; n%100 == 0 {
			j.flush()
		}
	}
	const from = 1_000_000
	for n := from; n < from+50; n++ {
		j.add(outcomeOf(n))
	}
	j.flush()
	dead := t.TempDir()
	if err := os.CopyFS(dead, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	if files, err := os.ReadDir(dead); err != nil || len(files) > 2 {
		t.Errorf("%d files, %v; want the one that is written and the one before", len(files), err)
	}
	j.close()
	if j, err = openJournal(dead, zap.NewNop()); err != nil {
		t.Fatal(err)
	}
	defer j.close()
	for n := from; n < from+50; n++ {
		k, want := outcomeOf(n)
		if got, ok := j.take(k); !ok || cmp.Diff(want, got) != "" {
			t.Fatalf("outcome %d: %v, found %v", n, got, ok)
		}
	}
}

// A worker whose answers could not be committed before it was killed does not ask
// for them again.
func TestAKilledWorkerCommitsWhatItHadFinished(t *testing.T) {
	t.Parallel()
	r := newRig(t, 2)
	r.send(0, 50)
	dir := t.TempDir()
	var up atomic.Bool
	up.Store(true)
	dial := func(ctx context.Context, network, address string) (net.Conn, error) {
		if !up.Load() {
			return nil, net.ErrClosed
		}
		return new(net.Dialer).DialContext(ctx, network, address)
	}
	noCommit := r.broker.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.TxnOffsetCommit}, Err: kerr.CoordinatorLoadInProgress, Count: -1})
	finished := make(chan struct{})
	var calls atomic.Int64
	count := func(context.Context, *pipeline.Job) error {
		if calls.Add(1) == 50 {
			close(finished)
		}
		return nil
	}
	first := r.worker("w", nil, count, func(c *EngineConfig) { c.Journal, c.Client.Dial, c.Drain = dir, dial, time.Second })
	select {
	case <-finished:
	case <-time.After(20 * time.Second):
		t.Fatalf("%d calls of 50", calls.Load())
	}
	dead := filepath.Join(t.TempDir(), "dead")
	for kept := 0; kept < 50; time.Sleep(journalDelay) { // the last ones are on their way to the file
		_ = os.RemoveAll(dead)
		if err := os.CopyFS(dead, os.DirFS(dir)); err != nil {
			t.Fatal(err)
		}
		j := &journal{found: make(map[journalKey][]pipeline.Record), dir: dead}
		if err := j.load(); err != nil {
			t.Fatal(err)
		}
		kept = len(j.found)
	}
	up.Store(false) // from here on nothing of the first life arrives
	noCommit.Remove()
	second := r.worker("w", nil, count, func(c *EngineConfig) { c.Journal = dead })
	r.exactlyOnce(50)
	second()
	if n := calls.Load(); n != 50 {
		t.Errorf("%d calls for 50 requests", n)
	}
	first()
}

func FuzzParseOutcome(f *testing.F) {
	k, out := outcomeOf(7)
	f.Add(appendOutcome(nil, k, out)[8:])
	f.Add([]byte{1, 'a', 0, 0, 0, 0xff})
	f.Fuzz(func(t *testing.T, b []byte) {
		k, outputs, err := parseOutcome(b)
		if err != nil {
			return
		}
		again := appendOutcome(nil, k, outputs)[8:]
		k2, outputs2, err := parseOutcome(again)
		if err != nil || k2 != k || !cmp.Equal(outputs, outputs2) {
			t.Errorf("%v %v became %v %v, %v", k, outputs, k2, outputs2, err)
		}
	})
}
