package bestof_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sira-ai/sira/handlers/routing"
	"github.com/sira-ai/sira/handlers/routing/bestof"
	"github.com/sira-ai/sira/handlers/routing/cheapest"
	"github.com/sira-ai/sira/handlers/routing/custom"
	"github.com/sira-ai/sira/handlers/routing/fastest"
	rt "github.com/sira-ai/sira/handlers/routing/routingtest"
)

// The four strategies of measured facts are told apart by one set of facts.
func TestFactsRankTargets(t *testing.T) {
	t.Parallel()
	sources := routing.Sources{
		Prices: rt.Prices{"slow/m": "0.01", "fast/m": "0.08", "flaky/m": "0.02"},
		Health: rt.Health{
			"slow/m":  {Calls: 9, Latency: 4 * time.Second, FirstToken: 100 * time.Millisecond},
			"fast/m":  {Calls: 9, Latency: time.Second, FirstToken: 800 * time.Millisecond},
			"flaky/m": {Calls: 9, Latency: 900 * time.Millisecond, Failures: 0.7},
		},
	}
	tests := []struct {
		name     string
		entry    routing.Entry
		settings string
		want     []string
		note     string
	}{
		{"cheapest", cheapest.Entry, "", []string{"slow/m", "flaky/m", "fast/m", "new/m"}, "about 0.01 USD for"},
		{"cheapest, with a price", cheapest.Entry, `{"only_priced": true}`, []string{"slow/m", "flaky/m", "fast/m"}, ""},
		{"fastest counts failures", fastest.Entry, `{"explore": 0}`, []string{"fast/m", "flaky/m", "slow/m", "new/m"}, "answers in about 1s"},
		{"fastest to begin", fastest.Entry, `{"explore": 0, "by": "first_token"}`, []string{"slow/m", "fast/m", "flaky/m", "new/m"}, "about 100ms"},
		{"best of: twice as dear is as bad as twice as slow", bestof.Entry, `{"weights": {"failures": 2}}`, []string{"slow/m", "fast/m", "new/m", "flaky/m"}, "trade-off +"},
		{"best of price alone", bestof.Entry, `{"weights": {"price": 1, "speed": 0, "failures": 0}}`, []string{"slow/m", "flaky/m", "new/m", "fast/m"}, ""},
		{"custom", custom.Entry, `{"score": "candidate.provider == 'new' ? 1 : -candidate.failures"}`, []string{"new/m", "slow/m", "fast/m", "flaky/m"}, "score 1"},
		{"custom with a least score", custom.Entry, `{"score": "candidate.priced and candidate.price < 0.05 ? 2 : 0", "least": 1}`, []string{"slow/m", "flaky/m"}, ""},
		{"custom that can't be told is last", custom.Entry, `{"score": "candidate.seen ? 1.5 : 0 / (0.0 * hour)"}`, []string{"slow/m", "fast/m", "flaky/m", "new/m"}, ""},
		{"custom by the request", custom.Entry, `{"score": "tenant == 'acme' ? candidate.latency_ms : 0.0"}`, []string{"slow/m", "fast/m", "flaky/m", "new/m"}, ""},
	}
	for _, tt := range tests {
		q := routing.NewQuery(rt.Job("r1"), sources)
		c := rt.Build(t, tt.entry, tt.settings).Rank(q, rt.Targets("new/m", "slow/m", "fast/m", "flaky/m"))
		if diff := cmp.Diff(tt.want, rt.Order(c)); diff != "" || !strings.Contains(q.Notes(&c[0]), tt.note) {
			t.Errorf("%s: note %q: %s", tt.name, q.Notes(&c[0]), diff)
		}
		empty := routing.NewQuery(rt.Job("r1"), routing.Sources{})
		if tt.entry.Kind != custom.Entry.Kind && tt.settings != `{"only_priced": true}` {
			c = rt.Build(t, tt.entry, tt.settings).Rank(empty, rt.Targets("new/m", "slow/m"))
			if diff := cmp.Diff([]string{"new/m", "slow/m"}, rt.Order(c)); diff != "" {
				t.Errorf("%s, nothing known: %s", tt.name, diff)
			}
		}
	}
}

func TestMistakesAreFound(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		entry          routing.Entry
		settings, says string
	}{
		{bestof.Entry, `{"weights": {"price": 0, "speed": 0, "failures": 0}}`, "all are 0"},
		{bestof.Entry, `{"weights": {"price": -1}}`, "weights.price"},
		{cheapest.Entry, `{"output": -1}`, "output"},
		{fastest.Entry, `{"by": "feeling"}`, "first_token"},
		{fastest.Entry, `{"explore": 0.9}`, "explore"},
		{custom.Entry, `{}`, "score"},
		{custom.Entry, `{"score": "candidate.speed"}`, "column"},
	} {
		if got := rt.Check(tt.entry, tt.settings); !strings.Contains(got, tt.says) {
			t.Errorf("%s %s: %q does not say %q", tt.entry.Kind, tt.settings, got, tt.says)
		}
	}
}
