package kafka

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// On a full disk records wait at their producers, again and again, and a transaction ends only when its end can be written.
func TestFullDiskTakesNoRecordsAndEndsNoTransaction(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	e := startWithTopic(t, dir)
	var free atomic.Int64
	e.disk.mu.Lock()
	e.disk.room = func(string) (int64, error) { return free.Load(), nil }
	e.disk.mu.Unlock()
	left := func(bytes int64) {
		free.Store(bytes)
		e.disk.mu.Lock()
		e.disk.looked = time.Time{}
		e.disk.mu.Unlock()
	}
	left(diskReserve)
	x := begin(t, e, "tx").write(t, "kept", 0).offset(t, "tx", 7)
	left(diskReserve - 1)
	if err := e.Ready(); err == nil || !strings.Contains(err.Error(), "make room for 64 MiB") {
		t.Errorf("readiness says %v", err)
	}
	late := make(chan error, 1)
	cl := embeddedClient(t, e.Brokers(), kgo.RecordPartitioner(kgo.ManualPartitioner()))
	cl.Produce(t.Context(), &kgo.Record{Topic: "out", Partition: 1, Value: []byte("late")}, func(_ *kgo.Record, err error) { late <- err })
	for range 3 { // refusing once must not be the end of looking
		raw := embeddedClient(t, e.Brokers(), kgo.RecordRetries(0), kgo.RecordPartitioner(kgo.ManualPartitioner()))
		if err := raw.ProduceSync(t.Context(), &kgo.Record{Topic: "out", Partition: 2, Value: []byte("refused")}).FirstErr(); !errors.Is(err, kerr.KafkaStorageError) {
			t.Fatalf("a record on a full disk: %v", err)
		}
	}
	left(diskLast - 1)
	pid, epoch, err := x.cl.ProducerID(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	end := kmsg.NewPtrEndTxnRequest()
	end.TransactionalID, end.ProducerID, end.ProducerEpoch, end.Commit = "tx", pid, epoch, true
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if resp, err := end.RequestWith(ctx, x.cl); err == nil {
		t.Errorf("the end of a transaction that can't be written was answered with code %d", resp.ErrorCode)
	}
	left(diskReserve)
	if err := e.Ready(); err != nil {
		t.Errorf("not ready with room again: %v", err)
	}
	x.end(t, kgo.TryCommit)
	if err := <-late; err != nil {
		t.Errorf("the record that waited: %v", err)
	}
	values, offset := committedIn(t, startEmbedded(t, EmbeddedConfig{Dir: crashed(t, dir)}))
	if diff := cmp.Diff([]string{"kept", "late"}, values); diff != "" || offset != 7 {
		t.Errorf("offset %d, want 7; records (-want +got):\n%s", offset, diff)
	}
}
