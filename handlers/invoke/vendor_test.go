package invoke

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sira-ai/sira/handlers/balance"
	"github.com/sira-ai/sira/handlers/provider"
	"github.com/sira-ai/sira/pipeline"
	"github.com/sira-ai/sira/schemas"
)

// vendor stands for a provider in the outside world. answer is called for each
// call with its number, from 1.
type vendor struct {
	answer func(ctx context.Context, n int, call provider.Call, emit provider.Emit) (*schemas.Response, error)

	mu    sync.Mutex
	times []time.Time
	keys  []string
}

func (v *vendor) Infer(ctx context.Context, call provider.Call, emit provider.Emit) (*schemas.Response, error) {
	v.mu.Lock()
	v.times = append(v.times, time.Now())
	v.keys = append(v.keys, call.IdempotencyKey)
	n := len(v.times)
	v.mu.Unlock()
	return v.answer(ctx, n, call, emit)
}

func (v *vendor) calls() int {
	v.mu.Lock()
	defer v.mu.Unlock()
	return len(v.times)
}

// gaps are the times between calls.
func (v *vendor) gaps() []time.Duration {
	var out []time.Duration
	for i := 1; i < len(v.times); i++ {
		out = append(out, v.times[i].Sub(v.times[i-1]))
	}
	return out
}

func answerOK() *schemas.Response {
	return &schemas.Response{
		Model:   "m",
		Choices: []schemas.Choice{{Message: schemas.TextMessage(schemas.RoleAssistant, "hi"), Finish: schemas.Finish{Reason: schemas.FinishStop}}},
		Usage:   schemas.Usage{InputTokens: 3, OutputTokens: 1, Source: schemas.UsageReported},
	}
}

func good() *vendor {
	return &vendor{answer: func(context.Context, int, provider.Call, provider.Emit) (*schemas.Response, error) {
		return answerOK(), nil
	}}
}

// failing fails its first n calls, then answers; n < 0 fails for ever.
func failing(n int, f schemas.Failure) *vendor {
	return &vendor{answer: func(_ context.Context, i int, _ provider.Call, _ provider.Emit) (*schemas.Response, error) {
		if n < 0 || i <= n {
			copied := f
			return nil, &copied
		}
		return answerOK(), nil
	}}
}

// hanging answers nothing until it is cut off.
func hanging() *vendor {
	return &vendor{answer: func(ctx context.Context, _ int, _ provider.Call, _ provider.Emit) (*schemas.Response, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	}}
}

func text(s string) schemas.Chunk { return schemas.Chunk{Type: schemas.ChunkText, Text: s} }

// streaming says start, "h", "i", finish at pace and answers; at piece
// hangAt, from 0, it says nothing more until it is cut off.
func streaming(pace time.Duration, hangAt int) *vendor {
	return &vendor{answer: func(ctx context.Context, _ int, _ provider.Call, emit provider.Emit) (*schemas.Response, error) {
		pieces := []schemas.Chunk{
			{Type: schemas.ChunkStart, Model: "m"},
			text("h"), text("i"),
			{Type: schemas.ChunkFinish, Finish: &schemas.Finish{Reason: schemas.FinishStop}},
		}
		for i, c := range pieces {
			if i == hangAt {
				<-ctx.Done()
				return nil, ctx.Err()
			}
			if err := emit(c); err != nil {
				return nil, err
			}
			if err := pause(ctx, pace); err != nil {
				return nil, err
			}
		}
		return answerOK(), nil
	}}
}

// turns gives every endpoint its turn: which of them is asked is not what these
// tests are about, and the real balancers are behind another door.
type turns struct{ n atomic.Int64 }

func (b *turns) Pick(_ uint64, endpoints []*balance.Endpoint) *balance.Endpoint {
	return endpoints[int(b.n.Add(1)-1)%len(endpoints)]
}

// setup is a stage over named vendors, each with the given number of keys.
type setup struct {
	*Stage
	pools   map[string]*Pool
	changes []balance.Change
}

func build(t testing.TB, edit func(*Config), vendors map[string]provider.Provider, keys int) *setup {
	t.Helper()
	s := &setup{pools: make(map[string]*Pool)}
	for name, v := range vendors {
		var endpoints []balance.EndpointConfig
		for i := range keys {
			id := fmt.Sprintf("%s-%d", name, i)
			endpoints = append(endpoints, balance.EndpointConfig{ID: id, Key: id, Caller: v})
		}
		p, err := NewPool(name, "fake", balance.Defaults(), new(turns), endpoints, func(c balance.Change) { s.changes = append(s.changes, c) })
		if err != nil {
			t.Fatal(err)
		}
		s.pools[name] = p
	}
	c := Defaults()
	if edit != nil {
		edit(&c)
	}
	stage, err := New(c, s.pools, Limits{})
	if err != nil {
		t.Fatal(err)
	}
	s.Stage = stage
	return s
}

type order struct {
	*pipeline.Job
	chunks []schemas.Chunk
}

// ask returns a job for the providers in order that has an hour.
func ask(providers ...string) *order {
	o := &order{}
	req := &schemas.Request{ID: "r1", Tenant: "acme", Model: "chat"}
	o.Job = &pipeline.Job{
		Request: req, Outgoing: req, Deadline: time.Now().Add(time.Hour),
		Emit: func(c schemas.Chunk) { o.chunks = append(o.chunks, c) },
	}
	for _, p := range providers {
		o.Targets = append(o.Targets, schemas.Target{Provider: p, Model: "m"})
	}
	return o
}

func (o *order) streamed() *order {
	o.Request.Stream = true
	return o
}

func (o *order) story() []string {
	var out []string
	for _, a := range o.Attempts {
		out = append(out, fmt.Sprintf("%d %s %s %s", a.Number, a.Target.Provider, a.Reason, a.Outcome))
	}
	return out
}

func (o *order) pieces() string {
	var out []string
	for _, c := range o.chunks {
		out = append(out, fmt.Sprintf("%d.%d:%s", c.Attempt, c.Seq, c.Type))
	}
	return strings.Join(out, " ")
}

func failure(t *testing.T, err error) *schemas.Failure {
	t.Helper()
	f, ok := errors.AsType[*schemas.Failure](err)
	if !ok {
		t.Fatalf("got error %v, want a failure", err)
	}
	return f
}
