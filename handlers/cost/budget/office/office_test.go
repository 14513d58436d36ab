package office

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

	"github.com/shopspring/decimal"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/sira-ai/sira/handlers/cost/budget"
	"github.com/sira-ai/sira/schemas"
)

func dec(s string) decimal.Decimal { return decimal.RequireFromString(s) }

var topics = Topics{Reserve: "reserve", Settle: "settle", State: "state", Events: "events"}

// town is a broker with the topics of budgets.
type town struct {
	t       *testing.T
	cluster *kfake.Cluster
	budgets []budget.Config
}

func newTown(t *testing.T, budgets ...budget.Config) *town {
	t.Helper()
	c, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.GroupMinSessionTimeout(time.Second), kfake.SeedTopics(2, topics.Reserve, topics.Settle, topics.State, topics.Events))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return &town{t: t, cluster: c, budgets: budgets}
}

func (w *town) client(opts ...kgo.Opt) (*kgo.Client, error) {
	return kgo.NewClient(append(opts, kgo.SeedBrokers(w.cluster.ListenAddrs()...))...)
}

func (w *town) config(instance string) Config {
	return Config{
		Budgets: w.budgets, Topics: topics, Group: "budgets", Instance: instance, SessionTimeout: time.Second, NewClient: w.client,
		Encode: func(e *schemas.BudgetEvent) ([]byte, error) { return json.Marshal(e) },
	}
}

// open runs an office until the returned function is called.
func (w *town) open(cfg Config) (shut func()) {
	w.t.Helper()
	o, err := New(cfg)
	if err != nil {
		w.t.Fatal(err)
	}
	return w.runs(o.Run)
}

func (w *town) desk() *Desk {
	w.t.Helper()
	d, err := NewDesk(DeskConfig{Topics: topics, NewClient: w.client})
	if err != nil {
		w.t.Fatal(err)
	}
	w.runs(d.Run)
	return d
}

func (w *town) runs(run func(context.Context) error) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- run(ctx) }()
	once := sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			w.t.Errorf("running: %v", err)
		}
	})
	w.t.Cleanup(once)
	return once
}

func (w *town) patience() context.Context {
	ctx, cancel := context.WithTimeout(w.t.Context(), 30*time.Second)
	w.t.Cleanup(cancel)
	return ctx
}

// state reads what the topic holds.
func (w *town) state() map[string]Account {
	w.t.Helper()
	accounts, err := Read(w.patience(), w.client, topics.State)
	if err != nil {
		w.t.Fatal(err)
	}
	return accounts
}

func (w *town) until(what string, ok func() bool) {
	w.t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for limit := time.Now().Add(30 * time.Second); !ok(); <-tick.C {
		if time.Now().After(limit) {
			w.t.Fatalf("waited too long: %s", what)
		}
	}
}

// settle publishes what a call cost, as the transaction of its result does.
func (w *town) settle(cl *kgo.Client, id, amount string) {
	w.t.Helper()
	value, err := json.Marshal(budget.Command{Budget: "b", Action: budget.Settle, ID: id, Amount: dec(amount)})
	if err != nil {
		w.t.Fatal(err)
	}
	if err := cl.ProduceSync(w.patience(), &kgo.Record{Topic: topics.Settle, Key: []byte("b"), Value: value}).FirstErr(); err != nil {
		w.t.Error(err)
	}
}

func (w *town) producer() *kgo.Client {
	w.t.Helper()
	cl, err := w.client(kgo.ProducerLinger(0))
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(cl.Close)
	return cl
}

func hard(limit string) budget.Config {
	return budget.Config{ID: "b", Limit: dec(limit), Currency: "USD", Window: budget.Month, First: dec(limit)}
}

func reserve(id, amount string) budget.Command {
	return budget.Command{Budget: "b", Action: budget.Reserve, ID: id, Amount: dec(amount), TTL: time.Hour}
}

func (w *town) ask(d *Desk, c budget.Command) budget.Decision {
	w.t.Helper()
	change, err := d.Ask(w.patience(), c)
	if err != nil {
		w.t.Fatalf("asking about %s: %v", c.ID, err)
	}
	return change.Decision
}

