package anthropic

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/sira-ai/sira/handlers/provider"
	"github.com/sira-ai/sira/handlers/provider/wire"
	"github.com/sira-ai/sira/schemas"
	"github.com/sira-ai/sira/schemas/jsontext"
)

// The API for batches of messages (github.com/anthropics/anthropic-sdk-go,
// messagebatch.go). It has neither an idempotency key nor metadata: a batch is known
// by the custom ids of its results, and those only come when it has ended.
const (
	maxBatchRequests = 100_000
	maxBatchBytes    = 256 << 20
	// clockSkew is how far the vendor's clock may be behind ours.
	clockSkew = time.Minute
	maxPages  = 20
	// either follows each id of batches of which one may be ours.
	either = "|"
)

// Batches implements [provider.BatchAdapter]. Vertex AI has an API of its own.
func (a *adapter) Batches(send provider.Sender) provider.Batcher {
	if a.vertex {
		return nil
	}
	return &batches{a, wire.Exchanges{Send: send, Refused: a.refused}}
}

type batches struct {
	*adapter
	vendor wire.Exchanges
}

// batch is the vendor's job.
type batch struct {
	ID      string    `json:"id"`
	Status  string    `json:"processing_status"`
	Created time.Time `json:"created_at"`
	Counts  struct {
		Processing int `json:"processing"`
		Succeeded  int `json:"succeeded"`
		Errored    int `json:"errored"`
		Canceled   int `json:"canceled"`
		Expired    int `json:"expired"`
	} `json:"request_counts"`
}

func (b *batch) total() int {
	c := &b.Counts
	return c.Processing + c.Succeeded + c.Errored + c.Canceled + c.Expired
}

const ended = "ended"

func (b *batch) job() schemas.Job {
	j := schemas.Job{ID: b.ID, State: schemas.JobRunning}
	if b.Status == ended {
		j.State = schemas.JobSucceeded
	}
	return j
}

// Takes implements [provider.Batcher].
func (b *batches) Takes(op schemas.Operation) bool { return op == schemas.OpChat }

func (b *batches) address(path ...string) *url.URL {
	return b.messages.JoinPath(append([]string{"batches"}, path...)...)
}

// Begin implements [provider.Batcher]. After a crash there may be a batch that nobody
// remembers: those of as many calls that were made since are looked at before
// another one is begun.
func (b *batches) Begin(ctx context.Context, asked provider.Batch, refuse func(int, error)) (schemas.Job, error) {
	body, n, err := b.requests(ctx, asked, refuse)
	if err != nil || n == 0 {
		return schemas.Job{}, err
	}
	if asked.Again {
		ids, err := b.candidates(ctx, asked, n)
		if err != nil {
			return schemas.Job{}, err
		}
		if len(ids) > 0 {
			job, err := b.Look(ctx, asked, maybe(ids))
			if !errors.Is(err, provider.ErrNoBatch) {
				return job, err
			}
		}
	}
	var made batch
	if err := b.ask(b.post(ctx, b.address(), provider.Call{}, body), &made); err != nil {
		return schemas.Job{}, err
	}
	if made.ID == "" {
		return schemas.Job{}, wire.Malformed("it has no batch", nil)
	}
	return made.job(), nil
}

// requests writes the calls as the API wants them.
func (b *batches) requests(ctx context.Context, asked provider.Batch, refuse func(int, error)) (body []byte, n int, err error) {
	body = append(body, `{"requests":[`...)
	for i, call := range asked.Calls {
		if call.Request == nil {
			continue
		}
		if !b.Takes(call.Request.Operation()) {
			refuse(i, wire.Unsupported("mode", "is not offered by this provider for "+string(call.Request.Operation())))
			continue
		}
		req, err := b.Encode(ctx, call)
		if err != nil {
			refuse(i, err)
			continue
		}
		params, err := wire.BodyOf(req)
		if err != nil {
			return nil, 0, fmt.Errorf("writing a call of the batch: %w", err)
		}
		if n == maxBatchRequests || len(body)+len(params)+128 > maxBatchBytes {
			refuse(i, provider.ErrBatchFull)
			continue
		}
		body = append(jsontext.AppendItem(body), '{')
		body = jsontext.AppendStringField(body, "custom_id", wire.CallID(asked.ID, i))
		body = append(jsontext.AppendRawField(body, "params", params), '}')
		n++
	}
	return append(body, "]}"...), n, nil
}

