package openai

import (
	"bytes"
	"context"
	"io"
	"mime"
	"net/http"
	"strconv"
	"strings"

	"github.com/sira-ai/sira/handlers/provider"
	"github.com/sira-ai/sira/handlers/provider/wire"
	"github.com/sira-ai/sira/schemas"
	"github.com/sira-ai/sira/schemas/jsontext"
)

// encodeVideo asks for a film, which the vendor makes as a job.
func (a *Adapter) encodeVideo(ctx context.Context, call provider.Call) (*http.Request, error) {
	v := call.Request.Video
	switch {
	case v.Negative != "":
		return nil, wire.Unsupported("video.negative_prompt", "is not known to this provider: say it in the prompt")
	case v.AspectRatio != "":
		return nil, wire.Unsupported("video.aspect_ratio", "is not known to this provider: give video.size")
	case len(v.Inputs) > 1:
		return nil, wire.Unsupported("video.inputs[1]", "is one too many: this provider begins with one picture")
	}
	length := ""
	if v.Seconds != nil {
		length = strconv.FormatFloat(*v.Seconds, 'f', -1, 64)
	}
	if len(v.Inputs) == 1 {
		return a.videoForm(ctx, call, length)
	}
	b := append(make([]byte, 0, 256+len(v.Prompt)), '{')
	b = jsontext.AppendString(jsontext.AppendField(b, "model"), call.Model)
	b = jsontext.AppendString(jsontext.AppendField(b, "prompt"), v.Prompt)
	b = jsontext.AppendStringField(b, "seconds", length)
	b = jsontext.AppendStringField(b, "size", v.Size)
	b, err := a.closed(b, call, "model", "prompt")
	if err != nil {
		return nil, err
	}
	return a.Post(ctx, call, pathVideos, b)
}

func (a *Adapter) videoForm(ctx context.Context, call provider.Call, length string) (*http.Request, error) {
	v := call.Request.Video
	if len(v.Inputs[0].Data) == 0 {
		return nil, wire.Unsupported("video.inputs[0]", "is by reference: give its data")
	}
	form := wire.NewForm()
	form.Field("model", call.Model)
	form.Field("prompt", v.Prompt)
	form.Field("seconds", length)
	form.Field("size", v.Size)
	form.File("input_reference", withType(&v.Inputs[0]), "reference")
	if err := a.ownFields(form, call, "model", "prompt"); err != nil {
		return nil, err
	}
	return a.PostForm(ctx, call, pathVideos, form)
}

// videoPollMS is how often a film is asked about, in milliseconds: it takes
// minutes.
const videoPollMS = 10_000

// readVideo reads how a film comes on, or the film itself.
func (a *Adapter) readVideo(res *http.Response, call provider.Call) (*schemas.Response, error) {
	if form, _ := wire.Open(res, false); form != wire.JSON {
		return film(res, call.Request)
	}
	body, err := wire.ReadAll(res.Body, res.ContentLength)
	if err != nil {
		return nil, err
	}
	var v videoJob
	if err := v.parse(body); err != nil {
		return nil, wire.Malformed("it is not the JSON of a video", err)
	}
	if v.failure != nil && said(v.failure) || v.refused {
		return nil, a.told(body)
	}
	job := schemas.Job{ID: v.id, Progress: v.progress / 100, PollAfterMS: videoPollMS}
	switch v.status {
	case "queued":
		job.State = schemas.JobQueued
	case "in_progress", "processing", "running":
		job.State = schemas.JobRunning
	case "completed", "succeeded": // the film is still to be fetched
		job.State, job.PollURL, job.PollAfterMS = schemas.JobRunning, contentPath, 1
	case "failed":
		return nil, schemas.Fail(schemas.Internal, "the provider could not make the film", nil)
	case "cancelled", "canceled", "deleted":
		return nil, schemas.Fail(schemas.Cancelled, "the film was cancelled at the provider", nil)
	default:
		return nil, wire.Malformed("it has no status that is known", nil)
	}
	if job.ID == "" {
		return nil, wire.Malformed("it has no id", nil)
	}
	return &schemas.Response{
		UpstreamID: v.id, Model: v.model, Job: &job, Usage: schemas.Usage{Source: schemas.UsageNone},
		Warnings: lacking(nil, "video.seed", call.Request.Video.Seed != nil),
	}, nil
}

// film reads the bytes of a film. It is billed by its length, which the request
// gave, or which is the least that is offered.
func film(res *http.Response, req *schemas.Request) (*schemas.Response, error) {
	typ, _, _ := mime.ParseMediaType(res.Header.Get("Content-Type"))
	if !strings.HasPrefix(typ, "video/") && typ != "application/octet-stream" {
		return nil, wire.Malformed("its content type is neither JSON nor a film", nil)
	}
	body, err := wire.ReadAll(res.Body, res.ContentLength)
	if err != nil {
		return nil, err
	}
	if len(body) == 0 {
		return nil, wire.Malformed("the film is empty", io.ErrUnexpectedEOF)
	}
	length := 4.0
	if req.Video.Seconds != nil {
		length = *req.Video.Seconds
	}
	u := schemas.Usage{Source: schemas.UsageReported}
	bill(&u, "seconds", strconv.FormatFloat(length, 'f', -1, 64))
	return &schemas.Response{Media: []schemas.Media{{MIME: typ, Data: bytes.Clone(body)}}, Usage: u}, nil
}

type videoJob struct {
	id, model, status string
	progress          float64 // percent
	failure           []byte
	refused           bool
}

func (v *videoJob) parse(body []byte) error {
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
			case "progress":
				v.progress = seconds(&c)
			case "error":
				v.failure = c.Raw()
			case "object":
				v.refused = c.Text() == "error"
			default:
				c.Skip()
			}
		}
	}
	return c.End()
}
