package integration

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"go.uber.org/zap"

	"github.com/sira-ai/sira/cmd/app"
	"github.com/sira-ai/sira/handlers/anomaly/fleet"
	"github.com/sira-ai/sira/handlers/simulate"
	"github.com/sira-ai/sira/schemas"
	"github.com/sira-ai/sira/sinks/clickhouse"
)

// tick is what five seconds are in these tests: all times of prediction and of
// breakers are a fiftieth of their defaults.
const tick = 100 * time.Millisecond

// incident is a gateway with a model of three endpoints, one and two of a provider
// and the fallback's, and what happens to endpoint one.
type incident struct {
	*gateway
	t      *testing.T
	sent   int
	health []schemas.HealthEvent // guarded by mu
	mu     sync.Mutex
}

func newIncident(t *testing.T, mode string, roles ...app.Role) *incident {
	t.Helper()
	in := &incident{t: t}
	in.gateway = newGateway(t, []string{"m"}, func(doc Document) {
		primary := doc["providers"].([]Document)[0]
		base := primary["base_url"].(string)
		primary["endpoints"] = []Document{
			{"id": "one", "base_url": strings.Replace(base, "m-primary", "one", 1)}, {"id": "two", "base_url": strings.Replace(base, "m-primary", "two", 1)},
		}
		doc["prediction"] = Document{"mode": mode, "tick": "100ms", "publish": "50ms", "silence": "1s", "calm": "3600ms"}
		doc["balance"] = Document{
			"breaker":    Document{"window": "600ms", "open_for": "200ms", "open_max": "500ms", "memory": "6s"},
			"slow_start": Document{"window": "200ms"}, "rest": Document{"rate_limited": "20ms"},
		}
		doc["clickhouse"] = Document{"listen": "127.0.0.1:0", "max_wait": "100ms"}
		doc["invoke"] = Document{"backoff": Document{"initial": "2ms", "max": "8ms"}}
	}, roles...)
	for _, endpoint := range []string{"one", "two", "m-fallback"} {
		in.simulate(t, endpoint, behaviour(1, nil))
	}
	in.watch()
	return in
}

// behaviour is an endpoint that takes slow times as long as it should.
func behaviour(slow float64, faults map[string]simulate.Fault) simulate.Behaviour {
	return simulate.Behaviour{
		Latency:         simulate.Latency{Kind: "lognormal", Median: simulate.Duration(slow * float64(30*time.Millisecond)), Sigma: 0.2},
		TokensPerSecond: 2000 / slow, Tokens: simulate.Tokens{Min: 16, Max: 24}, Faults: faults,
	}
}

// watch collects the shifts.
func (in *incident) watch() {
	in.t.Helper()
	cl, err := in.app.Client().NewClient(nil, nil, kgo.ConsumeTopics(in.cfg.Topic(app.TopicHealth)), kgo.ConsumeStartOffset(kgo.NewOffset().AtStart()))
	if err != nil {
		in.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for ctx.Err() == nil {
			for r := range cl.PollFetches(ctx).RecordsAll() {
				var e schemas.HealthEvent
				if err := in.codecs.Health.Decode(ctx, r.Value, &e); err != nil {
					in.t.Errorf("decoding health event: %v", err)
				} else if e.Kind == schemas.HealthShare {
					in.mu.Lock()
					in.health = append(in.health, e)
					in.mu.Unlock()
				}
			}
		}
	}()
	in.t.Cleanup(func() { cancel(); cl.Close(); <-done })
}

func (in *incident) shifts() []schemas.HealthEvent {
	in.mu.Lock()
	defer in.mu.Unlock()
	return slices.Clone(in.health)
}

// play sends ten requests a tick for a number of ticks, or until done, and tells
// before each what its number is. It returns the ids.
func (in *incident) play(ticks int, before func(i int), done func() bool) []string {
	in.t.Helper()
	var ids []string
	clock := time.NewTicker(tick / 10)
	defer clock.Stop()
	for i := range ticks * 10 {
		if i%10 == 0 {
			if before != nil {
				before(i / 10)
			}
			if done != nil && done() {
				break
			}
		}
		select {
		case <-clock.C:
		case <-in.t.Context().Done():
			in.t.Fatal(in.t.Context().Err())
		}
		req := question(fmt.Sprintf("q%d", in.sent), "m", true)
		in.sent++
		value, err := json.Marshal(req)
		if err != nil {
			in.t.Fatal(err)
		}
		in.client.Produce(in.t.Context(), &kgo.Record{Topic: in.cfg.RequestTopic("standard"), Key: []byte(req.ID), Value: value}, nil)
		ids = append(ids, req.ID)
	}
	return ids
}