// candidates returns the batches that may be the one that was begun: of as many calls,
// and not older.
func (b *batches) candidates(ctx context.Context, asked provider.Batch, n int) ([]string, error) {
	var ids []string
	query := url.Values{"limit": {"100"}}
	for range maxPages {
		u := b.address()
		u.RawQuery = query.Encode()
		var page struct {
			Data []batch `json:"data"`
			More bool    `json:"has_more"`
			Last string  `json:"last_id"`
		}
		if err := b.ask(b.get(ctx, u), &page); err != nil {
			return nil, err
		}
		for i := range page.Data {
			d := &page.Data[i]
			if d.Created.Before(asked.Since.Add(-clockSkew)) {
				return ids, nil // newest first
			}
			if d.total() == n {
				ids = append(ids, d.ID)
			}
		}
		if !page.More || page.Last == "" {
			break
		}
		query.Set("after_id", page.Last)
	}
	return ids, nil
}

// Look implements [provider.Batcher]. Of several batches of which one may be ours,
// those that have ended are looked into.
func (b *batches) Look(ctx context.Context, asked provider.Batch, job schemas.Job) (schemas.Job, error) {
	if !strings.Contains(job.ID, either) {
		var now batch
		err := b.ask(b.get(ctx, b.address(job.ID)), &now)
		return now.job(), err
	}
	var left []string
	for id := range strings.SplitSeq(strings.TrimSuffix(job.ID, either), either) {
		var now batch
		if err := b.ask(b.get(ctx, b.address(id)), &now); err != nil {
			return job, err
		}
		if now.Status != ended {
			left = append(left, id)
			continue
		}
		ours, err := b.ours(ctx, asked, id)
		if err != nil {
			return job, err
		}
		if ours {
			return now.job(), nil
		}
	}
	if len(left) == 0 {
		return schemas.Job{}, provider.ErrNoBatch
	}
	return maybe(left), nil
}

// maybe is a job that may be any of several, or none of them.
func maybe(ids []string) schemas.Job {
	return schemas.Job{ID: strings.Join(ids, either) + either, State: schemas.JobRunning}
}

var errSeen = errors.New("one line is enough")

// ours reports whether the results of a batch are those of the calls.
func (b *batches) ours(ctx context.Context, asked provider.Batch, id string) (ours bool, err error) {
	err = b.results(ctx, id, func(r *result) error {
		_, ours = wire.CallPlace(asked.ID, r.CustomID, len(asked.Calls))
		return errSeen
	})
	if errors.Is(err, errSeen) {
		err = nil
	}
	return ours, err
}

// result is a line of the results.
type result struct {
	CustomID string `json:"custom_id"`
	Result   struct {
		Type    string          `json:"type"`
		Message json.RawMessage `json:"message"`
		Error   json.RawMessage `json:"error"`
	} `json:"result"`
}

func (b *batches) results(ctx context.Context, id string, each func(*result) error) error {
	return b.vendor.Lines(b.get(ctx, b.address(id, "results")), func(line []byte) error {
		var r result
		if err := json.Unmarshal(line, &r); err != nil {
			return wire.Malformed("a line of its results is not JSON as agreed", err)
		}
		return each(&r)
	})
}

// Results implements [provider.Batcher].
func (b *batches) Results(ctx context.Context, asked provider.Batch, job schemas.Job, each func(int, *schemas.Response, error)) error {
	return b.results(ctx, job.ID, func(r *result) error {
		i, ours := wire.CallPlace(asked.ID, r.CustomID, len(asked.Calls))
		if !ours || asked.Calls[i].Request == nil {
			return nil
		}
		switch r.Result.Type {
		case "succeeded":
			answer, err := b.Decode(wire.Embedded(http.StatusOK, r.Result.Message), asked.Calls[i], nil) //nolint:bodyclose // it is in memory
			each(i, answer, err)
		case "errored":
			f := told(r.Result.Error, b.config.APIKey.Reveal())
			f.Phase, f.Usage = schemas.PhaseBody, &schemas.Usage{Source: schemas.UsageNone}
			each(i, nil, f)
		case "canceled":
			each(i, nil, wire.Undone(schemas.Cancelled, r.Result.Type))
		case "expired":
			each(i, nil, wire.Undone(schemas.Timeout, r.Result.Type))
		}
		return nil
	})
}

// End implements [provider.Batcher]. Of several batches of which one may be ours none
// is cancelled.
func (b *batches) End(ctx context.Context, _ provider.Batch, job schemas.Job) error {
	if strings.Contains(job.ID, either) {
		return nil
	}
	var now batch
	if err := b.ask(b.post(ctx, b.address(job.ID, "cancel"), provider.Call{}, nil), &now); !wire.HasEnded(err) {
		return err
	}
	return nil
}

// ask sends a request and reads the JSON of its answer into to.
func (b *batches) ask(req *http.Request, to any) error {
	return b.vendor.Ask(req, func(res *http.Response) error {
		_, err := b.object(res, to)
		return err
	})
}
