package kafka

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// crashed returns a copy of a running broker's folder, which is what kill -9
// leaves: all that was written is there and nothing was tidied up.
func crashed(t *testing.T, dir string) string {
	t.Helper()
	to := t.TempDir()
	if err := os.CopyFS(to, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	return to
}

// transaction is a producer's open transaction, driven request by request so that
// a test can stop it anywhere.
type transaction struct {
	cl *kgo.Client
}

func begin(t *testing.T, e *Embedded, id string) *transaction {
	t.Helper()
	cl, err := kgo.NewClient(kgo.SeedBrokers(e.Brokers()...), kgo.TransactionalID(id), kgo.TransactionTimeout(time.Minute),
		kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.DefaultProduceTopic("out"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cl.Close)
	if err := cl.BeginTransaction(); err != nil {
		t.Fatal(err)
	}
	return &transaction{cl}
}

func (x *transaction) write(t *testing.T, value string, partitions ...int32) *transaction {
	t.Helper()
	for _, p := range partitions {
		if err := x.cl.ProduceSync(t.Context(), &kgo.Record{Partition: p, Value: []byte(value)}).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	return x
}

// offset adds to the transaction that the group has read to here.
func (x *transaction) offset(t *testing.T, id string, at int64) *transaction {
	t.Helper()
	pid, epoch, err := x.cl.ProducerID(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	req := kmsg.NewPtrTxnOffsetCommitRequest()
	req.TransactionalID, req.Group, req.ProducerID, req.ProducerEpoch, req.Generation = id, "readers", pid, epoch, -1
	rt := kmsg.NewTxnOffsetCommitRequestTopic()
	topics, err := kadm.NewClient(x.cl).ListTopics(t.Context(), "out")
	if err != nil {
		t.Fatal(err)
	}
	rt.Topic, rt.TopicID = "out", [16]byte(topics["out"].ID)
	rp := kmsg.NewTxnOffsetCommitRequestTopicPartition()
	rp.Offset = at
	rt.Partitions = append(rt.Partitions, rp)
	req.Topics = append(req.Topics, rt)
	resp, err := req.RequestWith(t.Context(), x.cl)
	if err != nil {
		t.Fatal(err)
	}
	if err := kerr.ErrorForCode(resp.Topics[0].Partitions[0].ErrorCode); err != nil {
		t.Fatal(err)
	}
	return x
}

func (x *transaction) end(t *testing.T, commit kgo.TransactionEndTry) {
	t.Helper()
	if err := x.cl.EndTransaction(t.Context(), commit); err != nil {
		t.Fatal(err)
	}
}

// committedIn returns what a reader of committed records sees, and the group's
// offset, -1 if there is none.
func committedIn(t *testing.T, e *Embedded) (values []string, offset int64) {
	t.Helper()
	cl, err := kgo.NewClient(kgo.SeedBrokers(e.Brokers()...), kgo.ConsumeTopics("out"), kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.FetchMaxWait(50*time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	ends, err := kadm.NewClient(cl).ListCommittedOffsets(t.Context(), "out")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 600*time.Millisecond)
	defer cancel()
	for ctx.Err() == nil {
		cl.PollFetches(ctx).EachRecord(func(r *kgo.Record) { values = append(values, string(r.Value)) })
	}
	if ends.Error() != nil {
		t.Fatal(ends.Error())
	}
	slices.Sort(values)
	offsets, err := kadm.NewClient(cl).FetchOffsets(t.Context(), "readers")
	if err != nil && !errors.Is(err, kerr.GroupIDNotFound) {
		t.Fatal(err)
	}
	if o, ok := offsets.Lookup("out", 0); ok {
		return values, o.At
	}
	return values, -1
}

func startWithTopic(t *testing.T, dir string) *Embedded {
	t.Helper()
	e := startEmbedded(t, EmbeddedConfig{Dir: dir})
	if _, err := EnsureTopics(t.Context(), embeddedClient(t, e.Brokers()), []TopicSpec{{Name: "out", Partitions: 3}}); err != nil {
		t.Fatal(err)
	}
	return e
}

// A broker that died took open transactions for aborted but wrote no markers. The
// same producer's next commit then covered the old records too: at the second
// start they were there, and every request in flight at the first kill had two
// results.
func TestWhatAKillAbortedStaysAbortedAfterTheNext(t *testing.T) {
	t.Parallel()
	first := t.TempDir()
	e := startWithTopic(t, first)
	begin(t, e, "tx").write(t, "aborted", 0, 1)
	second := crashed(t, first)

	e = startWithTopic(t, second)
	begin(t, e, "tx").write(t, "kept", 0, 1, 2).offset(t, "tx", 7).end(t, kgo.TryCommit)
	third := crashed(t, second)

	e = startWithTopic(t, third)
	values, offset := committedIn(t, e)
	if diff := cmp.Diff([]string{"kept", "kept", "kept"}, values); diff != "" || offset != 7 {
		t.Errorf("offset %d, want 7; records (-want +got):\n%s", offset, diff)
	}
}

// The broker ends a transaction file by file. Whichever of these writes was the
// last before a kill, all of the transaction is there or nothing.
func TestATransactionCutOffByAKillIsWholeOrNotThere(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	e := startWithTopic(t, dir)
	begin(t, e, "tx").write(t, "before", 0, 1).offset(t, "tx", 3).end(t, kgo.TryCommit)
	x := begin(t, e, "tx").write(t, "result", 0, 1, 2).offset(t, "tx", 9)
	open := crashed(t, dir)
	x.end(t, kgo.TryCommit)
	ended := crashed(t, dir)

	written := []string{"partitions/out-0", "partitions/out-1", "partitions/out-2", "groups.log", "pids.log"}
	for n := range len(written) + 1 {
		t.Run("writes: "+strings.Join(written[:n], " "), func(t *testing.T) {
			t.Parallel()
			cut := crashed(t, open)
			for _, name := range append(written[:n:n], embeddedIntentFile) {
				replace(t, filepath.Join(ended, name), filepath.Join(cut, name))
			}
			want, wantOffset := []string{"before", "before"}, int64(3)
			if n == len(written) {
				want, wantOffset = append(want, "result", "result", "result"), 9
			}
			for range 2 { // the second start finds what the first made of it
				e := startEmbedded(t, EmbeddedConfig{Dir: cut})
				values, offset := committedIn(t, e)
				if diff := cmp.Diff(want, values); diff != "" || offset != wantOffset {
					t.Errorf("offset %d, want %d; records (-want +got):\n%s", offset, wantOffset, diff)
				}
				cut = crashed(t, cut)
			}
		})
	}
}

func replace(t *testing.T, from, to string) {
	t.Helper()
	if err := os.RemoveAll(to); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(from)
	if err != nil {
		t.Fatal(err)
	}
	if info.IsDir() {
		err = os.CopyFS(to, os.DirFS(from))
	} else {
		var b []byte
		if b, err = os.ReadFile(from); err == nil {
			err = os.WriteFile(to, b, 0o600)
		}
	}
	if err != nil {
		t.Fatal(err)
	}
}

// A producer whose transaction a kill cut off cannot end it as if nothing had
// happened: the part from before the kill is gone.
func TestATransactionFromBeforeAKillCannotGoOn(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	addr, kill := killableBroker(t, dir)
	e := &Embedded{addr: addr}
	if _, err := EnsureTopics(t.Context(), embeddedClient(t, e.Brokers()), []TopicSpec{{Name: "out", Partitions: 3}}); err != nil {
		t.Fatal(err)
	}
	begin(t, e, "tx").write(t, "before", 0).end(t, kgo.TryCommit)
	x := begin(t, e, "tx").write(t, "half", 0).offset(t, "tx", 9)
	pid, epoch, err := x.cl.ProducerID(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	kill()
	e = startEmbedded(t, EmbeddedConfig{Dir: dir})
	req := kmsg.NewPtrEndTxnRequest()
	req.TransactionalID, req.ProducerID, req.ProducerEpoch, req.Commit = "tx", pid, epoch, true
	resp, err := req.RequestWith(t.Context(), embeddedClient(t, e.Brokers()))
	if err != nil {
		t.Fatal(err)
	}
	if resp.ErrorCode == 0 {
		t.Error("the broker says that it committed a transaction that it has lost")
	}
	if values, offset := committedIn(t, e); !cmp.Equal(values, []string{"before"}) || offset != -1 {
		t.Errorf("records %q and offset %d, want only what was committed before", values, offset)
	}
}

// A client that lost the answer to its commit asks again. A kill right after that took the commit for cut off and took it
// back, although readers had seen it.
func TestACommitAskedForTwiceOutlivesAKill(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	e := startWithTopic(t, dir)
	x := begin(t, e, "tx").write(t, "kept", 0, 1, 2).offset(t, "tx", 7)
	pid, epoch, err := x.cl.ProducerID(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	req := kmsg.NewPtrEndTxnRequest()
	req.TransactionalID, req.ProducerID, req.ProducerEpoch, req.Commit = "tx", pid, epoch, true
	for range 2 {
		resp, err := req.RequestWith(t.Context(), x.cl)
		if err == nil {
			err = kerr.ErrorForCode(resp.ErrorCode)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	after := startEmbedded(t, EmbeddedConfig{Dir: crashed(t, dir)})
	values, offset := committedIn(t, after)
	if diff := cmp.Diff([]string{"kept", "kept", "kept"}, values); diff != "" || offset != 7 {
		t.Errorf("offset %d, want 7; records (-want +got):\n%s", offset, diff)
	}
}

// A worker that started just before the broker was killed was the first to join again, got all partitions, and made 900 calls
// again that the others had finished and could not commit any more.
func TestMembersComeBackTogetherAfterTheirBrokerWasKilled(t *testing.T) {
	dir := t.TempDir()
	e := startEmbedded(t, EmbeddedConfig{Dir: dir})
	admin, err := kgo.NewClient(kgo.SeedBrokers(e.Brokers()...))
	if err != nil {
		t.Fatal(err)
	}
	defer admin.Close()
	if _, err := kadm.NewClient(admin).CreateTopic(t.Context(), 6, 1, nil, "in"); err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	most := map[string]int{} // partitions that a member got at once
	join := func(name string) {
		owned := 0
		change := func(by int) func(context.Context, *kgo.Client, map[string][]int32) {
			return func(_ context.Context, _ *kgo.Client, parts map[string][]int32) {
				mu.Lock()
				defer mu.Unlock()
				owned += by * len(parts["in"])
				most[name] = max(most[name], owned)
			}
		}
		cl, err := kgo.NewClient(kgo.SeedBrokers(e.Brokers()...), kgo.ConsumerGroup("readers"), kgo.ConsumeTopics("in"),
			kgo.HeartbeatInterval(100*time.Millisecond), kgo.SessionTimeout(5*time.Second), kgo.AutoCommitInterval(100*time.Millisecond),
			kgo.OnPartitionsAssigned(change(1)), kgo.OnPartitionsRevoked(change(-1)), kgo.OnPartitionsLost(change(-1)))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(cl.Close)
		go func() {
			for !cl.PollFetches(t.Context()).IsClientClosed() && t.Context().Err() == nil {
			}
		}()
	}
	members := func(n int) {
		t.Helper()
		until(t, fmt.Sprintf("group of %d", n), func() bool {
			g, err := kadm.NewClient(admin).DescribeGroups(t.Context(), "readers")
			return err == nil && g["readers"].State == "Stable" && len(g["readers"].Members) == n
		})
	}
	join("a")
	join("b")
	members(2)
	for p := range int32(6) { // offsets, so that the broker knows that there was a group
		if err := admin.ProduceSync(t.Context(), &kgo.Record{Topic: "in", Partition: p, Value: []byte("x")}).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	until(t, "committed offset", func() bool {
		got, err := kadm.NewClient(admin).FetchOffsets(t.Context(), "readers")
		return err == nil && len(got.Offsets()) > 0
	})
	after := crashed(t, dir)
	addr := e.Addr()
	e.Close()
	e = startEmbedded(t, EmbeddedConfig{Dir: after, Addr: addr})
	mu.Lock()
	clear(most)
	mu.Unlock()
	join("new")
	members(3)
	mu.Lock()
	defer mu.Unlock()
	if most["new"] > 2 {
		t.Errorf("the new member was given %d of 6 partitions while the others were away, want 2 at most", most["new"])
	}
}