// burn lets endpoint one queue longer and longer, and at last lose calls.
func (in *incident) burn(i, of int) {
	ramp := float64(i) / float64(of)
	in.simulate(in.t, "one", behaviour(1+4*ramp, map[string]simulate.Fault{"500": {Share: 0.06 * ramp * ramp}}))
}

func (in *incident) fail() {
	in.simulate(in.t, "one", behaviour(5, map[string]simulate.Fault{"500": {Share: 0.35}, "529": {Share: 0.15}, "cut": {Share: 0.05}}))
}

// counts is what users got.
type counts struct {
	requests, failed, lost int // failed: the first attempt, so that the user waits for another
	asked                  int // first attempts at endpoint one
}

func (c counts) String() string {
	return fmt.Sprintf("%d requests, %d first attempts failed (%.2f %%), %d lost, %d asked endpoint one first", c.requests, c.failed, 100*float64(c.failed)/float64(max(c.requests, 1)), c.lost, c.asked)
}

func (in *incident) count(ids []string) (c counts) {
	in.t.Helper()
	for _, id := range ids {
		res, _ := in.answer(in.t, id, false, time.Minute)
		c.requests++
		if res.Status != schemas.Succeeded {
			c.lost++
		}
		if len(res.Attempts) == 0 {
			continue
		}
		if first := res.Attempts[0]; first.Outcome != schemas.OK {
			c.failed++
		}
		if res.Attempts[0].Target.Endpoint == "one" {
			c.asked++
		}
	}
	return c
}

// outlook is what the worker says of endpoint one.
type outlook struct {
	Endpoint string
	Share    int
	Source   string
}

func (in *incident) outlook() outlook {
	in.t.Helper()
	var page struct{ Outlook []outlook }
	if err := call(in.t.Context(), http.MethodGet, "http://"+in.app.HTTPAddr()+"/endpoints", nil, &page); err != nil {
		in.t.Fatal(err)
	}
	i := slices.IndexFunc(page.Outlook, func(o outlook) bool { return o.Endpoint == "one" })
	if i < 0 {
		return outlook{}
	}
	return page.Outlook[i]
}

func (in *incident) metrics() string {
	in.t.Helper()
	req, err := http.NewRequestWithContext(in.t.Context(), http.MethodGet, "http://"+in.app.HTTPAddr()+"/metrics", nil)
	if err != nil {
		in.t.Fatal(err)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		in.t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		in.t.Fatal(err)
	}
	return string(text)
}

// analyst starts an owner of fleets as a process of its own would be, and returns
// what stops it.
func (in *incident) analyst(name string) (stop func()) {
	in.t.Helper()
	cfg := in.cfg
	cfg.Instance, cfg.DataDir, cfg.HTTP.Addr = name, in.t.TempDir(), "off"
	cfg.Kafka.Brokers, cfg.Registry.URL = in.app.Client().Brokers, "http://"+in.cfg.Registry.Listen
	a := app.New(cfg, []app.Role{app.RoleAnalyst}, zap.NewNop())
	ctx, cancel := context.WithCancel(context.Background())
	ready, ended := make(chan struct{}), make(chan error, 1)
	go func() { ended <- a.Run(ctx, func() { close(ready) }) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			in.t.Errorf("stopping %s: %v", name, err)
		}
	})
	in.t.Cleanup(stop)
	select {
	case <-ready:
	case <-time.After(time.Minute):
		in.t.Fatalf("%s does not start", name)
	}
	return stop
}

