package replay_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/sira-ai/sira/handlers/routing"
	"github.com/sira-ai/sira/handlers/routing/fastest"
	"github.com/sira-ai/sira/handlers/routing/priority"
	"github.com/sira-ai/sira/handlers/routing/replay"
	rt "github.com/sira-ai/sira/handlers/routing/routingtest"
	"github.com/sira-ai/sira/handlers/routing/weighted"
	"github.com/sira-ai/sira/pipeline/catalog"
)

func TestTracesOfSeveralFormsAreRead(t *testing.T) {
	t.Parallel()
	want := []replay.Arrival{{Input: 374, Output: 44}, {At: 4250 * time.Millisecond, Input: 396, Output: 109}}
	for name, text := range map[string]string{
		"Azure":    "TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:15:46.5000000,374,44\n2023-11-16 18:15:50.7500000,396,109\n",
		"BurstGPT": "Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type\n5,,374,44,418,Conversation log\n9.25,,396,109,505,Conversation log\n",
		"JSON":     "{\"time\": 9.25, \"input_tokens\": 396, \"output_tokens\": 109}\n\n{\"time\": 5, \"input_tokens\": 374, \"output_tokens\": 44, \"other\": 1}\n",
		"dates":    "{\"time\": \"2026-11-23T14:00:00Z\", \"input\": 374, \"output\": 44}\n{\"time\": \"2026-11-23T14:00:04.25Z\", \"input\": 396, \"output\": 109}\n",
	} {
		got, err := replay.ReadTrace(strings.NewReader(text), 0)
		if diff := cmp.Diff(want, got); err != nil || diff != "" {
			t.Errorf("%s: %v %s", name, err, diff)
		}
	}
	if got, err := replay.ReadTrace(strings.NewReader("time,input,output\n1,1,1\n2,2,2\n3,3,3\n"), 2); err != nil || len(got) != 2 {
		t.Errorf("limit: %d arrivals, %v", len(got), err)
	}
}

func TestMistakesInATraceSayWhere(t *testing.T) {
	t.Parallel()
	for text, says := range map[string]string{
		"": "empty", "a,b\n1,2\n": "no column for time", "time,input,output\n": "no request", "time,input,output\nnow,1,1\n": "request 1",
		"time,input,output\n1,1,1\n2,-1,1\n": "request 2", "{\"time\": 1}\n{": "request 2", "{\"input\": 1}\n": "no time", "{\"time\": 1, \"input\": []}": "tokens",
	} {
		if _, err := replay.ReadTrace(strings.NewReader(text), 0); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%q: %v does not say %q", text, err, says)
		}
	}
}

func FuzzReadTrace(f *testing.F) {
	f.Add("TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:15:46.5,374,44\n")
	f.Add("{\"time\": 5, \"input_tokens\": 374, \"output_tokens\": 44}\n")
	f.Add("time,input,output\n1e300,1e6,\"\n")
	f.Fuzz(func(t *testing.T, text string) {
		got, err := replay.ReadTrace(strings.NewReader(text), 100)
		if err == nil && (len(got) == 0 || got[0].At != 0) {
			t.Fatalf("%q: %v", text, got)
		}
		for i := 1; i < len(got); i++ {
			if got[i].At < got[i-1].At || got[i].Input < 0 || got[i].Output < 0 {
				t.Fatalf("%q: %v", text, got)
			}
		}
	})
}

func simulate(t *testing.T, e routing.Entry, seed uint64) *replay.Outcome {
	t.Helper()
	measured := new(routing.Measured)
	prices := rt.Prices{"a/m": "0.001", "b/m": "0.003"}
	r, err := routing.New(routing.Config{
		Models: []routing.ModelConfig{{Name: "chat", Targets: []routing.TargetConfig{{Provider: "a", Model: "m"}, {Provider: "b", Model: "m", Priority: 1}}}},
		Routes: []routing.RouteConfig{{Name: "x", Strategy: e.Kind}}, Sources: routing.Sources{Prices: prices, Health: measured},
	}, catalog.New("strategy", priority.Entry, e), catalog.Env{})
	if err != nil {
		t.Fatal(err)
	}
	sick, err := routing.ParseSelector("a")
	if err != nil {
		t.Fatal(err)
	}
	var arrivals []replay.Arrival
	for i := range 3000 {
		arrivals = append(arrivals, replay.Arrival{At: time.Duration(i) * 200 * time.Millisecond, Input: 100, Output: 50})
	}
	w := replay.World{Seed: seed, Start: rt.Now(), Degraded: []replay.Degradation{{Target: sick, From: 0.3, To: 0.6, Slower: 10, Failures: 0.5}}}
	out, err := replay.Run(e.Kind, r, measured, prices, w, "chat", arrivals)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func TestARunCanBeRepeatedAndTheSeedCounts(t *testing.T) {
	t.Parallel()
	one, again, other := simulate(t, weighted.Entry, 1), simulate(t, weighted.Entry, 1), simulate(t, weighted.Entry, 2)
	if diff := cmp.Diff(one, again); diff != "" {
		t.Error(diff)
	}
	if cmp.Equal(one, other) {
		t.Error("another seed gave the same outcome")
	}
}

func TestAPolicyThatMeasuresLeavesADegradedTarget(t *testing.T) {
	t.Parallel()
	blind, seeing := simulate(t, weighted.Entry, 1), simulate(t, fastest.Entry, 1)
	if seeing.P99 >= blind.P99*3/4 || seeing.Fallback >= blind.Fallback/2 {
		t.Errorf("p99 %s against %s, fell over %d against %d", seeing.P99, blind.P99, seeing.Fallback, blind.Fallback)
	}
	if blind.Requests != 3000 || blind.First["a/m"]+blind.First["b/m"] != 3000 || blind.Unpriced != 0 {
		t.Errorf("outcome %+v", blind)
	}
	// Each answer costs 0.001 or 0.003; all are answered but those counted failed.
	if got := blind.Cost["USD"].InexactFloat64(); got < 0.001*float64(3000-blind.Failed) || got > 0.003*3000 {
		t.Errorf("cost %v", got)
	}
}

func ExampleReadTrace() {
	arrivals, err := replay.ReadTrace(strings.NewReader("time,input_tokens,output_tokens\n0,120,40\n1.5,80,10\n"), 0)
	fmt.Println(len(arrivals), arrivals[1].At, err)
	// Output: 2 1.5s <nil>
}
