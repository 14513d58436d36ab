package openai

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"

	"github.com/sira-ai/sira/handlers/provider"
	"github.com/sira-ai/sira/handlers/provider/wire"
	"github.com/sira-ai/sira/schemas"
	"github.com/sira-ai/sira/schemas/jsontext"
)

// The API for batches: a file of requests goes up, a batch is made of it, and its
// results come down as files (github.com/openai/openai-openapi, Batch). It has no
// idempotency key. A batch carries metadata, though, by which the one that was begun
// is found again.
const (
	pathBatches = "batches"
	metadataKey = "sira_batch"

	maxBatchRequests = 50_000
	maxBatchFile     = 200 << 20 // bytes
	// keepFile is how long the vendor keeps a file of requests, seconds: longer than any
	// batch goes on.
	keepFile = "259200"
	// lookBack bounds the list that is looked through for a batch that was begun.
	lookBack = 3600 // seconds before anybody asked for it
	maxPages = 20
)

// Batches implements [provider.BatchAdapter]. Copies of the API have none.
func (a *Adapter) Batches(send provider.Sender) provider.Batcher {
	if a.variant.Name != kind {
		return nil
	}
	return &batches{a, wire.Exchanges{Send: send, Refused: a.Refusal}}
}

type batches struct {
	*Adapter
	vendor wire.Exchanges
}

// batch is the vendor's job.
type batch struct {
	ID        string            `json:"id"`
	Status    string            `json:"status"`
	Created   int64             `json:"created_at"`
	Output    string            `json:"output_file_id"`
	Errors    string            `json:"error_file_id"`
	Metadata  map[string]string `json:"metadata"`
	Counts    counts            `json:"request_counts"`
	Refusals  refusals          `json:"errors"`
	InputFile string            `json:"input_file_id"`
}

type counts struct {
	Total     int64 `json:"total"`
	Completed int64 `json:"completed"`
	Failed    int64 `json:"failed"`
}

type refusals struct {
	Data []struct {
		Code    string `json:"code"`
		Message string `json:"message"`
	} `json:"data"`
}

var batchStates = map[string]schemas.JobState{
	"validating": schemas.JobQueued, "in_progress": schemas.JobRunning, "finalizing": schemas.JobRunning, "cancelling": schemas.JobRunning,
	"completed": schemas.JobSucceeded, "expired": schemas.JobExpired, "cancelled": schemas.JobCancelled, "failed": schemas.JobFailed,
}

func (b *batch) job() schemas.Job {
	j := schemas.Job{ID: b.ID, State: batchStates[b.Status]}
	if j.State == "" {
		j.State = schemas.JobRunning
	}
	if b.Counts.Total > 0 {
		j.Progress = float64(b.Counts.Completed+b.Counts.Failed) / float64(b.Counts.Total)
	}
	return j
}

// Takes implements [provider.Batcher].
func (b *batches) Takes(op schemas.Operation) bool { return b.path(op) != "" }

// path is where the calls of a batch go.
func (b *batches) path(op schemas.Operation) string {
	switch op {
	case schemas.OpChat:
		if b.config.API == apiResponses {
			return pathResponses
		}
		return pathChat
	case schemas.OpComplete:
		return pathCompletions
	case schemas.OpEmbed:
		return pathEmbeddings
	case schemas.OpModerate:
		return pathModerations
	}
	return ""
}