func TestTrafficMovesAwayBeforeAnEndpointFails(t *testing.T) {
	in := newIncident(t, fleet.ModeAct)
	stop := in.analyst("analyst-1")
	said := func(source string) func() bool { return func() bool { return in.outlook().Source == source } }
	in.play(100, nil, said(schemas.SourceAnalyst))
	in.play(15, nil, nil)
	before := in.play(120, func(i int) { in.burn(min(i, 48), 48) }, func() bool { return len(in.shifts()) > 0 })
	shifts := in.shifts()
	if len(shifts) != 1 {
		t.Fatalf("shifts %+v", shifts)
	}
	e := shifts[0]
	if e.Endpoint != "one" || e.Source != schemas.SourceAnalyst || e.Instance != "analyst-1" || e.ToShare != 5 || !e.Applied || len(e.Reasons) == 0 {
		t.Errorf("the shift is %+v", e)
	}
	c := in.count(before)
	t.Logf("before: %s; the shift: %.2f, %q", c, e.Probability, e.Reasons)
	if float64(c.failed) > 0.05*float64(c.requests) {
		t.Errorf("before the shift: %s", c)
	}
	in.play(40, nil, func() bool { return in.outlook().Share == 5 })
	if c := in.count(in.play(15, nil, nil)); c.asked > c.requests/10 {
		t.Errorf("while it burns and no breaker is open yet: %s", c)
	}
	in.fail()
	during := in.count(in.play(15, nil, nil))
	if line := `sira_endpoint_share_percent{endpoint="one",provider="m-primary"} 5`; !strings.Contains(in.metrics(), line) {
		t.Errorf("the metrics lack %s", line)
	}
	t.Logf("while it fails: %s", during)
	if during.asked > during.requests/10 || during.failed > during.requests/10 {
		t.Errorf("while it fails: %s", during)
	}

	// The owner goes; the worker trusts itself, and the next owner goes on: nobody
	// shifts anything, since nothing has changed.
	stop()
	in.play(100, nil, said(schemas.SourceWorker))
	if o := in.outlook(); o.Share != 5 || o.Source != schemas.SourceWorker {
		t.Errorf("without an owner: %+v", o)
	}
	in.analyst("analyst-2")
	in.play(200, nil, said(schemas.SourceAnalyst))
	in.play(10, nil, nil)
	if o, shifts := in.outlook(), in.shifts(); o.Share != 5 || o.Source != schemas.SourceAnalyst || len(shifts) != 1 {
		t.Errorf("with the next owner: %+v, shifts %+v", o, shifts)
	}
}

// suffer plays an incident from its first sign to its end, and what users got.
func (in *incident) suffer() counts {
	in.t.Helper()
	ids := in.play(60, func(i int) { in.burn(i, 60) }, nil)
	in.fail()
	return in.count(append(ids, in.play(150, nil, nil)...))
}

// The same slow burn with shares that follow the prediction and with shares that do
// not. The bound is that of the issue: at most half of the failures.
func TestPredictionHalvesWhatUsersSufferInAnIncident(t *testing.T) {
	heavy(t)
	result := map[string]counts{}
	for _, mode := range []string{fleet.ModeObserve, fleet.ModeAct} {
		t.Run(mode, func(t *testing.T) {
			in := newIncident(t, mode, app.RoleAnalyst, app.RoleClickHouse, app.RoleRecorder)
			in.play(60, nil, nil)
			c := in.suffer()
			result[mode] = c
			t.Logf("%s: %s", mode, c)
			in.recover(t, mode == fleet.ModeAct)
			in.explained(t, mode == fleet.ModeAct)
		})
	}
	on, off := result[fleet.ModeAct], result[fleet.ModeObserve]
	if 2*on.failed > off.failed || on.lost > off.lost {
		t.Errorf("with prediction: %s; without: %s", on, off)
	}
}

// recover heals the endpoint and waits until it has all its calls back.
func (in *incident) recover(t *testing.T, act bool) {
	t.Helper()
	in.simulate(t, "one", behaviour(1, nil))
	healed, low, begun := time.Now(), 0, time.Duration(0)
	ids := in.play(900, func(int) {
		share := in.outlook().Share
		if share < 100 && low == 0 {
			low = share
		}
		if share > 5 && begun == 0 {
			begun = time.Since(healed)
		}
	}, func() bool { return in.outlook().Share == 100 && len(in.shifts()) >= 2 })
	back := time.Since(healed)
	c := in.count(ids)
	t.Logf("calls begin to come back %s after the recovery, all are back after %s: %s", begun.Round(tick), back.Round(tick), c)
	shifts := in.shifts()
	if len(shifts) != 2 || shifts[1].ToShare != 100 || shifts[0].Applied != act {
		t.Errorf("shifts: %+v", shifts)
	}
	if begun < 3600*time.Millisecond || back-begun < 40*tick {
		t.Errorf("they came back too soon")
	}
}

// explained asks what an operator asks: why was traffic moved away?
func (in *incident) explained(t *testing.T, act bool) {
	t.Helper()
	conn, _, err := clickhouse.Open(in.cfg.ClickHouseDSN())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	const sql = `SELECT count() FROM health WHERE kind = 'share' AND endpoint = 'one' AND source = 'analyst' AND applied = ? AND from_share = 100 AND to_share = 5 AND notEmpty(reasons)`
	for end := time.Now().Add(30 * time.Second); ; {
		var n uint64
		if err := conn.QueryRow(t.Context(), sql, act).Scan(&n); err != nil {
			t.Fatal(err)
		}
		if n == 1 {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("%d rows explain the shift", n)
		}
		<-time.After(100 * time.Millisecond)
	}
}
