package gemini

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"strings"

	"github.com/shopspring/decimal"

	"github.com/sira-ai/sira/handlers/provider"
	"github.com/sira-ai/sira/handlers/provider/wire"
	"github.com/sira-ai/sira/schemas"
	"github.com/sira-ai/sira/schemas/jsontext"
)

// pollAfter is how long to wait before a film is asked for again: the vendor's
// examples ask every ten seconds.
const pollAfter = 10_000

// video starts the making of a film.
func (a *adapter) video(ctx context.Context, call provider.Call) (*http.Request, error) {
	s := call.Request.Video
	b := append([]byte(`{"instances":[`), '{')
	b = jsontext.AppendStringField(b, "prompt", s.Prompt)
	if len(s.Inputs) > 1 {
		return nil, wire.Unsupported("video.inputs", "has more than one entry: this provider begins with one picture or film")
	}
	for i := range s.Inputs {
		m := &s.Inputs[i]
		key := "image"
		if kindOf(mimeOf(m.MIME, m.URL)) == schemas.PartVideo {
			key = "video"
		}
		var why string
		if b, why = picture(jsontext.AppendField(b, key), m); why != "" {
			return nil, wire.Unsupported("video.inputs[0]", why)
		}
	}
	b = append(b, `}],"parameters":{`...)
	b = jsontext.AppendStringField(b, "aspectRatio", s.AspectRatio)
	b = jsontext.AppendStringField(b, "negativePrompt", s.Negative)
	b = jsontext.AppendStringField(b, "resolution", s.Size)
	b = jsontext.AppendFloatField(b, "durationSeconds", s.Seconds)
	b = jsontext.AppendIntField(b, "seed", s.Seed)
	b = append(b, "}}"...)
	if ext := call.Request.Ext[vendor]; len(ext) > 0 {
		var err error
		if b, err = overlay(b, ext); err != nil {
			return nil, err
		}
	}
	return a.post(ctx, a.method(call.Model, "predictLongRunning"), call, b), nil
}

// EncodePoll implements [provider.JobAdapter].
func (a *adapter) EncodePoll(ctx context.Context, call provider.Call, job schemas.Job) (*http.Request, error) {
	if job.ID == "" || strings.Contains(job.ID, "..") || strings.ContainsAny(job.ID, "?# ") {
		return nil, wire.Invalid("job.id", "is no name of an operation")
	}
	if !a.vertex {
		return a.get(ctx, a.at(job.ID)), nil
	}
	body := append(jsontext.AppendString([]byte(`{"operationName":`), job.ID), '}')
	model, _, found := strings.Cut(job.ID, "/operations/")
	if !found {
		model = call.Model
	}
	return a.post(ctx, a.method(model, "fetchPredictOperation"), provider.Call{}, body), nil
}

// EncodeCancel implements [provider.JobAdapter]. The vendor has no way to end the
// making of a film.
func (a *adapter) EncodeCancel(context.Context, provider.Call, schemas.Job) (*http.Request, error) {
	return nil, nil //nolint:nilnil // what the interface says for vendors without one
}

// operation is google.longrunning.Operation with a film in it.
type operation struct {
	Name     string          `json:"name"`
	Done     bool            `json:"done"`
	Error    json.RawMessage `json:"error"`
	Metadata struct {
		State    string         `json:"state"`
		Progress jsontext.Count `json:"progressPercent"`
	} `json:"metadata"`
	Response films `json:"response"`
}

// films are what came of it: the first at AI Studio, the others at Vertex AI.
type films struct {
	Inner *films `json:"generateVideoResponse"`

	Generated []struct {
		Video film `json:"video"`
	} `json:"generatedSamples"`
	Videos   []film   `json:"videos"`
	Filtered count    `json:"raiMediaFilteredCount"`
	Reasons  []string `json:"raiMediaFilteredReasons"`
}

type count = jsontext.Count

type film struct {
	URI     string `json:"uri"`
	GCS     string `json:"gcsUri"`
	Data    string `json:"bytesBase64Encoded"`
	Encoded string `json:"encodedVideo"`
	MIME    string `json:"mimeType"`
}

// filmed reads how the making of a film stands.
func (a *adapter) filmed(res *http.Response, req *schemas.Request) (*schemas.Response, error) {
	var raw json.RawMessage
	if err := a.object(res, &raw); err != nil {
		return nil, err
	}
	var op operation
	if err := json.Unmarshal(raw, &op); err != nil || op.Name == "" {
		return nil, wire.Malformed("it is no operation", err)
	}
	answer := &schemas.Response{UpstreamID: op.Name, Usage: schemas.Usage{Source: schemas.UsageNone}}
	job := &schemas.Job{ID: op.Name, State: schemas.JobQueued, PollAfterMS: pollAfter, Progress: float64(op.Metadata.Progress) / 100}
	answer.Job = job
	switch {
	case len(op.Error) > 0 && string(op.Error) != "null":
		return nil, a.told(op.Error)
	case !op.Done:
		if op.Metadata.Progress > 0 || strings.HasSuffix(op.Metadata.State, "RUNNING") {
			job.State = schemas.JobRunning
		}
		return answer, nil
	}
	job.State, job.PollAfterMS, job.Progress = schemas.JobSucceeded, 0, 1
	made := op.Response
	if made.Inner != nil {
		made = *made.Inner
	}
	for _, g := range made.Generated {
		made.Videos = append(made.Videos, g.Video)
	}
	for _, f := range made.Videos {
		m, err := f.media()
		if err != nil {
			return nil, wire.Malformed("a film is not in base64", err)
		}
		answer.Media = append(answer.Media, m)
	}
	for _, why := range made.Reasons {
		answer.Safety = append(answer.Safety, schemas.Safety{Source: "completion", Category: why, Filtered: true})
	}
	switch {
	case len(answer.Media) > 0:
	case made.Filtered > 0 || len(made.Reasons) > 0:
		return nil, schemas.Fail(schemas.ContentFiltered, "the provider's filter withheld the film", nil)
	default:
		return nil, wire.Malformed("the operation is done but holds no film", nil)
	}
	answer.Usage = billed(len(answer.Media), req.Video)
	return answer, nil
}

func (f *film) media() (schemas.Media, error) {
	m := schemas.Media{MIME: f.MIME, URL: f.URI}
	if m.MIME == "" {
		m.MIME = "video/mp4"
	}
	if m.URL == "" {
		m.URL = f.GCS
	}
	data, err := base64.StdEncoding.DecodeString(f.Data + f.Encoded)
	m.Data = data
	return m, err
}

// billed returns what films cost: seconds, which the vendor does not tell. A
// film has eight unless fewer were asked for.
func billed(n int, s *schemas.VideoSpec) schemas.Usage {
	seconds := decimal.NewFromInt(8)
	if s.Seconds != nil {
		seconds = decimal.NewFromFloat(*s.Seconds)
	}
	u := schemas.Usage{Source: schemas.UsageEstimated, Units: units("videos", int64(n))}
	u.Units["seconds"] = seconds.Mul(decimal.NewFromInt(int64(n)))
	return u
}