func TestAnotherOfficeGoesOnFromTheState(t *testing.T) {
	t.Parallel()
	w := newTown(t, hard("10"))
	shut := w.open(w.config("one"))
	d, cl := w.desk(), w.producer()
	for _, step := range []struct {
		command budget.Command
		want    budget.Decision
	}{
		{reserve("a", "6"), budget.Granted},
		{reserve("b", "5"), budget.Refused},
		{reserve("a", "7"), budget.Granted}, // again, by the worker after a kill
		{budget.Command{Budget: "none", Action: budget.Reserve, ID: "a", Amount: dec("1")}, budget.Unknown},
	} {
		if got := w.ask(d, step.command); got != step.want {
			t.Errorf("%s of %s: %s, want %s", step.command.ID, step.command.Budget, got, step.want)
		}
	}
	shut()
	w.settle(cl, "a", "5.5") // while nobody is there
	w.open(w.config("two"))
	w.until("the desk knows what is spent", func() bool { s, ok := d.Known("b"); return ok && s.Spent.Equal(dec("5.5")) })
	if got := w.ask(d, reserve("c", "5")); got != budget.Refused {
		t.Errorf("c: %s, want refused", got)
	}
	if got := w.ask(d, reserve("d", "4.5")); got != budget.Granted {
		t.Errorf("d: %s, want granted", got)
	}
	b := w.state()["b"]
	if !b.Spent.Equal(dec("5.5")) || !b.Reserved.Equal(dec("4.5")) || len(b.Open) != 1 || b.Open[0].Call != "d" {
		t.Errorf("the state is %+v", b)
	}
}

// A worker that died holds money. Nobody asks again for that call.
func TestWhatADeadWorkerHeldComesBackByItself(t *testing.T) {
	t.Parallel()
	w := newTown(t, hard("10"))
	w.open(w.config("one"))
	d := w.desk()
	dead := reserve("a", "10")
	dead.TTL = 4 * time.Second
	if got := w.ask(d, dead); got != budget.Granted {
		t.Fatalf("a: %s", got)
	}
	if got := w.ask(d, reserve("b", "1")); got != budget.Refused {
		t.Fatalf("b: %s", got)
	}
	w.until("the reservation expires without a question", func() bool { s, ok := d.Known("b"); return ok && s.Reserved.IsZero() })
	if got := w.ask(d, reserve("c", "10")); got != budget.Granted {
		t.Errorf("c: %s", got)
	}
}

// An owner that was cut off from the group goes on deciding, until its epoch is found
// to be old: what it decided meanwhile is kept nowhere and answered to nobody.
func TestAnOwnerThatWasReplacedKeepsNothing(t *testing.T) {
	t.Parallel()
	w := newTown(t, hard("10"))
	old := w.config("old")
	o, err := New(old)
	if err != nil {
		t.Fatal(err)
	}
	zombie := make(map[int32]*serving)
	for p := range int32(2) {
		s := w.zombie(o, p)
		zombie[p] = s
		defer s.client.Close()
	}
	w.open(w.config("new"))
	d := w.desk()
	if got := w.ask(d, reserve("a", "10")); got != budget.Granted {
		t.Fatalf("a: %s", got)
	}
	for p, s := range zombie {
		c := reserve("z", "10")
		c.Ask = d.self + "x"
		value, err := json.Marshal(c)
		if err != nil {
			t.Fatal(err)
		}
		r := &kgo.Record{Topic: topics.Reserve, Partition: p, Value: value}
		if _, err := s.step(t.Context(), []*kgo.Record{r}, nil); err == nil {
			t.Errorf("partition %d: the replaced owner kept a decision", p)
		}
	}
	if b := w.state()["b"]; len(b.Open) != 1 || b.Open[0].Call != "a" {
		t.Errorf("the state is %+v", b)
	}
}

// zombie is an owner at work that no group knows of.
func (w *town) zombie(o *Office, partition int32) *serving {
	w.t.Helper()
	s, err := o.newServing(partition, o.cfg.Log)
	if err != nil {
		w.t.Fatal(err)
	}
	if err := s.takeOver(w.patience()); err != nil {
		w.t.Fatal(err)
	}
	return s
}

