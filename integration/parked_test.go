package integration

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/sira-ai/sira/cmd/app"
	"github.com/sira-ai/sira/handlers/simulate"
	"github.com/sira-ai/sira/schemas"
)

// counted stands before the simulator and counts what is asked of its jobs.
type counted struct {
	url                     string
	created, asked, stopped atomic.Int64
	batches                 atomic.Int64
}

func newCounted(t *testing.T, simulator func() string) *counted {
	t.Helper()
	c := new(counted)
	gone := func(w http.ResponseWriter, _ *http.Request, _ error) { w.WriteHeader(http.StatusBadGateway) } // the worker was killed
	proxy := &httputil.ReverseProxy{ErrorHandler: gone, Rewrite: func(r *httputil.ProxyRequest) {
		to, _ := url.Parse("http://" + simulator())
		r.SetURL(to)
		r.Out.Host = r.In.Host // so that the addresses of jobs lead back here
	}}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case strings.HasSuffix(r.URL.Path, "/cancel"):
			c.stopped.Add(1)
		case r.Method == http.MethodGet && strings.Contains(r.URL.Path, "/predictions/"):
			c.asked.Add(1)
		case isBatch(r):
			c.batches.Add(1)
		case r.Method == http.MethodPost:
			c.created.Add(1)
		}
		proxy.ServeHTTP(w, r)
	}))
	t.Cleanup(s.Close)
	c.url = s.URL
	return c
}

// provider is the vendor of long jobs, asked through the counter.
func (c *counted) provider(name string) Document {
	return Document{"name": name, "kind": "replicate", "base_url": c.url + "/llm/replicate/v1", "api_key": "any", "wait_seconds": 0, "poll_ms": 200}
}

func painted(id, model string) *schemas.Request {
	return &schemas.Request{
		ID: id, Tenant: "acme", Model: model, Op: schemas.OpImage, CreatedAt: time.Now(), Image: &schemas.ImageSpec{Prompt: "a blue sky"},
	}
}

// slowPainter is a gateway without a worker of its own whose one model takes run for
// a picture.
func slowPainter(t *testing.T, run time.Duration, retry ...string) (*gateway, *counted) {
	t.Helper()
	var simulator atomic.Value
	vendor := newCounted(t, func() string { s, _ := simulator.Load().(string); return s })
	g := newGateway(t, nil, func(doc Document) {
		doc["instance"] = "services"
		doc["worker"] = Document{"session_timeout": "1s"} // nobody waits long for the first worker to come back
		doc["providers"] = []Document{vendor.provider("painter")}
		doc["models"] = []Document{{"name": "painting", "targets": []Document{{"provider": "painter", "model": "acme/flux-sim"}}}}
		kafka, _ := doc["kafka"].(Document)
		kafka["retry"] = retry
	})
	simulator.Store(g.cfg.Simulator.Listen)
	if err := SetSimulator(t.Context(), g.cfg, simulate.Behaviour{RunTime: simulate.Duration(run)}); err != nil {
		t.Fatal(err)
	}
	return g, vendor
}

// One worker begins a vendor's job and goes away; the next one looks how it stands
// until it is done. Nothing is begun twice, and there is one result and one cost.
func TestAParkedJobIsTakenUpByAnotherWorker(t *testing.T) {
	for name, retry := range map[string][]string{"with retry topics": {"30s", "2m"}, "without": {}} {
		t.Run(name, func(t *testing.T) {
			g, vendor := slowPainter(t, 2*time.Second, retry...)
			stop := g.worker("first")
			const n = 5
			for i := range n {
				g.send(t, painted(fmt.Sprintf("p%d", i), "painting"))
			}
			g.until(t, "the first look", func() bool { return vendor.asked.Load() >= n })
			stop()
			seen := vendor.asked.Load()
			g.worker("second")
			for i := range n {
				res, _ := g.answer(t, fmt.Sprintf("p%d", i), false, 30*time.Second)
				if res.Status != schemas.Succeeded || len(res.Response.Media) != 1 || len(res.Attempts) != 1 {
					t.Fatalf("failure %+v, response %+v, attempts %+v", res.Failure, res.Response, res.Attempts)
				}
			}
			if vendor.created.Load() != n || vendor.asked.Load() <= seen || vendor.stopped.Load() != 0 {
				t.Errorf("%d created, %d looks of which %d by the first worker, %d cancelled; want %d, more, none", vendor.created.Load(), vendor.asked.Load(), seen, vendor.stopped.Load(), n)
			}
		})
	}
}

