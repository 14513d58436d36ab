package together

import (
	"bytes"
	"context"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/shopspring/decimal"

	"github.com/sira-ai/sira/handlers/provider"
	"github.com/sira-ai/sira/handlers/provider/wire"
	"github.com/sira-ai/sira/schemas"
	"github.com/sira-ai/sira/schemas/jsontext"
)

const pathVideos = "videos"

// pollMS is how often a film is asked about, in milliseconds: it takes minutes.
const pollMS = 10_000

// video returns the JSON of a request for a film, which is made as a job.
func video(call provider.Call) ([]byte, error) {
	v := call.Request.Video
	if v.AspectRatio != "" {
		return nil, wire.Unsupported("video.aspect_ratio", "is not known to this provider: give video.size")
	}
	width, height, err := dimensions(nil, nil, v.Size, "video.size")
	if err != nil {
		return nil, err
	}
	b := append(make([]byte, 0, 256+len(v.Prompt)), '{')
	b = jsontext.AppendString(jsontext.AppendField(b, "model"), call.Model)
	b = jsontext.AppendStringField(b, "prompt", v.Prompt)
	b = jsontext.AppendStringField(b, "negative_prompt", v.Negative)
	if v.Seconds != nil { // a text, as at OpenAI
		b = jsontext.AppendStringField(b, "seconds", strconv.FormatFloat(*v.Seconds, 'f', -1, 64))
	}
	b = jsontext.AppendIntField(b, "width", width)
	b = jsontext.AppendIntField(b, "height", height)
	b = jsontext.AppendIntField(b, "seed", v.Seed)
	if len(v.Inputs) > 0 {
		if b, err = addresses(jsontext.AppendField(b, "reference_images"), v.Inputs, "video.inputs"); err != nil {
			return nil, err
		}
	}
	return extended(append(b, '}'), call.Request, "model", "prompt")
}

// EncodePoll implements [provider.JobAdapter].
func (a *adapter) EncodePoll(ctx context.Context, call provider.Call, job schemas.Job) (*http.Request, error) {
	return a.Get(ctx, call, pathVideos+"/"+url.PathEscape(job.ID))
}

// EncodeCancel implements [provider.JobAdapter]. The vendor has nothing of the
// sort.
func (a *adapter) EncodeCancel(context.Context, provider.Call, schemas.Job) (*http.Request, error) {
	return nil, nil //nolint:nilnil // as the interface says
}

// film reads how a film comes on.
func (a *adapter) film(res *http.Response, call provider.Call) (*schemas.Response, error) {
	if form, _ := wire.Open(res, false); form != wire.JSON {
		return nil, wire.Malformed("its content type is not JSON", nil)
	}
	body, err := wire.ReadAll(res.Body, res.ContentLength)
	if err != nil {
		return nil, err
	}
	var v filmJob
	if err := v.parse(body); err != nil {
		return nil, wire.Malformed("it is not the JSON of a video", err)
	}
	job := schemas.Job{ID: v.id, PollAfterMS: pollMS}
	switch v.status {
	case "queued", "pending":
		job.State = schemas.JobQueued
	case "in_progress", "processing", "running":
		job.State = schemas.JobRunning
	case "completed", "succeeded":
		if v.url == "" {
			return nil, wire.Malformed("the film is complete, but it has no address", nil)
		}
		return v.answer(call), nil
	case "cancelled", "canceled":
		return nil, schemas.Fail(schemas.Cancelled, "the film was cancelled at the provider", nil)
	default:
		if v.status != "failed" && v.failure == nil {
			return nil, wire.Malformed("it has no status that is known", nil)
		}
		f := wire.Told(wire.ParseError(v.failure), a.secret)
		f.Code, f.Phase = schemas.Internal, schemas.PhaseBody
		if f.Message == "" {
			f.Message = "the provider could not make the film"
		}
		return nil, f
	}
	if job.ID == "" {
		return nil, wire.Malformed("it has no id", nil)
	}
	return &schemas.Response{UpstreamID: v.id, Model: v.named(call), Job: &job, Usage: schemas.Usage{Source: schemas.UsageNone}}, nil
}

type filmJob struct {
	id, model, status string
	seconds, url      string
	outputs, failure  []byte
}

func (v *filmJob) parse(body []byte) error {
	c := jsontext.NewCursor(body)
	if c.Object() {
		for c.Key() {
			switch string(c.Name()) {
			case "id":
				v.id = c.Text()
			case "model":
				v.model = c.Text()
			case "status":
				v.status = strings.ToLower(c.Text())
			case "seconds":
				v.seconds = c.Text()
			case "outputs":
				v.outputs = c.Raw()
				v.url = film(v.outputs)
			case "error":
				if raw := c.Raw(); len(raw) > 0 && string(raw) != "null" {
					v.failure = raw
				}
			default:
				c.Skip()
			}
		}
	}
	return c.End()
}

// film returns the address of the film in the outputs of a job.
func film(outputs []byte) string {
	c := jsontext.NewCursor(outputs)
	address := ""
	if c.Object() {
		for c.Key() {
			if string(c.Name()) == "video_url" {
				address = c.Text()
			} else {
				c.Skip()
			}
		}
	}
	return address
}

func (v *filmJob) named(call provider.Call) string {
	if v.model == "" {
		return call.Model
	}
	return v.model
}

// answer returns the film. What it cost in dollars is among the outputs, in Raw.
func (v *filmJob) answer(call provider.Call) *schemas.Response {
	u := schemas.Usage{
		Source: schemas.UsageReported, Raw: bytes.Clone(v.outputs),
		Units: map[string]decimal.Decimal{"videos": decimal.NewFromInt(1)},
	}
	if n, err := decimal.NewFromString(v.seconds); err == nil && n.IsPositive() && n.Exponent() > -9 && n.Exponent() < 9 {
		u.Units["seconds"] = n
	}
	return &schemas.Response{
		UpstreamID: v.id, Model: v.named(call), Usage: u,
		Media: []schemas.Media{{MIME: "video/mp4", URL: v.url}},
		Job:   &schemas.Job{ID: v.id, State: schemas.JobSucceeded, Progress: 1},
	}
}
