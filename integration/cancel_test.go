package integration

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/sira-ai/sira/cmd/app"
	"github.com/sira-ai/sira/handlers/simulate"
	"github.com/sira-ai/sira/schemas"
)

// cancel says that nobody waits for a request of acme any more, in Avro or JSON.
func (g *gateway) cancel(t *testing.T, id string, asAvro bool) {
	t.Helper()
	said := schemas.Cancel{RequestID: id, Tenant: "acme"}
	value, err := json.Marshal(said)
	if asAvro {
		value, err = g.codecs.Cancel.Append(nil, &said)
	}
	if err != nil {
		t.Fatal(err)
	}
	rec := &kgo.Record{Topic: g.cfg.Topic(app.TopicCancels), Key: []byte(id), Value: value}
	if err := g.client.ProduceSync(t.Context(), rec).FirstErr(); err != nil {
		t.Fatal(err)
	}
}

// cancelled waits for the result of a request and checks that it says so.
func (g *gateway) cancelled(t *testing.T, id string, stream bool) (schemas.Result, schemas.CostEvent) {
	t.Helper()
	res, _ := g.answer(t, id, stream, 20*time.Second)
	if res.Failure == nil || res.Failure.Code != schemas.Cancelled {
		t.Fatalf("%s: failure %+v, want cancelled", id, res.Failure)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	return res, g.costs[id]
}

// A call, a stream and a request that waits for its turn are cancelled; what was begun
// is paid for. A request that has its answer keeps it.
func TestRequestsAreCancelledWhereverTheyAre(t *testing.T) {
	g := newGateway(t, []string{"slow", "quick"}, func(doc Document) {
		doc["invoke"] = Document{"attempt_timeout": "60s", "first_token_timeout": "60s", "stall_timeout": "60s"}
		doc["worker"] = Document{"concurrency": 3, "fixed_concurrency": true}
	})
	g.simulate(t, "slow-primary", simulate.Behaviour{Faults: map[string]simulate.Fault{"stall": {Share: 1}}})
	g.send(t, question("answered", "quick", false))
	g.answer(t, "answered", false, 20*time.Second)
	g.send(t, question("call", "slow", false))
	g.send(t, question("stream", "slow", true))
	g.until(t, "two calls", func() bool { return g.stats(t).Total.Started >= 3 })
	g.send(t, question("third", "slow", false))
	g.until(t, "a third", func() bool { return g.stats(t).Total.Started >= 4 })
	g.send(t, question("waiting", "slow", false))
	for i, id := range []string{"answered", "waiting", "call", "stream", "third", "nobody"} {
		g.cancel(t, id, i%2 == 0)
		g.cancel(t, id, i%2 == 1)
	}
	for _, id := range []string{"call", "stream", "third"} {
		res, paid := g.cancelled(t, id, id == "stream")
		if len(res.Attempts) != 1 || res.Attempts[0].Outcome != schemas.Cancelled || paid.State != schemas.CostEstimated || paid.InputTokens == 0 {
			t.Errorf("%s: attempts %+v, cost %+v", id, res.Attempts, paid)
		}
	}
	if res, paid := g.cancelled(t, "waiting", false); len(res.Attempts) != 0 || paid.State != schemas.CostNone {
		t.Errorf("waiting: attempts %+v, cost %+v", res.Attempts, paid)
	}
	g.send(t, question("after", "quick", false))
	if res, _ := g.answer(t, "after", false, 20*time.Second); res.Failure != nil { // and "answered" has one result still
		t.Errorf("after: %+v", res.Failure)
	}
}

// One worker begins vendors' jobs and goes away. Half of the requests are cancelled
// while nobody is there, half while the next worker waits for its look, which is half a
// minute away: each has one result soon, and its job is ended.
func TestParkedRequestsAreCancelledByAnotherWorker(t *testing.T) {
	g, vendor := slowPainter(t, time.Hour, "30s")
	stop := g.worker("first")
	const n = 6
	for i := range n {
		g.send(t, painted(fmt.Sprintf("p%d", i), "painting"))
	}
	g.until(t, "the first look", func() bool { return vendor.asked.Load() >= 2*n })
	stop()
	for i := range n / 2 {
		g.cancel(t, fmt.Sprintf("p%d", i), false)
	}
	g.worker("second")
	for i := range n {
		id := fmt.Sprintf("p%d", i)
		if i >= n/2 {
			g.cancel(t, id, false)
		}
		res, paid := g.cancelled(t, id, false)
		if len(res.Attempts) != 1 || len(res.Attempts[0].Usage.Units) == 0 || paid.State == schemas.CostNone {
			t.Errorf("%s: attempts %+v, cost %+v", id, res.Attempts, paid)
		}
	}
	if vendor.created.Load() != n || vendor.stopped.Load() != n {
		t.Errorf("%d jobs were begun and %d ended, want %d", vendor.created.Load(), vendor.stopped.Load(), n)
	}
}

// Requests leave their batch one by one; what is left of it is answered.
func TestRequestsOfABatchAreCancelled(t *testing.T) {
	g, vendor := newBatching(t, 4*time.Second, Document{"max_wait": "1s"})
	g.worker("only")
	for i := range 4 {
		g.send(t, batched(fmt.Sprintf("b%d", i), "gpt"))
	}
	g.cancel(t, "b0", false) // before its batch is closed
	g.until(t, "the batch", func() bool { return vendor.batches.Load() == 1 })
	g.cancel(t, "b1", false)
	if res, paid := g.cancelled(t, "b0", false); len(res.Attempts) != 0 || paid.State != schemas.CostNone {
		t.Errorf("b0: attempts %+v, cost %+v", res.Attempts, paid)
	}
	if res, paid := g.cancelled(t, "b1", false); len(res.Attempts) != 1 || paid.State != schemas.CostEstimated {
		t.Errorf("b1: attempts %+v, cost %+v", res.Attempts, paid)
	}
	for _, id := range []string{"b2", "b3"} {
		if res, _ := g.answer(t, id, false, 30*time.Second); res.Failure != nil {
			t.Errorf("%s: %+v", id, res.Failure)
		}
	}
	if vendor.stopped.Load() != 0 {
		t.Error("the batch was ended while two waited for it")
	}
}

// Workers are killed while every other request is cancelled, most of them parked: each
// has one result and one cost, none of the cancelled is answered, and no job of theirs
// goes on.
func TestKilledWorkersSettleCancelledRequestsOnce(t *testing.T) {
	r := newRig(t)
	r.start("broker", "kafka,registry", nil)
	r.ready()
	vendor := newCounted(t, func() string { return r.cfg.Simulator.Listen })
	r.Shared["providers"] = []Document{vendor.provider("painter")}
	r.Shared["models"] = []Document{{"name": "painting", "targets": []Document{{"provider": "painter", "model": "acme/flux-sim"}}}}
	r.ready()
	r.start("simulator", "simulator", nil)
	r.simulate(simulate.Behaviour{RunTime: simulate.Duration(25 * time.Second)})
	const n = 200
	mortal := []*Process{r.start("w0", "worker", nil), r.start("w1", "worker", nil)}
	cl, err := r.cfg.Client().NewClient(nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	put := func(topic, id string, v any) {
		value, err := json.Marshal(v)
		if err == nil {
			err = cl.ProduceSync(t.Context(), &kgo.Record{Topic: topic, Key: []byte(id), Value: value}).FirstErr()
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	for i := range n {
		id := fmt.Sprintf("r%d", i)
		put(r.cfg.RequestTopic("standard"), id, painted(id, "painting"))
	}
	r.until("all jobs to be begun", time.Minute, func() bool { return vendor.created.Load() >= n })
	answered := r.answered()
	kills := 0
	for ; answered.Load() < n; kills++ {
		if kills > 60 {
			t.Fatalf("%d of %d were answered after %d kills", answered.Load(), n, kills)
		}
		for i := kills * 40; i < min((kills+1)*40, n); i += 2 {
			id := fmt.Sprintf("r%d", i)
			put(r.cfg.Topic(app.TopicCancels), id, schemas.Cancel{RequestID: id, Tenant: "acme"})
		}
		r.pause(time.Duration(300+200*(kills%6))*time.Millisecond, func() bool { return answered.Load() >= n })
		victim := mortal[kills%len(mortal)]
		victim.Kill()
		r.again(victim)
	}
	for _, p := range mortal {
		r.stop(p)
	}
	failed := r.exactlyOnce(n)
	t.Logf("%d kills, %d created, %d ended at the vendor, %d cancelled", kills, vendor.created.Load(), vendor.stopped.Load(), failed)
	if failed != n/2 || vendor.stopped.Load() < n/2 || kills < 5 {
		t.Errorf("%d of %d were cancelled, %d at the vendor, after %d kills", failed, n/2, vendor.stopped.Load(), kills)
	}
	if costs := r.records(app.TopicCosts); costs != n {
		t.Errorf("%d costs", costs)
	}
}