// Begin implements [provider.Batcher].
func (b *batches) Begin(ctx context.Context, asked provider.Batch, refuse func(int, error)) (schemas.Job, error) {
	if asked.Again {
		switch found, err := b.find(ctx, asked); {
		case err != nil:
			return schemas.Job{}, err
		case found != nil:
			_, _, _ = b.lines(ctx, asked, refuse) // the same ones are refused again
			return found.job(), nil
		}
	}
	lines, path, err := b.lines(ctx, asked, refuse)
	if err != nil || len(lines) == 0 {
		return schemas.Job{}, err
	}
	form := wire.NewForm()
	form.Field("purpose", "batch")
	form.Field("expires_after[anchor]", "created_at")
	form.Field("expires_after[seconds]", keepFile)
	form.File("file", &schemas.Media{Data: lines, MIME: "application/jsonl", Name: "sira-" + asked.ID + ".jsonl"}, "file")
	req, err := b.PostForm(ctx, nobody, pathFiles, form)
	if err != nil {
		return schemas.Job{}, err
	}
	var file struct {
		ID string `json:"id"`
	}
	if err := b.ask(req, &file); err != nil {
		return schemas.Job{}, err
	}
	body, err := json.Marshal(map[string]any{
		"input_file_id": file.ID, "endpoint": "/v1/" + path, "completion_window": "24h", "metadata": map[string]string{metadataKey: asked.ID},
	})
	if err != nil {
		return schemas.Job{}, fmt.Errorf("writing the batch: %w", err)
	}
	if req, err = b.Post(ctx, nobody, pathBatches, body); err != nil {
		return schemas.Job{}, err
	}
	var made batch
	if err := b.ask(req, &made); err != nil {
		return schemas.Job{}, err
	}
	if made.ID == "" {
		return schemas.Job{}, wire.Malformed("it has no batch", nil)
	}
	return made.job(), nil
}

// nobody is a call that is about no request.
var nobody = provider.Call{Request: &schemas.Request{}}

// lines writes the calls as the file wants them. All go to the same path.
func (b *batches) lines(ctx context.Context, asked provider.Batch, refuse func(int, error)) (file []byte, path string, err error) {
	n := 0
	for i, call := range asked.Calls {
		if call.Request == nil {
			continue
		}
		at := b.path(call.Request.Operation())
		if at == "" || path != "" && at != path {
			refuse(i, wire.Unsupported("mode", "is not offered by this provider for "+string(call.Request.Operation())))
			continue
		}
		req, err := b.Encode(ctx, call)
		if err != nil {
			refuse(i, err)
			continue
		}
		body, err := wire.BodyOf(req)
		if err != nil {
			return nil, "", fmt.Errorf("writing a call of the batch: %w", err)
		}
		line := jsontext.AppendStringField([]byte{'{'}, "custom_id", wire.CallID(asked.ID, i))
		line = jsontext.AppendStringField(line, "method", http.MethodPost)
		line = jsontext.AppendStringField(line, "url", "/v1/"+at)
		line = append(jsontext.AppendRawField(line, "body", body), "}\n"...)
		if n == maxBatchRequests || len(file)+len(line) > maxBatchFile {
			refuse(i, provider.ErrBatchFull)
			continue
		}
		path = at
		file = append(file, line...)
		n++
	}
	return file, path, nil
}

// find returns the batch that was begun under the ID, if there is one.
func (b *batches) find(ctx context.Context, asked provider.Batch) (*batch, error) {
	query := url.Values{"limit": {"100"}}
	for range maxPages {
		req, err := b.Get(ctx, nobody, pathBatches)
		if err != nil {
			return nil, err
		}
		u := *req.URL // shared
		u.RawQuery = query.Encode()
		req.URL = &u
		var page struct {
			Data []batch `json:"data"`
			More bool    `json:"has_more"`
		}
		if err := b.ask(req, &page); err != nil {
			return nil, err
		}
		for i := range page.Data {
			if page.Data[i].Metadata[metadataKey] == asked.ID {
				return &page.Data[i], nil
			}
		}
		if !page.More || len(page.Data) == 0 || page.Data[len(page.Data)-1].Created < asked.Since.Unix()-lookBack {
			break // newest first
		}
		query.Set("after", page.Data[len(page.Data)-1].ID)
	}
	return nil, nil
}

// Look implements [provider.Batcher].
func (b *batches) Look(ctx context.Context, _ provider.Batch, job schemas.Job) (schemas.Job, error) {
	now, err := b.get(ctx, job)
	if err != nil {
		return job, err
	}
	if now.Status != "failed" {
		return now.job(), nil
	}
	f := schemas.Fail(schemas.InvalidRequest, "the provider refused the batch", nil)
	if d := now.Refusals.Data; len(d) > 0 {
		f.VendorCode, f.Message = d[0].Code, "the provider refused the batch: "+d[0].Message
		if code, known := b.words[d[0].Code]; known {
			f.Code = code
		}
	}
	if f.VendorCode == "token_limit_exceeded" { // of all batches that are waiting
		f.Code = schemas.RateLimited
	}
	f.Phase, f.HTTPStatus = schemas.PhaseBody, http.StatusOK
	return now.job(), f
}

