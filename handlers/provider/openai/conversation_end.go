package openai

import (
	"net/http"
	"strconv"

	"github.com/sira-ai/sira/handlers/provider/wire"
	"github.com/sira-ai/sira/schemas"
	"github.com/sira-ai/sira/schemas/jsontext"
)

// end completes the answer with the response as a whole.
func (t *talk) end(r *reply, req *schemas.Request) (*schemas.Response, error) {
	t.answer.Begin(r.id, r.model)
	if f := t.a.failed(r); f != nil {
		t.use(r)
		return nil, t.answer.Broken(req, f)
	}
	if state := jobState(r.status); state != "" {
		return t.pending(r, state), nil
	}
	t.answer.Open(0)
	c := jsontext.NewCursor(r.output)
	if c.Array() {
		for place := 0; c.Item(); place++ {
			var o output
			o.read(c.Raw())
			t.open(place, &o)
			if err := t.close(place, &o); err != nil {
				return nil, t.answer.Broken(req, schemas.AsFailure(err))
			}
		}
	}
	t.use(r)
	if said(r.filters) {
		t.filters.items(r.filters)
		t.filters.into(t.answer)
	}
	t.answer.FinishAs(0, t.finish(r))
	res := t.answer.Response(req)
	if t.answer.Err() != nil {
		return nil, t.answer.Unheard(req)
	}
	res.Warnings = t.a.unsaid(req)
	return res, nil
}

// finish says why the answer ended, which the API tells by its status and what it
// holds.
func (t *talk) finish(r *reply) schemas.Finish {
	f := schemas.Finish{Raw: r.status}
	switch {
	case r.status == "incomplete":
		f.Raw = r.incomplete
		switch r.incomplete {
		case "max_output_tokens", "max_tokens":
			f.Reason = schemas.FinishLength
		case "content_filter":
			f.Reason = schemas.FinishContentFilter
		default:
			f.Reason = schemas.FinishUnknown
		}
	case t.asks:
		f.Reason = schemas.FinishToolCalls
	case t.refused:
		f.Reason = schemas.FinishRefusal
	case r.status == "" || r.status == "completed" || r.status == "complete":
		f.Reason = schemas.FinishStop
	default:
		f.Reason = schemas.FinishUnknown
	}
	return f
}

// jobState is the state of an answer that is still being worked on.
func jobState(status string) schemas.JobState {
	switch status {
	case "queued":
		return schemas.JobQueued
	case "in_progress":
		return schemas.JobRunning
	}
	return ""
}

// answerPollMS is how often an answer in the background is asked about, in
// milliseconds.
const answerPollMS = 2000

// pending is the answer of a job that is not done.
func (t *talk) pending(r *reply, state schemas.JobState) *schemas.Response {
	return &schemas.Response{
		UpstreamID: r.id, Model: r.model,
		Job:   &schemas.Job{ID: r.id, State: state, PollAfterMS: answerPollMS},
		Usage: schemas.Usage{Source: schemas.UsageNone},
	}
}

// failed returns the failure that a response without an answer tells of.
func (a *Adapter) failed(r *reply) *schemas.Failure {
	switch {
	case r.status == "cancelled" || r.status == "canceled":
		f := schemas.Fail(schemas.Cancelled, "the answer was cancelled at the provider", nil)
		f.VendorCode, f.Phase = r.status, schemas.PhaseBody
		return f
	case said(r.failure):
		return a.told(append(append([]byte(`{"error":`), r.failure...), '}'))
	case r.status == "failed":
		f := schemas.Fail(schemas.Internal, "the provider could not answer and does not say why", nil)
		f.Phase = schemas.PhaseBody
		return f
	}
	return nil
}

// use takes in usage with what the tools cost that the vendor ran.
func (t *talk) use(r *reply) {
	if !said(r.usage) {
		return
	}
	u := parseUsage(r.usage)
	u.Tier = r.tier
	toolUsage(&u, r.tools)
	if t.searches > 0 && len(r.tools) == 0 {
		bill(&u, "web_searches", strconv.Itoa(t.searches))
	}
	if t.a.variant.Usage != nil {
		t.a.variant.Usage(&u, r.usage)
	}
	t.answer.Use(u)
}

func toolUsage(u *schemas.Usage, raw []byte) {
	c := jsontext.NewCursor(raw)
	if !c.Object() {
		return
	}
	for c.Key() {
		tool := string(c.Name())
		if !c.Object() {
			continue
		}
		for c.Key() {
			switch name := string(c.Name()); {
			case tool == "web_search" && name == "num_requests":
				bill(u, "web_searches", c.Text())
			case tool == "image_gen" && name == "input_tokens":
				detail(u, "image_gen.input", c.Count())
			case tool == "image_gen" && name == "output_tokens":
				detail(u, "image_gen.output", c.Count())
			default:
				c.Skip()
			}
		}
	}
}

// readCount reads how many tokens a request has.
func (a *Adapter) readCount(res *http.Response) (*schemas.Response, error) {
	body, err := a.object(res)
	if err != nil {
		return nil, err
	}
	n, told := int64(0), false
	c := jsontext.NewCursor(body)
	if c.Object() {
		for c.Key() {
			if string(c.Name()) == "input_tokens" {
				n, told = c.Count(), true
			} else {
				c.Skip()
			}
		}
	}
	if err := c.End(); err != nil || !told {
		return nil, wire.Malformed("it is not the JSON of a count", err)
	}
	return &schemas.Response{Usage: schemas.Usage{InputTokens: n, Source: schemas.UsageReported}}, nil
}
