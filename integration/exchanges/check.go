package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/sira-ai/sira/handlers/provider"
	"github.com/sira-ai/sira/schemas"
)

// vendor is how the recordings of one provider are replayed and read.
type vendor struct {
	// operations maps the recordings' names to ours. What is not in it is listed as
	// not in Sira. It may look at the exchange, since some vendors name things by
	// path; "" is not in Sira.
	operation func(x *exchange) schemas.Operation
	// build returns the provider under test, which sends everything by client.
	build func(x *exchange, op schemas.Operation, client *http.Client) (provider.Provider, error)
	// read works out what the body says, without the adapter.
	read func(x *exchange, op schemas.Operation) (reading, error)
	// request, which may be nil, changes the request before it is sent.
	request func(x *exchange, req *schemas.Request)
}

// reading is what matters of an answer. -1 and nil are "not said", which is not
// compared.
type reading struct {
	Code      schemas.Code // of the failure; "" for an answer
	Texts     []string     // of each choice, in order of index
	Refusals  []string
	Reasoning []string
	Calls     []call // of all choices, in order
	Finish    []schemas.FinishReason

	Input, Output, CacheRead, CacheWrite, Thought int64

	Vectors, Ranks, Media, Moderations, Models, Files int
	Transcript                                        *string
	Job                                               schemas.JobState
}

// call is a tool call; arguments are compared as JSON where they are JSON.
type call struct {
	Name, Arguments string
}

// unsaid returns a reading of which nothing is compared yet.
func unsaid() reading {
	return reading{
		Input: -1, Output: -1, CacheRead: -1, CacheWrite: -1, Thought: -1,
		Vectors: -1, Ranks: -1, Media: -1, Moderations: -1, Models: -1, Files: -1,
	}
}

// refusal returns the reading of a failure.
func refusal(code schemas.Code) (reading, error) {
	r := unsaid()
	r.Code = code
	return r, nil
}

// errUnreadable says that a recording is broken, so that nothing can be compared:
// the adapter must refuse it and not fall over.
var errUnreadable = errors.New("the recording is broken")

// check replays x. as is Sira's operation, "" where there is none; wrong is what
// the adapter got wrong.
func check(x *exchange) (as string, wrong []string, err error) {
	v, ok := vendors()[x.Provider]
	if !ok {
		return "", nil, nil
	}
	op := v.operation(x)
	if op == "" {
		return "", nil, nil
	}
	p, err := v.build(x, op, &http.Client{Transport: x})
	if err != nil {
		return "", nil, err
	}
	want, err := v.read(x, op)
	broken := errors.Is(err, errUnreadable)
	if err != nil && !broken {
		return "", nil, err
	}
	req := sample(op, x.Stream)
	if v.request != nil {
		v.request(x, req)
	}
	var chunks []schemas.Chunk
	var emit provider.Emit
	if x.Stream {
		emit = func(c schemas.Chunk) error { chunks = append(chunks, c); return nil }
	}
	model := x.Model
	if model == "" {
		model = "model"
	}
	res, err := p.Infer(context.Background(), provider.Call{Request: req, Model: model}, emit)
	if broken {
		if err == nil {
			wrong = append(wrong, "a broken recording was read as an answer")
		}
		return string(op), wrong, nil
	}
	got := took(res, err, want)
	if diff := cmp.Diff(want, got, cmpopts.EquateEmpty(), cmp.Comparer(sameCall)); diff != "" {
		wrong = append(wrong, "(-said +read)\n"+diff)
	}
	if err == nil && len(chunks) > 0 {
		wrong = append(wrong, disorder(chunks)...)
	}
	return string(op), wrong, nil
}

func sameCall(a, b call) bool {
	if a.Name != b.Name {
		return false
	}
	var x, y any
	if json.Unmarshal([]byte(a.Arguments), &x) == nil && json.Unmarshal([]byte(b.Arguments), &y) == nil {
		return cmp.Equal(x, y)
	}
	return a.Arguments == b.Arguments
}

// took puts what the adapter returned into the form of want, leaving out what
// want does not say.
func took(res *schemas.Response, err error, want reading) reading {
	r := unsaid()
	if err != nil {
		r.Code = schemas.AsFailure(err).Code
		if want.Code == "" { // show what was expected against the failure
			r.Texts = []string{"failure: " + schemas.AsFailure(err).Message}
		}
		return r
	}
	for _, c := range res.Choices {
		var text, refused, thought string
		for _, p := range c.Message.Parts {
			switch p.Kind {
			case schemas.PartText:
				text += p.Text
			case schemas.PartRefusal:
				refused += p.Text
			case schemas.PartReasoning:
				thought += p.Reasoning.Text
			case schemas.PartToolCall:
				if want.Calls != nil {
					r.Calls = append(r.Calls, call{p.ToolCall.Name, p.ToolCall.Arguments})
				}
			}
		}
		add(&r.Texts, want.Texts, text)
		add(&r.Refusals, want.Refusals, refused)
		add(&r.Reasoning, want.Reasoning, thought)
		add(&r.Finish, want.Finish, c.Finish.Reason)
	}
	u := res.Usage
	for _, n := range []struct {
		to        *int64
		want, got int64
	}{
		{&r.Input, want.Input, u.InputTokens},
		{&r.Output, want.Output, u.OutputTokens},
		{&r.CacheRead, want.CacheRead, u.CacheReadTokens},
		{&r.CacheWrite, want.CacheWrite, u.CacheWriteTokens},
		{&r.Thought, want.Thought, u.ReasoningTokens},
	} {
		if n.want >= 0 {
			*n.to = n.got
		}
	}
	for _, n := range []struct {
		to        *int
		want, got int
	}{
		{&r.Vectors, want.Vectors, len(res.Embeddings)},
		{&r.Ranks, want.Ranks, len(res.Ranks)},
		{&r.Media, want.Media, len(res.Media)},
		{&r.Moderations, want.Moderations, len(res.Moderations)},
		{&r.Models, want.Models, len(res.Models)},
		{&r.Files, want.Files, len(res.Files)},
	} {
		if n.want >= 0 {
			*n.to = n.got
		}
	}
	if want.Transcript != nil && res.Transcript != nil {
		r.Transcript = &res.Transcript.Text
	}
	if want.Job != "" && res.Job != nil {
		r.Job = res.Job.State
	}
	return r
}

func add[T any](to *[]T, want []T, v T) {
	if want != nil {
		*to = append(*to, v)
	}
}

// disorder says what is wrong with the order of a stream's chunks.
func disorder(chunks []schemas.Chunk) []string {
	var wrong []string
	finished := make(map[int]bool)
	for i, c := range chunks {
		switch {
		case (c.Type == schemas.ChunkStart) != (i == 0):
			wrong = append(wrong, fmt.Sprintf("chunk %d is %s", i, c.Type))
		case c.Type == schemas.ChunkFinish && finished[c.Choice]:
			wrong = append(wrong, fmt.Sprintf("chunk %d finishes choice %d again", i, c.Choice))
		case c.Type == schemas.ChunkFinish:
			finished[c.Choice] = true
		}
	}
	return wrong
}
