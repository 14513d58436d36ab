package integration

import (
	"encoding/json"
	"fmt"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/sira-ai/sira/cmd/app"
	"github.com/sira-ai/sira/handlers/simulate"
	"github.com/sira-ai/sira/schemas"
)

// watched starts a worker whose metrics can be read.
func (r *rig) watched(own Document) (*Process, func() Vital) {
	r.t.Helper()
	addr, err := FreeAddr(r.t.Context())
	if err != nil {
		r.t.Fatal(err)
	}
	own["http"] = Document{"addr": addr}
	p := r.start("worker", "worker", own)
	return p, func() Vital {
		r.t.Helper()
		v, err := p.Vital(r.t.Context(), addr)
		if err != nil {
			r.t.Fatal(err)
		}
		return v
	}
}

// flat fails if the second of two moments holds clearly more than the first.
func (r *rig) flat(first, second Vital) {
	r.t.Helper()
	r.t.Logf("%.0f MiB and %.0f goroutines, later %.0f MiB and %.0f goroutines", first.ResidentMiB, first.Goroutines, second.ResidentMiB, second.Goroutines)
	if limit := first.ResidentMiB*1.25 + growthMiB; second.ResidentMiB > limit {
		r.t.Errorf("memory grew from %.0f to %.0f MiB", first.ResidentMiB, second.ResidentMiB)
	}
	if limit := first.Goroutines*1.25 + growthGoroutines; second.Goroutines > limit {
		r.t.Errorf("goroutines grew from %.0f to %.0f", first.Goroutines, second.Goroutines)
	}
}

// put enqueues requests from to to-1, changed by shape.
func (r *rig) put(from, to int, shape func(int, *schemas.Request)) {
	r.t.Helper()
	p, err := NewProducer(r.t.Context(), r.cfg)
	if err != nil {
		r.t.Fatal(err)
	}
	defer p.Client.Close()
	first := new(kgo.FirstErrPromise)
	for i := from; i < to; i++ {
		req := Request("r" + strconv.Itoa(i))
		shape(i, req)
		rec, err := p.Record(req, true)
		if err != nil {
			r.t.Fatal(err)
		}
		p.Client.Produce(r.t.Context(), rec, first.Promise())
	}
	if err := p.Client.Flush(r.t.Context()); err != nil {
		r.t.Fatal(err)
	}
	if err := first.Err(); err != nil {
		r.t.Fatal(err)
	}
}

// perCall is what a slow call may take: its request, its goroutines' stacks and a
// connection's buffers (docs/performance.md: 42 KiB).
const perCall = 64 << 10

func TestTwentyThousandSlowCallsAreInFlightInOneWorker(t *testing.T) {
	r := newRig(t)
	calls := 20_000
	var files syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &files); err != nil {
		t.Fatal(err)
	}
	if most := int(min(files.Max, 1<<20)) - 1000; calls > most { // each takes a connection
		t.Logf("this machine allows %d open files: %d calls instead of %d", files.Max, most, calls)
		calls = most
	}
	r.start("broker", "kafka,registry", nil)
	r.start("provider", "simulator", nil)
	r.ready()
	r.simulate(simulate.Behaviour{Tokens: simulate.Tokens{Min: 8, Max: 8}, Latency: simulate.Latency{Kind: "fixed", Value: simulate.Duration(90 * time.Second)}})
	_, vital := r.watched(Document{"worker": Document{"concurrency": calls, "fixed_concurrency": true, "window": 4000}})
	idle := vital()
	answered := r.answered()
	// In steps, as load comes: connections that are all opened at once are refused.
	for from := 0; from < calls; from += 1000 {
		to := min(from+1000, calls)
		r.put(from, to, func(int, *schemas.Request) {})
		r.until(fmt.Sprintf("%d calls in flight", to), time.Minute, func() bool { return r.stats().Total.InFlight >= int64(to) })
	}
	busy := vital()
	grown := (busy.ResidentMiB - idle.ResidentMiB) * (1 << 20) / float64(calls)
	t.Logf("%d calls in flight: %.0f MiB, %.0f bytes and %.1f goroutines a call", calls, busy.ResidentMiB, grown, (busy.Goroutines-idle.Goroutines)/float64(calls))
	if grown > perCall {
		t.Errorf("a call takes %.0f bytes, more than %d", grown, perCall)
	}
	if n := (busy.Goroutines - idle.Goroutines) / float64(calls); n > 5 {
		t.Errorf("a call takes %.1f goroutines", n)
	}
	r.until("all answers", 3*time.Minute, func() bool { return answered.Load() == int64(calls) })
	// Idle connections keep two goroutines each, for 90 s at most. One goroutine for
	// each call stays on purpose and takes further ones (pipeline.Runner).
	var after Vital
	r.until("the goroutines of the connections to end", 3*time.Minute, func() bool {
		after = vital()
		return after.Goroutines < idle.Goroutines+float64(calls)+growthGoroutines
	})
	t.Logf("afterwards: %.0f MiB and %.0f goroutines", after.ResidentMiB, after.Goroutines)
	if failed := r.exactlyOnce(calls); failed > 0 {
		t.Errorf("%d calls failed", failed)
	}
}

