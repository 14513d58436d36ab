package integration

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/Shopify/toxiproxy/v2/toxics"
	"github.com/rs/zerolog"

	"github.com/sira-ai/sira/cmd/app"
)

// netFault is a column of the table in docs/faults.md.
type netFault struct {
	name   string
	toxics []string // none: the proxy is away
	only   string   // edge; empty: all
}

func netFaults() []netFault {
	both := func(text string) []string {
		return []string{
			fmt.Sprintf(`{"name":"down","stream":"downstream",%s}`, text), fmt.Sprintf(`{"name":"up","stream":"upstream",%s}`, text),
		}
	}
	return []netFault{
		{name: "latency", toxics: both(`"type":"latency","attributes":{"latency":500,"jitter":200}`)},
		{name: "cut"},
		{name: "reset", toxics: both(`"type":"reset_peer","attributes":{"timeout":200}`)},
		{name: "half-open", toxics: both(`"type":"timeout","attributes":{"timeout":0}`)},
		{name: "slow close", toxics: both(`"type":"slow_close","attributes":{"delay":3000}`)},
		{name: "bandwidth", toxics: both(`"type":"bandwidth","attributes":{"rate":8}`)},
		{name: "corruption", only: "provider", toxics: []string{`{"name":"down","stream":"downstream","type":"corrupt","attributes":{"every":1000}}`}},
	}
}

const (
	netRate    = 40 * time.Millisecond // between requests
	netHealthy = time.Second
	netSick    = 5 * time.Second
	netLimit   = 90 * time.Second // for everything to be done after the fault
)

// Every edge is disturbed in every way while requests come in. Afterwards each of
// them has one answer and one cost, and the tables hold what the topics hold. How
// long it took from the end of the fault until all that had come in was answered,
// and recorded, is the table of docs/faults.md.
func TestNetworkFaultsLoseAndDoubleNothing(t *testing.T) {
	heavy(t)
	toxics.Register("corrupt", new(corrupt))
	zerolog.SetGlobalLevel(zerolog.Disabled) // a toxic logs each time it is taken away
	n := newNetwork(t)
	table := &strings.Builder{}
	for _, edge := range edges {
		for _, f := range netFaults() {
			if f.only != "" && f.only != edge {
				continue
			}
			t.Run(edge+" "+f.name, func(t *testing.T) {
				during, answered, recorded := n.disturb(t, edge, f)
				fmt.Fprintf(table, "| %s | %s | %d %% | %.1f s | %.1f s |\n", edge, f.name, during, answered.Seconds(), recorded.Seconds())
			})
		}
	}
	n.exact(t)
	t.Logf("%d requests\n%s", n.sent.Load(), table)
}

// disturb sends requests before, during and after a fault. It returns the share of
// those sent by the end of the fault that were answered by then, and how long it
// took from there until all of them were, and until all were recorded.
func (n *network) disturb(t *testing.T, edge string, f netFault) (percent int, answered, recorded time.Duration) {
	t.Helper()
	name := edge + "-" + strings.ReplaceAll(f.name, " ", "-")
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	loaded := make(chan int, 1)
	go func() { loaded <- n.load(ctx, name, netRate) }()
	pauseFor(t, netHealthy)
	heal := n.inflict(t, edge, f)
	if edge == "registry" {
		n.newSchema(t.Context(), name)
	}
	pauseFor(t, netSick)
	heal()
	began := time.Now()
	n.schema.Store(0)
	stop()
	sent := <-loaded
	percent = 100 * n.answered(name, sent) / max(sent, 1)
	wait := func(what string, done func() bool) time.Duration {
		for !done() {
			if time.Since(began) > netLimit {
				t.Fatalf("%s: %d of %d requests have a result %s after the fault", what, n.answered(name, sent), sent, netLimit)
			}
			pauseFor(t, 20*time.Millisecond)
		}
		return time.Since(began)
	}
	answered = wait("answering", func() bool { return n.answered(name, sent) == sent })
	recorded = wait("recording", func() bool {
		rows, err := n.recorded(t.Context())
		return err == nil && rows["requests"] >= uint64(n.sent.Load())
	})
	t.Logf("%d requests, %d %% answered during the fault, all of them %.1f s after it, recorded after %.1f s", sent, percent, answered.Seconds(), recorded.Seconds())
	return percent, answered, recorded
}

// inflict begins a fault and returns what ends it.
func (n *network) inflict(t *testing.T, edge string, f netFault) (heal func()) {
	t.Helper()
	if len(f.toxics) > 0 {
		return n.poison(edge, f.toxics...)
	}
	p := n.proxies[edge]
	p.Stop()
	return func() {
		if err := p.Start(); err != nil {
			t.Error(err)
		}
	}
}

// exact compares requests, results, costs and tables.
func (n *network) exact(t *testing.T) {
	t.Helper()
	n.mu.Lock()
	for what, seen := range map[string]map[string]int{"results": n.results, "costs": n.costs} {
		doubled := 0
		for _, times := range seen {
			if times != 1 {
				doubled++
			}
		}
		if doubled > 0 || len(seen) != int(n.sent.Load()) {
			t.Errorf("%d requests have %s, of %d that were sent; %d more than one", len(seen), what, n.sent.Load(), doubled)
		}
	}
	codes := map[string]int{}
	for id, code := range n.failed {
		codes[id[:strings.LastIndexByte(id, '-')]+" "+code]++
	}
	n.mu.Unlock()
	for _, what := range slices.Sorted(maps.Keys(codes)) {
		t.Errorf("failed: %d times %s", codes[what], what)
	}
	want := map[string]uint64{
		"requests": n.records(t, app.TopicResults), "costs": n.records(t, app.TopicCosts), "attempts": n.records(t, app.TopicAttempts), "audit": n.records(t, app.TopicAudit),
	}
	var rows map[string]uint64
	for late := time.Now().Add(time.Minute); time.Now().Before(late) && !maps.Equal(rows, want); pauseFor(t, 100*time.Millisecond) {
		var err error
		if rows, err = n.recorded(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if !maps.Equal(rows, want) {
		t.Errorf("the tables hold %v rows, the topics %v", rows, want)
	}
}
