package integration

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/sira-ai/sira/handlers/simulate"
	"github.com/sira-ai/sira/schemas"
)

// faultRow is a row of the table in docs/resilience.md.
type faultRow struct {
	name   string
	fault  string // of the simulator
	how    simulate.Fault
	slow   bool // takes seconds: only in the whole suite
	whole  expected
	stream expected
}

// expected is what becomes of a request.
type expected struct {
	story string // of its attempts
	code  schemas.Code
	least time.Duration // it may not take less, such as a Retry-After
	most  time.Duration
}

func faultRows() []faultRow {
	const (
		again     = "primary first %s, primary retry ok"
		elsewhere = "primary first %s, fallback fallback ok"
		both      = "primary first %s, primary retry %s, fallback fallback ok"
	)
	say := func(format string, code schemas.Code) string {
		return strings.ReplaceAll(format, "%s", string(code))
	}
	same := func(name, fault string, how simulate.Fault, e expected) faultRow {
		return faultRow{name: name, fault: fault, how: how, whole: e, stream: e}
	}
	rows := []faultRow{
		same("429-retry-after", "429", simulate.Fault{Times: 1, RetryAfter: simulate.Duration(time.Second)},
			expected{story: say(again, schemas.RateLimited), least: time.Second, most: 3 * time.Second}),
		same("429-for-ever", "429", simulate.Fault{RetryAfter: simulate.Duration(time.Second)},
			expected{story: "primary first rate_limited, primary retry rate_limited, primary retry rate_limited, fallback fallback ok", least: 2 * time.Second, most: 5 * time.Second}),
		same("429-for-long", "429", simulate.Fault{RetryAfter: simulate.Duration(time.Minute)},
			expected{story: say(elsewhere, schemas.RateLimited), most: time.Second}),
		same("500-once", "500", simulate.Fault{Times: 1}, expected{story: say(again, schemas.Internal), most: 2 * time.Second}),
		same("503-for-ever", "503", simulate.Fault{}, expected{story: say(both, schemas.Overloaded), most: 2 * time.Second}),
		same("529-for-ever", "529", simulate.Fault{}, expected{story: say(both, schemas.Overloaded), most: 2 * time.Second}),
		same("no-money", "quota", simulate.Fault{}, expected{story: say(elsewhere, schemas.QuotaExhausted), most: time.Second}),
		same("key-refused", "auth", simulate.Fault{}, expected{story: say(elsewhere, schemas.Auth), most: time.Second}),
		same("reset", "reset", simulate.Fault{}, expected{story: say(both, schemas.Network), most: 2 * time.Second}),
		same("context-length", "context", simulate.Fault{}, expected{story: say(elsewhere, schemas.ContextLength), most: time.Second}),
		same("content-filter", "policy", simulate.Fault{}, expected{story: "primary first content_filtered", code: schemas.ContentFiltered, most: time.Second}),
		{
			name: "cut", fault: "cut",
			whole:  expected{story: say(both, schemas.Network), most: 2 * time.Second},
			stream: expected{story: say(both, schemas.StreamInterrupted), most: 2 * time.Second},
		},
		{
			name: "malformed", fault: "malformed",
			whole:  expected{story: say(both, schemas.MalformedResponse), most: 2 * time.Second},
			stream: expected{story: say(both, schemas.MalformedResponse), most: 2 * time.Second},
		},
		{
			name: "no-terminator", fault: "no-end",
			whole:  expected{story: say(both, schemas.MalformedResponse), most: 2 * time.Second},
			stream: expected{story: say(both, schemas.StreamInterrupted), most: 2 * time.Second},
		},
		{
			name: "error-in-stream", fault: "stream-error",
			whole:  expected{story: say(both, schemas.Internal), most: 2 * time.Second},
			stream: expected{story: say(both, schemas.Internal), most: 2 * time.Second},
		},
		{
			name: "silence", fault: "silence", slow: true,
			whole:  expected{story: say(elsewhere, schemas.Timeout), most: 5 * time.Second},
			stream: expected{story: say(elsewhere, schemas.Timeout), most: 3 * time.Second},
		},
		{
			name: "slow-first-token", fault: "slow", how: simulate.Fault{Latency: simulate.Duration(time.Minute)}, slow: true,
			whole:  expected{story: say(elsewhere, schemas.Timeout), most: 5 * time.Second},
			stream: expected{story: say(elsewhere, schemas.Timeout), most: 3 * time.Second},
		},
		{
			name: "stall", fault: "stall", slow: true,
			whole:  expected{story: say(elsewhere, schemas.Timeout), most: 5 * time.Second},
			stream: expected{story: say(both, schemas.StreamInterrupted), most: 5 * time.Second},
		},
	}
	return rows
}

