package replicate

import (
	"net/http"

	"github.com/sira-ai/sira/handlers/provider"
	"github.com/sira-ai/sira/handlers/provider/wire"
	"github.com/sira-ai/sira/schemas"
	"github.com/sira-ai/sira/schemas/jsontext"
)

// Decode implements [provider.Adapter] for the creation of predictions, polls and
// streams. Where a stream was asked for, the job's PollURL leads to the stream,
// and the answer to that is the job once more: what was used is told only with
// the prediction, which is then asked for without emitting its text again.
func (a *Adapter) Decode(res *http.Response, call provider.Call, emit provider.Emit) (*schemas.Response, error) {
	mark := fragment(res)
	if res.StatusCode/100 != 2 {
		if mark != "" && mark != streamed && lost(res.StatusCode) {
			return a.waiting(call, &prediction{id: mark, status: "processing"}, ""), nil
		}
		return nil, a.refusal(res)
	}
	switch {
	case !call.Request.Stream:
		emit = nil
	case mark == streamed && emit != nil:
		emit = ending(emit)
	}
	answer, err := a.read(res, call, emit, mark)
	if err != nil {
		f := schemas.AsFailure(err)
		f.HTTPStatus = res.StatusCode
		if f.UpstreamRequestID == "" {
			f.UpstreamRequestID = res.Header.Get(requestID)
		}
		return nil, f
	}
	answer.UpstreamReqID = res.Header.Get(requestID)
	if answer.Job == nil || answer.Job.State.Done() {
		answer.Warnings = unsaid(call.Request, a.templates.of(call.Model))
	}
	return answer, nil
}

// fragment returns the mark that EncodePoll left on the address.
func fragment(res *http.Response) string {
	if res.Request == nil || res.Request.URL == nil {
		return ""
	}
	return res.Request.URL.Fragment
}

// lost reports whether a stream is gone while its prediction may live on.
func lost(status int) bool {
	return status == http.StatusNotFound || status == http.StatusGone || status >= http.StatusInternalServerError
}

// ending passes on only how an answer ended, for one whose text was emitted
// before.
func ending(emit provider.Emit) provider.Emit {
	return func(c schemas.Chunk) error {
		if c.Type == schemas.ChunkFinish || c.Type == schemas.ChunkUsage {
			return emit(c)
		}
		return nil
	}
}

func (a *Adapter) read(res *http.Response, call provider.Call, emit provider.Emit, mark string) (*schemas.Response, error) {
	switch op := call.Request.Operation(); op {
	case schemas.OpModels:
		return a.models(res)
	case schemas.OpFileUpload, schemas.OpFileGet, schemas.OpFileList, schemas.OpFileDelete:
		return a.files(res, call.Request)
	}
	form, body := wire.Open(res, call.Request.Stream)
	switch form {
	case wire.Events:
		return a.stream(body, call, wire.NewAnswer(emit), mark)
	case wire.JSON:
		b, err := wire.ReadAll(body, res.ContentLength)
		if err != nil {
			return nil, err
		}
		return a.whole(b, call, wire.NewAnswer(emit), mark, polled(res))
	}
	return nil, wire.Malformed("its content type is neither JSON nor an event stream", nil)
}

// polled reports whether the answer came to a question how a job stands.
func polled(res *http.Response) bool {
	return res.Request != nil && res.Request.Method == http.MethodGet
}

// whole reads a prediction.
func (a *Adapter) whole(body []byte, call provider.Call, answer *wire.Answer, mark string, polled bool) (*schemas.Response, error) {
	var p prediction
	c := jsontext.NewCursor(body)
	p.parse(&c)
	if err := c.End(); err != nil {
		return nil, wire.Malformed("it is not the JSON of a prediction", err)
	}
	state, known := states[p.status]
	switch {
	case !known:
		return nil, wire.Malformed("it is no prediction, or in a state that is not known", nil)
	case !state.Done() && !plainID(p.id):
		return nil, wire.Malformed("it is a prediction without an id", nil)
	case !state.Done():
		return a.waiting(call, &p, mark), nil
	case state != schemas.JobSucceeded:
		return nil, a.ended(&p)
	}
	res, err := a.succeeded(&p, call, answer)
	if err != nil {
		return nil, err
	}
	if polled {
		res.Job = &schemas.Job{ID: p.id, State: state}
	}
	return res, nil
}