func (b *batches) get(ctx context.Context, job schemas.Job) (*batch, error) {
	path, err := below(pathBatches, job.ID)
	if err != nil {
		return nil, err
	}
	req, err := b.Get(ctx, nobody, path)
	if err != nil {
		return nil, err
	}
	now := new(batch)
	if err := b.ask(req, now); err != nil {
		return nil, err
	}
	if now.ID != job.ID {
		return nil, wire.Malformed("it is about another batch", nil)
	}
	return now, nil
}

// result is a line of a file of results.
type result struct {
	CustomID string `json:"custom_id"`
	Response *struct {
		Status    int             `json:"status_code"`
		RequestID string          `json:"request_id"`
		Body      json.RawMessage `json:"body"`
	} `json:"response"`
	Error *struct {
		Code string `json:"code"`
	} `json:"error"`
}

// Results implements [provider.Batcher].
func (b *batches) Results(ctx context.Context, asked provider.Batch, job schemas.Job, each func(int, *schemas.Response, error)) error {
	now, err := b.get(ctx, job)
	if err != nil {
		return err
	}
	for _, file := range []string{now.Output, now.Errors} {
		if file == "" {
			continue
		}
		path, err := below(pathFiles, file)
		if err != nil {
			return err
		}
		req, err := b.Get(ctx, nobody, path+"/"+contentPath)
		if err != nil {
			return err
		}
		if err := b.vendor.Lines(req, func(line []byte) error { return b.line(asked, line, each) }); err != nil {
			return err
		}
	}
	return nil
}

// line reads one result. One of a call that nobody asked about is passed over.
func (b *batches) line(asked provider.Batch, line []byte, each func(int, *schemas.Response, error)) error {
	var r result
	if err := json.Unmarshal(line, &r); err != nil {
		return wire.Malformed("a line of its results is not JSON as agreed", err)
	}
	i, ours := wire.CallPlace(asked.ID, r.CustomID, len(asked.Calls))
	switch {
	case !ours || asked.Calls[i].Request == nil:
	case r.Response != nil && r.Response.Status > 0:
		res := wire.Embedded(r.Response.Status, r.Response.Body) //nolint:bodyclose // it is in memory
		res.Header.Set(b.variant.RequestID, r.Response.RequestID)
		answer, err := b.Decode(res, asked.Calls[i], nil)
		each(i, answer, err)
	case r.Error != nil && r.Error.Code == "batch_expired":
		each(i, nil, wire.Undone(schemas.Timeout, r.Error.Code))
	case r.Error != nil && r.Error.Code == "batch_cancelled":
		each(i, nil, wire.Undone(schemas.Cancelled, r.Error.Code))
	case r.Error != nil:
		each(i, nil, wire.Undone(schemas.Internal, r.Error.Code))
	}
	return nil
}

// End implements [provider.Batcher].
func (b *batches) End(ctx context.Context, _ provider.Batch, job schemas.Job) error {
	path, err := below(pathBatches, job.ID)
	if err != nil {
		return err
	}
	req, err := b.Post(ctx, nobody, path+"/cancel", nil)
	if err != nil {
		return err
	}
	var now batch
	if err := b.ask(req, &now); !wire.HasEnded(err) {
		return err
	}
	return nil
}

// ask sends a request and reads the JSON of its answer into to.
func (b *batches) ask(req *http.Request, to any) error {
	return b.vendor.Ask(req, func(res *http.Response) error {
		body, err := b.object(res)
		if err != nil {
			return err
		}
		if err := json.Unmarshal(body, to); err != nil {
			return wire.Malformed("it is not JSON as agreed", err)
		}
		return nil
	})
}