// A worker begins a job and goes away for good; the request expires with nobody
// there. The next worker cancels the job and answers.
func TestAJobOfAnExpiredRequestIsCancelledByAnotherWorker(t *testing.T) {
	g, vendor := slowPainter(t, time.Hour, "30s")
	stop := g.worker("first")
	req := painted("late", "painting")
	req.Deadline = time.Now().Add(3 * time.Second)
	g.send(t, req)
	g.until(t, "the first look", func() bool { return vendor.asked.Load() > 0 })
	stop()
	g.worker("second")
	res, _ := g.answer(t, "late", false, 30*time.Second)
	if res.Failure == nil || res.Failure.Code != schemas.Timeout || vendor.stopped.Load() != 1 || vendor.created.Load() != 1 {
		t.Errorf("failure %+v; %d cancelled of %d created", res.Failure, vendor.stopped.Load(), vendor.created.Load())
	}
	if took := res.CompletedAt.Sub(req.Deadline); took < 0 || took > 15*time.Second {
		t.Errorf("answered %s after the deadline", took)
	}
}

// Workers are killed while vendors' jobs go on: whoever comes next looks at the same
// jobs. After the last job was begun and its request parked, nothing is begun again.
func TestKilledWorkersSettlePredictionsOnce(t *testing.T) {
	r := newRig(t)
	r.start("broker", "kafka,registry", nil)
	r.ready()
	vendor := newCounted(t, func() string { return r.cfg.Simulator.Listen })
	r.Shared["providers"] = []Document{vendor.provider("painter")}
	r.Shared["models"] = []Document{{"name": "painting", "targets": []Document{{"provider": "painter", "model": "acme/flux-sim"}}}}
	r.ready()
	r.start("simulator", "simulator", nil)
	r.simulate(simulate.Behaviour{RunTime: simulate.Duration(20 * time.Second)})
	const n = 300
	mortal := []*Process{r.start("w0", "worker", nil), r.start("w1", "worker", nil)}
	cl, err := r.cfg.Client().NewClient(nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	for i := range n {
		value, err := json.Marshal(painted(fmt.Sprintf("r%d", i), "painting"))
		if err != nil {
			t.Fatal(err)
		}
		rec := &kgo.Record{Topic: r.cfg.RequestTopic("standard"), Key: fmt.Appendf(nil, "r%d", i), Value: value}
		if err := cl.ProduceSync(t.Context(), rec).FirstErr(); err != nil {
			t.Fatal(err)
		}
	}
	r.until("all jobs to be begun and parked", time.Minute, func() bool {
		return vendor.created.Load() >= n && r.records("retry.30s") >= n
	})
	answered := r.answered()
	kills := 0
	for ; answered.Load() < n; kills++ {
		if kills > 60 {
			t.Fatalf("%d of %d were answered after %d kills", answered.Load(), n, kills)
		}
		r.pause(1500*time.Millisecond, func() bool { return answered.Load() >= n })
		victim := mortal[kills%len(mortal)]
		victim.Kill()
		r.again(victim)
	}
	for _, p := range mortal {
		r.stop(p)
	}
	if failed := r.exactlyOnce(n); failed > 0 {
		t.Errorf("%d of %d requests failed", failed, n)
	}
	t.Logf("%d kills, %d created, %d looks", kills, vendor.created.Load(), vendor.asked.Load())
	if created := vendor.created.Load(); created != n || vendor.stopped.Load() != 0 || kills < 5 {
		t.Errorf("%d jobs were begun for %d requests, %d cancelled, %d kills", created, n, vendor.stopped.Load(), kills)
	}
	if costs := r.records(app.TopicCosts); costs != n {
		t.Errorf("%d costs", costs)
	}
}