func TestTenThousandTenantsStayFlat(t *testing.T) {
	r := newRig(t)
	const tenants, rounds = 10_000, 4
	r.Shared["kafka"].(Document)["lanes"] = []Document{{"name": "standard", "max_age": "30m", "tenant_in_flight": 2}}
	r.start("broker", "kafka,registry", nil)
	r.start("provider", "simulator", nil)
	r.ready()
	r.simulate(simulate.Behaviour{Tokens: simulate.Tokens{Min: 8, Max: 8}, Latency: simulate.Latency{Kind: "fixed", Value: simulate.Duration(5 * time.Millisecond)}})
	_, vital := r.watched(Document{"worker": Document{"concurrency": 500}})
	answered := r.answered()
	var first, last Vital
	for round := range rounds {
		r.put(round*tenants, (round+1)*tenants, func(i int, req *schemas.Request) { req.Tenant = "tenant-" + strconv.Itoa(i%tenants) })
		r.until(fmt.Sprintf("answers of round %d", round), 3*time.Minute, func() bool { return answered.Load() == int64(round+1)*tenants })
		if round == 1 { // all tenants are known, and everything is warm
			first = vital()
		}
		last = vital()
	}
	r.flat(first, last)
	if failed := r.exactlyOnce(rounds * tenants); failed > 0 {
		t.Errorf("%d requests failed", failed)
	}
}

func TestThousandRoutesDecideAndStayFlat(t *testing.T) {
	r := newRig(t)
	const routes, rounds = 1000, 20
	var list []Document
	for i := range routes {
		list = append(list, Document{"name": "route-" + strconv.Itoa(i), "when": fmt.Sprintf("tenant == %q && labels.team == %q", "tenant-"+strconv.Itoa(i), "search")})
	}
	r.Shared["routes"] = list
	r.start("broker", "kafka,registry", nil)
	r.start("provider", "simulator", nil)
	r.ready()
	r.simulate(simulate.Behaviour{Tokens: simulate.Tokens{Min: 8, Max: 8}, Latency: simulate.Latency{Kind: "fixed", Value: simulate.Duration(5 * time.Millisecond)}})
	_, vital := r.watched(Document{"worker": Document{"concurrency": 500}})
	answered := r.answered()
	var first, last Vital
	for round := range 4 {
		n := routes * rounds / 4
		r.put(round*n, (round+1)*n, func(i int, req *schemas.Request) { req.Tenant = "tenant-" + strconv.Itoa(i%routes) })
		r.until(fmt.Sprintf("answers of part %d", round), 3*time.Minute, func() bool { return answered.Load() == int64(round+1)*int64(n) })
		if round == 1 {
			first = vital()
		}
		last = vital()
	}
	r.flat(first, last)
	if failed := r.exactlyOnce(routes * rounds); failed > 0 {
		t.Errorf("%d requests failed", failed)
	}
	wrong := 0
	r.each(app.TopicResults, func(rec *kgo.Record) error {
		var res schemas.Result
		if err := json.Unmarshal(rec.Value, &res); err != nil {
			return err
		}
		if res.Route != "route-"+res.Tenant[len("tenant-"):] {
			wrong++
		}
		return nil
	})
	if wrong > 0 {
		t.Errorf("%d of %d requests took the route of another tenant", wrong, routes*rounds)
	}
}