// Behaviour under fault, through Kafka: in every row the requester gets the whole
// answer or one clear error, attempts are bounded, and the next request is served
// at once.
func TestBehaviourUnderFault(t *testing.T) {
	var rows []faultRow
	var names []string
	for _, r := range faultRows() {
		if r.slow && os.Getenv("SIRA_INTEGRATION") == "" {
			continue
		}
		r.how.Share = 1
		rows = append(rows, r)
		names = append(names, r.name+"-whole", r.name+"-stream")
	}
	g := newGateway(t, names, nil)
	t.Run("rows", func(t *testing.T) {
		for _, r := range rows {
			for _, stream := range []bool{false, true} {
				model, want := r.name+"-whole", r.whole
				if stream {
					model, want = r.name+"-stream", r.stream
				}
				t.Run(model, func(t *testing.T) {
					t.Parallel()
					g.fault(t, model, stream, r, want)
				})
			}
		}
	})
}

func (g *gateway) fault(t *testing.T, model string, stream bool, r faultRow, want expected) {
	t.Helper()
	g.simulate(t, model+"-primary", simulate.Behaviour{Faults: map[string]simulate.Fault{r.fault: r.how}})
	began := time.Now()
	g.send(t, question(model, model, stream))
	res, chunks := g.answer(t, model, stream, 30*time.Second)
	took := time.Since(began)
	if got := story(&res); got != want.story {
		t.Errorf("attempts: %s\nwant: %s", got, want.story)
	}
	if took < want.least || took > want.most+2*time.Second { // two cores may be busy
		t.Errorf("it took %s, want %s to %s", took, want.least, want.most)
	}
	g.outcome(t, &res, chunks, want.code)
	g.healthyAfter(t, model, stream)
	t.Logf("%s: %s, %s", model, took.Round(10*time.Millisecond), story(&res))
}

// outcome checks that there is an answer, whole and paid for once, or one error.
func (g *gateway) outcome(t *testing.T, res *schemas.Result, chunks []schemas.Chunk, code schemas.Code) {
	t.Helper()
	g.mu.Lock()
	cost := g.costs[res.RequestID]
	g.mu.Unlock()
	completions := 0
	for _, l := range cost.Lines {
		if l.Kind == schemas.LineUsage {
			completions++
		}
	}
	if code == "" {
		if res.Status != schemas.Succeeded {
			t.Fatalf("failed: %+v", res.Failure)
		}
		if wrong := whole(res, chunks); wrong != "" {
			t.Error(wrong)
		}
		if completions != 1 {
			t.Errorf("%d completions are paid for", completions)
		}
		return
	}
	if res.Failure == nil || res.Failure.Code != code || res.Failure.Message == "" || res.Response != nil {
		t.Errorf("failure %+v, response %v; want one clear %s", res.Failure, res.Response, code)
	}
	if completions != 0 {
		t.Errorf("%d completions are paid for", completions)
	}
	if n := len(chunks); n > 0 && (chunks[n-1].Failure == nil || chunks[n-1].Failure.Code != code) {
		t.Errorf("the stream ends with %+v", chunks[n-1])
	}
}

// healthyAfter takes the fault away and asks once more, at once.
func (g *gateway) healthyAfter(t *testing.T, model string, stream bool) {
	t.Helper()
	g.simulate(t, model+"-primary", simulate.Behaviour{})
	id := model + "-after"
	began := time.Now()
	g.send(t, question(id, model, stream))
	res, chunks := g.answer(t, id, stream, 30*time.Second)
	if took := time.Since(began); took > 3*time.Second {
		t.Errorf("the healthy request after it took %s", took)
	}
	g.outcome(t, &res, chunks, "")
}

// Content that a model stopped for its content is an answer, and says so.
func TestAFilteredAnswerSaysSo(t *testing.T) {
	g := newGateway(t, []string{"filter"}, nil)
	g.simulate(t, "filter-primary", simulate.Behaviour{Faults: map[string]simulate.Fault{"filter": {Share: 1}}})
	for _, stream := range []bool{false, true} {
		id := fmt.Sprintf("filter-%v", stream)
		g.send(t, question(id, "filter", stream))
		res, chunks := g.answer(t, id, stream, 30*time.Second)
		g.outcome(t, &res, chunks, "")
		if reason := res.Response.Choices[0].Finish.Reason; reason != schemas.FinishContentFilter || len(res.Attempts) != 1 {
			t.Errorf("finish %s after %s", reason, story(&res))
		}
	}
}