// Fifty spenders, and offices that come and go all the time, a few of them in the
// middle of a step: the limit is kept, what is spent is what the state says, and
// nearly all of it can be used.
func TestSpendersNeverExceedTheLimitWhileOfficesComeAndGo(t *testing.T) {
	t.Parallel()
	const spenders, calls = 50, 40
	w := newTown(t, hard("20"))
	change := make(chan struct{})
	stop := w.commuters(change)
	cl := w.producer()
	var (
		mu      sync.Mutex
		paid    decimal.Decimal
		asked   atomic.Int64
		refused atomic.Int64
		work    sync.WaitGroup
	)
	desks := []*Desk{w.desk(), w.desk(), w.desk()}
	for n := range spenders {
		work.Go(func() {
			rng := rand.New(rand.NewPCG(7, uint64(n)))
			for i := range calls {
				if asked.Add(1)%150 == 0 {
					select {
					case change <- struct{}{}:
					default: // an office is just opening
					}
				}
				id, most := fmt.Sprintf("r/%d/%d", n, i), decimal.New(rng.Int64N(40_000)+1, -6)
				change, err := desks[n%len(desks)].Ask(w.patience(), reserve(id, most.String()))
				if err != nil {
					t.Errorf("asking: %v", err)
					return
				}
				if change.Decision == budget.Refused {
					refused.Add(1)
					continue
				}
				cost := most.Mul(decimal.New(rng.Int64N(51)+50, -2))
				mu.Lock()
				paid = paid.Add(cost)
				mu.Unlock()
				w.settle(cl, id, cost.String())
			}
		})
	}
	work.Wait()
	changed := stop()
	w.open(w.config("last"))
	var b Account
	w.until("all is settled", func() bool { b = w.state()["b"]; return len(b.Open) == 0 && b.Spent.Equal(paid) })
	if paid.GreaterThan(dec("20")) || !b.Reserved.IsZero() {
		t.Errorf("%s of 20 was spent, %s is reserved", paid, b.Reserved)
	}
	if paid.LessThan(dec("19")) || refused.Load() == 0 || changed < 3 {
		t.Errorf("%s was usable, %d refused, %d offices: the test proves nothing", paid, refused.Load(), changed)
	}
	w.eventsAddUp(paid)
	t.Logf("%s of 20 spent, %d of %d refused, %d offices", paid, refused.Load(), spenders*calls, changed)
}

// commuters open and shut offices in turn, each at a change. Each second one dies:
// its network is gone at once, in the middle of whatever it does.
func (w *town) commuters(change <-chan struct{}) (stop func() (changed int)) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan int, 1)
	go func() {
		n := 0
		for ; ctx.Err() == nil; n++ {
			cfg := w.config("")
			var mine []*kgo.Client
			var mu sync.Mutex
			cfg.NewClient = func(opts ...kgo.Opt) (*kgo.Client, error) {
				cl, err := w.client(opts...)
				mu.Lock()
				defer mu.Unlock()
				mine = append(mine, cl)
				return cl, err
			}
			shut := w.open(cfg)
			select {
			case <-change:
			case <-ctx.Done():
			}
			if n%2 == 1 {
				mu.Lock()
				for _, cl := range mine[1:] { // the first one is the member, which says goodbye
					cl.Close()
				}
				mu.Unlock()
			}
			shut()
		}
		done <- n
	}()
	return sync.OnceValue(func() int { cancel(); return <-done })
}

// eventsAddUp checks that each decision is an event, once, in order.
func (w *town) eventsAddUp(paid decimal.Decimal) {
	w.t.Helper()
	cl, err := w.client(kgo.ConsumeTopics(topics.Events), kgo.FetchIsolationLevel(kgo.ReadCommitted()))
	if err != nil {
		w.t.Fatal(err)
	}
	defer cl.Close()
	want := w.state()["b"].Seq
	var seq int64
	var settled decimal.Decimal
	for uint64(seq) < want {
		fetches := cl.PollFetches(w.patience())
		if err := fetches.Err(); err != nil {
			w.t.Fatal(err)
		}
		for r := range fetches.RecordsAll() {
			var e schemas.BudgetEvent
			if err := json.Unmarshal(r.Value, &e); err != nil {
				w.t.Fatal(err)
			}
			if seq++; e.Seq != seq {
				w.t.Fatalf("event %d follows %d", e.Seq, seq-1)
			}
			if e.Decision == string(budget.Settled) {
				settled = settled.Add(e.Amount)
			}
		}
	}
	if !settled.Equal(paid) {
		w.t.Errorf("events say that %s was settled; %s was spent", settled, paid)
	}
}