// states are the vendor's words for how a prediction stands, and a few that
// trainings and older servers use.
var states = map[string]schemas.JobState{
	"starting":   schemas.JobQueued,
	"queued":     schemas.JobQueued,
	"processing": schemas.JobRunning,
	"running":    schemas.JobRunning,
	"succeeded":  schemas.JobSucceeded,
	"successful": schemas.JobSucceeded,
	"failed":     schemas.JobFailed,
	"canceled":   schemas.JobCancelled,
	"cancelled":  schemas.JobCancelled,
	"aborted":    schemas.JobExpired, // by its deadline, before or while it ran
}

// waiting returns the job of a prediction that has not ended.
func (a *Adapter) waiting(call provider.Call, p *prediction, mark string) *schemas.Response {
	job := &schemas.Job{ID: p.id, State: states[p.status], Progress: p.progress, PollAfterMS: a.config.PollMS}
	if job.State == schemas.JobQueued {
		job.PollAfterMS *= 2
	}
	op := call.Request.Operation()
	switch {
	case mark == streamed:
		job.PollURL = a.url("predictions/"+p.id).String() + "#" + streamed
	case call.Request.Stream && p.stream != "" && (op == schemas.OpChat || op == schemas.OpComplete):
		if u, ok := a.streamAt(p.stream); ok {
			job.PollURL, job.PollAfterMS = u, 1 // a stream is read at once
		}
	}
	return &schemas.Response{UpstreamID: p.id, Model: p.name(call.Model), Job: job, Usage: schemas.Usage{Source: schemas.UsageNone}}
}

// ended is the failure of a prediction that ended without an answer. Time that
// was used is billed all the same.
func (a *Adapter) ended(p *prediction) *schemas.Failure {
	var f *schemas.Failure
	switch states[p.status] {
	case schemas.JobCancelled:
		f = a.broke(schemas.Cancelled, p.fault, "the prediction was cancelled")
	case schemas.JobExpired:
		f = a.broke(schemas.Timeout, p.fault, "the prediction was ended by its deadline")
	default:
		f = interpret(a.broke(schemas.Internal, p.fault, "the prediction failed"))
	}
	if u := p.usage(); u.Source == schemas.UsageReported {
		f.Usage = &u
	}
	return f
}

// succeeded puts a prediction's output where the operation has it.
func (a *Adapter) succeeded(p *prediction, call provider.Call, answer *wire.Answer) (*schemas.Response, error) {
	if len(p.output) == 0 || string(p.output) == "null" {
		if p.removed {
			return nil, a.broke(schemas.Expired, "", "the provider has deleted the prediction's output")
		}
		return nil, wire.Malformed("the prediction succeeded without an output", nil)
	}
	usage := p.usage()
	req := call.Request
	if op := req.Operation(); op == schemas.OpChat || op == schemas.OpComplete {
		return a.said(p, call, answer, usage)
	}
	res := &schemas.Response{UpstreamID: p.id, Model: p.name(call.Model), Usage: usage}
	var err error
	switch req.Operation() {
	case schemas.OpEmbed:
		res.Embeddings, err = vectors(p.output, len(req.Embed.Inputs))
	case schemas.OpTranscribe:
		res.Transcript, err = transcript(p.output)
	default:
		res.Media, err = media(p.output)
		if req.Operation() == schemas.OpImage || req.Operation() == schemas.OpImageEdit {
			res.Usage.Units = unit(res.Usage.Units, "images", int64(len(res.Media)))
			res.Usage.Source = schemas.UsageReported
		}
	}
	if err != nil {
		return nil, err
	}
	if res.Usage.Source == "" {
		res.Usage.Source = schemas.UsageEstimated // nothing was said
	}
	return res, nil
}

// said returns a prediction's text, or what else a model that was talked to has
// made, as a choice.
func (a *Adapter) said(p *prediction, call provider.Call, answer *wire.Answer, usage schemas.Usage) (*schemas.Response, error) {
	answer.Begin(p.id, p.name(call.Model))
	answer.Open(only)
	for _, s := range texts(p.output) {
		answer.Text(only, s)
	}
	answer.Finish(only, schemas.Finish{Reason: schemas.FinishStop, Raw: "succeeded"})
	if usage.Source == schemas.UsageReported {
		answer.Use(usage)
	}
	res := answer.Response(call.Request)
	if answer.Err() != nil {
		return nil, answer.Unheard(call.Request)
	}
	return res, nil
}

const only = 0 // the index of the one choice
