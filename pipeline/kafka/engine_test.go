package kafka

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest"

	"github.com/sira-ai/sira/pipeline"
	"github.com/sira-ai/sira/schemas"
)

// rig is an embedded broker with a requests topic, a results topic and a costs
// topic, and what the tests do with them.
type rig struct {
	t      *testing.T
	broker *Embedded
	client *kgo.Client
	calls  atomic.Int64
	engine atomic.Pointer[Engine] // of the last worker
}

func newRig(t *testing.T, partitions int32) *rig {
	t.Helper()
	b, err := StartEmbedded(EmbeddedConfig{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	r := &rig{t: t, broker: b}
	r.client, err = r.config().NewClient(nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.client.Close)
	specs := []TopicSpec{{Name: "requests", Partitions: partitions}, {Name: "results", Partitions: 2}, {Name: "costs", Partitions: 2}, {Name: "retry", Partitions: 1}}
	if _, err := EnsureTopics(t.Context(), r.client, specs); err != nil {
		t.Fatal(err)
	}
	return r
}

func (r *rig) config() Config { return Config{Brokers: r.broker.Brokers()} }

// send produces n requests with the given keys in turn, or a key each.
func (r *rig) send(from, n int, keys ...string) {
	r.t.Helper()
	for i := from; i < from+n; i++ {
		id := fmt.Sprintf("r%06d", i)
		key := id
		if len(keys) > 0 {
			key = keys[i%len(keys)]
		}
		v, err := json.Marshal(schemas.Request{ID: id, Tenant: "t", Model: "m", Messages: []schemas.Message{schemas.TextMessage(schemas.RoleUser, "hi")}})
		if err != nil {
			r.t.Fatal(err)
		}
		r.client.Produce(r.t.Context(), &kgo.Record{Topic: "requests", Key: []byte(key), Value: v}, func(_ *kgo.Record, err error) {
			if err != nil {
				r.t.Error(err)
			}
		})
	}
	if err := r.client.Flush(r.t.Context()); err != nil {
		r.t.Fatal(err)
	}
}

// worker runs an engine whose jobs take as long as work says, until the returned
// function is called, which waits for a clean stop.
func (r *rig) worker(instance string, lanes []LaneConfig, work func(context.Context, *pipeline.Job) error, edit ...func(*EngineConfig)) (stop func()) {
	r.t.Helper()
	log := zap.NewNop()
	if testing.Verbose() {
		log = zaptest.NewLogger(r.t, zaptest.Level(zap.WarnLevel))
	}
	if lanes == nil {
		lanes = []LaneConfig{{Name: "standard", Topics: []string{"requests"}}}
	}
	cfg := EngineConfig{
		Client: r.config(), Instance: instance, Group: "sira", Lanes: lanes, StaticMembership: true, Log: log,
		SessionTimeout: 2 * time.Second, RevokeDrain: 5 * time.Second, Drain: 5 * time.Second, Transaction: 5 * time.Second,
		RetryTopic: func(time.Duration) string { return "retry" },
	}
	for _, f := range edit {
		f(&cfg)
	}
	e, err := NewEngine(cfg)
	if err != nil {
		r.t.Fatal(err)
	}
	r.engine.Store(e)
	chain := &pipeline.Chain{Ask: []pipeline.Step{{Name: "work", Stage: pipeline.StageFunc(func(ctx context.Context, j *pipeline.Job) error {
		if err := work(ctx, j); err != nil {
			return err
		}
		r.calls.Add(1)
		j.Response = &schemas.Response{}
		return nil
	})}}}
	run := &pipeline.Runner{Source: e, Chain: chain, Deliverer: outputs{}, Concurrency: e.cfg.Concurrency, Drain: 5 * time.Second, Log: log}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { _ = e.Run(ctx) })
	wg.Go(func() {
		if err := run.Run(ctx); err != nil {
			r.t.Error(err)
		}
	})
	return sync.OnceFunc(func() { cancel(); wg.Wait() })
}

// outputs writes a result and a cost for every job; a job whose failure is
// rate_limited asks for another round.
type outputs struct{}

func (outputs) Outputs(_ context.Context, j *pipeline.Job) (pipeline.Settlement, error) {
	if j.Failure != nil && j.Failure.Code == schemas.RateLimited && j.Origin.Round < 2 {
		return pipeline.Settlement{Retry: max(50*time.Millisecond, j.Failure.RetryAfter()), RetryHeaders: []pipeline.Header{
			{Key: schemas.HeaderID, Value: []byte(j.Request.ID)}, {Key: schemas.HeaderTenant, Value: []byte(j.Request.Tenant)},
		}}, nil
	}
	key := []byte(j.Request.ID)
	value := []byte(string(j.Outcome()) + " " + j.Origin.First)
	return pipeline.Settlement{Outputs: []pipeline.Record{{Topic: "results", Key: key, Value: value}, {Topic: "costs", Key: key, Value: value}}}, nil
}

// collect reads a topic as a reader of committed records does, until n distinct
// keys came and then a moment longer, so that doubles would be seen.
func (r *rig) collect(topic string, n int) (values map[string][]string, order []string) {
	r.t.Helper()
	cl, err := r.config().NewClient(nil, nil, kgo.ConsumeTopics(topic), kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.ConsumeStartOffset(kgo.NewOffset().AtStart()), kgo.FetchMaxWait(100*time.Millisecond))
	if err != nil {
		r.t.Fatal(err)
	}
	defer cl.Close()
	ctx, cancel := context.WithTimeout(r.t.Context(), 60*time.Second)
	defer cancel()
	values = map[string][]string{}
	for quiet := 0; quiet < 3; {
		poll, done := context.WithTimeout(ctx, 200*time.Millisecond)
		fs := cl.PollFetches(poll)
		done()
		if ctx.Err() != nil {
			r.t.Fatalf("%s: %d of %d keys came in time", topic, len(values), n)
		}
		fs.EachRecord(func(rec *kgo.Record) {
			values[string(rec.Key)] = append(values[string(rec.Key)], string(rec.Value))
			order = append(order, string(rec.Key))
		})
		if len(values) >= n && fs.NumRecords() == 0 {
			quiet++
		}
	}
	return values, order
}

// exactlyOnce fails the test unless every request has one result and one cost.
func (r *rig) exactlyOnce(n int) {
	r.t.Helper()
	for _, topic := range []string{"results", "costs"} {
		values, order := r.collect(topic, n)
		if len(values) != n || len(order) != n {
			r.t.Fatalf("%s: %d records of %d requests, want %d of %d", topic, len(order), len(values), n, n)
		}
	}
}

func jitter(limit time.Duration) func(context.Context, *pipeline.Job) error {
	return func(ctx context.Context, _ *pipeline.Job) error {
		select {
		case <-time.After(rand.N(limit)):
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func TestEveryRequestHasOneResultAndOneCost(t *testing.T) {
	t.Parallel()
	r := newRig(t, 3)
	r.send(0, 3000)
	stop := r.worker("w1", nil, jitter(20*time.Millisecond))
	defer stop()
	r.exactlyOnce(3000)
	if n := r.calls.Load(); n != 3000 {
		t.Errorf("%d calls, want 3000", n)
	}
}

// A partition was paused when its window was full, and looked at again when a
// request finished. Requests leave the window only with their commit, so when the
// last ones finished together the partition was never read again.
func TestPartitionIsReadAgainAfterItsWindowWasFull(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1)
	r.send(0, 2000)
	stop := r.worker("w1", nil, jitter(2*time.Millisecond), func(c *EngineConfig) {
		c.Window, c.Concurrency, c.FlushInterval = 50, 20, 50*time.Millisecond
	})
	defer stop()
	r.exactlyOnce(2000)
}

// A straggler at the head of a partition must hold back neither other calls nor
// their commits.
func TestNoRequestWaitsBehindAnother(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1)
	r.send(0, 500)
	release := make(chan struct{})
	stop := r.worker("w1", nil, func(ctx context.Context, j *pipeline.Job) error {
		if j.Request.ID == "r000000" {
			select {
			case <-release:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		return nil
	})
	defer stop()
	values, _ := r.collect("results", 499)
	if _, early := values["r000000"]; early || len(values) != 499 {
		t.Fatalf("%d results, the straggler's among them: %v", len(values), early)
	}
	close(release)
	r.exactlyOnce(500)
}

// The map in the committed metadata is what keeps finished requests above a
// straggler from being called again by the next owner.
func TestFinishedRequestsAboveAStragglerSurviveACrash(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1)
	r.send(0, 300)
	stuck := func(ctx context.Context, j *pipeline.Job) error {
		if j.Request.ID == "r000000" {
			<-ctx.Done()
			return ctx.Err()
		}
		return nil
	}
	crash := r.worker("w1", nil, stuck, func(c *EngineConfig) { c.Drain = time.Millisecond })
	r.collect("results", 299)
	go crash() // its straggler is cut off, as by a crash
	stop := r.worker("w2", nil, jitter(time.Millisecond))
	defer stop()
	r.exactlyOnce(300)
	if n := r.calls.Load(); n != 300 {
		t.Errorf("%d calls finished, want 300: the second worker repeated what the first had committed", n)
	}
}

func TestWorkersJoiningAndLeavingRepeatNothing(t *testing.T) {
	t.Parallel()
	r := newRig(t, 4)
	r.send(0, 4000)
	stop1 := r.worker("w1", nil, jitter(100*time.Millisecond), func(c *EngineConfig) { c.Concurrency = 100 })
	defer stop1()
	r.collect("results", 200)
	stop2 := r.worker("w2", nil, jitter(100*time.Millisecond), func(c *EngineConfig) { c.Concurrency = 100 })
	defer stop2()
	r.collect("results", 1500)
	stop1()
	r.exactlyOnce(4000)
	if n := r.calls.Load(); n != 4000 {
		t.Errorf("%d calls finished, want 4000", n)
	}
}

// The connection breaks while a transaction is being committed: it may have been
// committed or not. Producing its records again without asking would double them,
// and forgetting what is in flight would call providers again.
func TestUnknownOutcomeOfACommitIsDecidedByTheBroker(t *testing.T) {
	t.Parallel()
	for _, applied := range []bool{false, true} {
		t.Run(fmt.Sprintf("applied=%v", applied), func(t *testing.T) {
			t.Parallel()
			r := newRig(t, 2)
			r.send(0, 2000)
			var ends, cut atomic.Int64
			cluster := r.broker.cluster
			cluster.ControlKey(int16(kmsg.EndTxn), func(req kmsg.Request) (kmsg.Response, error, bool) {
				cluster.KeepControl()
				end := req.(*kmsg.EndTxnRequest)
				if n := ends.Add(1); !end.Commit || (n != 3 && n != 9) {
					return nil, nil, false
				}
				cut.Add(1)
				if applied { // the broker does it, and the answer is lost
					again := *end
					cluster.SleepControl(func() {
						if _, err := again.RequestWith(t.Context(), r.client); err != nil {
							t.Error(err)
						}
					})
				}
				return nil, errors.New("cut off"), true
			})
			stop := r.worker("w1", nil, jitter(200*time.Millisecond))
			defer stop()
			r.exactlyOnce(2000)
			if cut.Load() == 0 {
				t.Fatal("the fault was not met")
			}
			if n := r.calls.Load(); n != 2000 {
				t.Errorf("%d calls finished, want 2000", n)
			}
		})
	}
}

// A broker that was away makes the group forget its members. The partitions come
// back to the same worker a moment later, and what it had in flight was called for
// nothing.
func TestPartitionsThatComeBackKeepWhatIsInFlight(t *testing.T) {
	t.Parallel()
	r := newRig(t, 2)
	r.send(0, 3000)
	var beats, forgotten atomic.Int64
	r.broker.cluster.ControlKey(int16(kmsg.Heartbeat), func(req kmsg.Request) (kmsg.Response, error, bool) {
		r.broker.cluster.KeepControl()
		if n := beats.Add(1); n != 4 && n != 9 {
			return nil, nil, false
		}
		forgotten.Add(1)
		resp := req.ResponseKind().(*kmsg.HeartbeatResponse)
		resp.ErrorCode = kerr.UnknownMemberID.Code
		return resp, nil, true
	})
	stop := r.worker("w1", nil, jitter(400*time.Millisecond), func(c *EngineConfig) { c.Concurrency = 300 })
	defer stop()
	r.exactlyOnce(3000)
	if forgotten.Load() == 0 {
		t.Fatal("the fault was not met")
	}
	if n := r.calls.Load(); n != 3000 {
		t.Errorf("%d calls finished, want 3000", n)
	}
}

func TestOrderedLaneHandlesOneKeyOneAfterAnother(t *testing.T) {
	t.Parallel()
	r := newRig(t, 2)
	r.send(0, 300, "a", "b", "c")
	var mu sync.Mutex
	seen := map[string][]string{}
	lanes := []LaneConfig{{Name: "standard", Topics: []string{"requests"}, Order: OrderKey}}
	stop := r.worker("w1", lanes, func(ctx context.Context, j *pipeline.Job) error {
		if err := jitter(5*time.Millisecond)(ctx, j); err != nil {
			return err
		}
		mu.Lock()
		defer mu.Unlock()
		k := string(j.Origin.Key)
		seen[k] = append(seen[k], j.Request.ID)
		return nil
	})
	defer stop()
	r.exactlyOnce(300)
	mu.Lock()
	defer mu.Unlock()
	for k, ids := range seen {
		for i := 1; i < len(ids); i++ {
			if ids[i] < ids[i-1] {
				t.Fatalf("key %s: %s was handled after %s", k, ids[i], ids[i-1])
			}
		}
	}
}

func TestRetriedRequestGetsItsRoundsAndOneResult(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1)
	r.send(0, 20)
	lanes := []LaneConfig{{Name: "standard", Topics: []string{"requests"}}, {Name: "retry", Topics: []string{"retry"}, Retry: true}}
	var rounds atomic.Int64
	stop := r.worker("w1", lanes, func(_ context.Context, j *pipeline.Job) error {
		rounds.Add(1)
		if j.Origin.Round < 2 {
			return schemas.Fail(schemas.RateLimited, "", nil)
		}
		return nil
	})
	defer stop()
	r.exactlyOnce(20)
	if n := rounds.Load(); n != 60 {
		t.Errorf("%d rounds, want 60", n)
	}
}

func TestRecordThatIsNoRequestIsAnswered(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1)
	for _, v := range []string{"{", `{"id":"x1","tenant":"t"}`, "\x00\x00\x00\x00\x09zzz", ""} {
		if err := r.client.ProduceSync(t.Context(), &kgo.Record{Topic: "requests", Value: []byte(v)}).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	stop := r.worker("w1", nil, jitter(time.Millisecond), func(c *EngineConfig) {
		c.Decode = func(context.Context, []byte, *schemas.Request) error { return errors.New("unknown schema") }
	})
	defer stop()
	values, _ := r.collect("results", 4)
	for _, id := range []string{"requests/0/0", "x1", "requests/0/2", "requests/0/3"} {
		if len(values[id]) != 1 {
			t.Errorf("results of %s: %v, want one", id, values[id])
		}
	}
	if r.calls.Load() != 0 {
		t.Error("a broken record was handed to a provider")
	}
}

// A record that breaks the gateway itself must neither end the process nor be
// tried for ever.
func TestRecordThatBreaksTheGatewayIsAnsweredAsPoison(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1)
	if err := r.client.ProduceSync(t.Context(), &kgo.Record{Topic: "requests", Key: []byte("bad"), Value: []byte{0, 0, 0, 0, 1, 9}}).FirstErr(); err != nil {
		t.Fatal(err)
	}
	r.send(0, 5)
	stop := r.worker("w1", nil, jitter(time.Millisecond), func(c *EngineConfig) {
		c.Decode = func(context.Context, []byte, *schemas.Request) error { panic("a bug") }
	})
	defer stop()
	values, _ := r.collect("results", 6)
	if got := values["bad"]; len(got) != 1 || got[0] != "internal requests/0/0" {
		t.Errorf("results of the record: %q", got)
	}
}

func TestAtLeastOnceLaneLosesNothing(t *testing.T) {
	t.Parallel()
	r := newRig(t, 2)
	r.send(0, 1000)
	lanes := []LaneConfig{{Name: "standard", Topics: []string{"requests"}, Guarantee: AtLeastOnce}}
	stop := r.worker("w1", lanes, jitter(10*time.Millisecond))
	r.collect("results", 500)
	stop()
	stop = r.worker("w1", lanes, jitter(10*time.Millisecond))
	defer stop()
	r.exactlyOnce(1000) // a clean stop repeats nothing
}