// What the state holds may be compacted at any time: each key's last record is enough.
func TestTheStateSurvivesCompaction(t *testing.T) {
	t.Parallel()
	w := newTown(t, hard("1000"))
	w.open(w.config("one"))
	d, cl := w.desk(), w.producer()
	for n := range 30 {
		id := fmt.Sprint(n)
		w.ask(d, reserve(id, "1.5"))
		if n%3 > 0 {
			w.settle(cl, id, "1.25")
		}
	}
	w.until("all is settled", func() bool { s, ok := d.Known("b"); return ok && s.Spent.Equal(dec("25")) })
	reader, err := w.client(kgo.ConsumeTopics(topics.State), kgo.FetchIsolationLevel(kgo.ReadCommitted()))
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	last, all := map[string][]byte{}, newTable()
	for len(last) < 30+3 { // calls, the summary, and for one partition or two how far it was read, and its owner
		fetches := reader.PollFetches(w.patience())
		if err := fetches.Err(); err != nil {
			t.Fatal(err)
		}
		for r := range fetches.RecordsAll() {
			last[string(r.Key)] = r.Value
			if err := all.take(r.Key, r.Value); err != nil {
				t.Fatal(err)
			}
		}
	}
	compacted := newTable()
	for key, value := range last {
		if err := compacted.take([]byte(key), value); err != nil {
			t.Fatal(err)
		}
	}
	for name, state := range map[string]*table{"whole": all, "compacted": compacted} {
		o, err := budget.NewOwner(w.budgets)
		if err != nil {
			t.Fatal(err)
		}
		state.load(o)
		s, _ := o.Snapshot("b")
		if !s.Spent.Equal(dec("25")) || !s.Reserved.Equal(dec("15")) || len(s.Open) != 10 || len(s.Done) != 20 {
			t.Errorf("%s: %s spent, %s reserved, %d open, %d done", name, s.Spent, s.Reserved, len(s.Open), len(s.Done))
		}
	}
}

func TestBytesThatAreNoCommandAreNoObstacle(t *testing.T) {
	t.Parallel()
	w := newTown(t, hard("10"))
	w.open(w.config("one"))
	d, cl := w.desk(), w.producer()
	for _, value := range []string{"", "{", `{"budget":"b","action":"settle","id":"x","amount":"1"}`, `{"budget":"b","action":"reserve","id":"x","amount":"-1"}`} {
		if err := cl.ProduceSync(w.patience(), &kgo.Record{Topic: topics.Reserve, Key: []byte("b"), Value: []byte(value)}).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	if got := w.ask(d, reserve("a", "10")); got != budget.Granted {
		t.Errorf("a: %s", got)
	}
}

// BenchmarkAsk is what a question costs over a broker in memory when many ask at once.
//
//	go test -bench Ask ./handlers/cost/budget/office
func BenchmarkAsk(b *testing.B) {
	c, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(2, topics.Reserve, topics.Settle, topics.State, topics.Events))
	if err != nil {
		b.Fatal(err)
	}
	defer c.Close()
	client := func(opts ...kgo.Opt) (*kgo.Client, error) {
		return kgo.NewClient(append(opts, kgo.SeedBrokers(c.ListenAddrs()...))...)
	}
	o, err := New(Config{
		Budgets: []budget.Config{hard("1000000000")}, Topics: topics, Group: "g", NewClient: client,
		Encode: func(e *schemas.BudgetEvent) ([]byte, error) { return json.Marshal(e) },
	})
	if err != nil {
		b.Fatal(err)
	}
	d, err := NewDesk(DeskConfig{Topics: topics, NewClient: client})
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	defer running.Wait()
	defer cancel()
	running.Go(func() { _ = o.Run(ctx) })
	running.Go(func() { _ = d.Run(ctx) })
	var n atomic.Int64
	b.SetParallelism(100)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, err := d.Ask(ctx, reserve(fmt.Sprint(n.Add(1)), "0.01")); err != nil {
				b.Error(err)
				return
			}
		}
	})
}

// What is on the state topic may be anything, if its rights are wrong: it is read or
// refused, and nothing of it is half taken.
func FuzzTable(f *testing.F) {
	f.Add([]byte("b"), []byte(`{"seq":3,"window":"2026-11-01T00:00:00Z","spent":"1.5","reserved":"0"}`))
	f.Add([]byte("b a/0/1"), []byte(`{"decision":"granted","amount":"0.25","window":"2026-11-01T00:00:00Z","until":"2026-11-01T00:10:00Z"}`))
	f.Add([]byte("@commands"), []byte(`{"reserve":7,"settle":9}`))
	f.Fuzz(func(t *testing.T, key, value []byte) {
		state := newTable()
		err := state.take(key, value)
		if err != nil && !errors.Is(err, errState) {
			t.Errorf("got %v", err)
		}
		for id, s := range state.states {
			if err != nil && (s.Seq > 0 || len(s.Open)+len(s.Done) > 0) {
				t.Errorf("%q was taken in spite of %v", id, err)
			}
		}
	})
}
