package replicate

import (
	"context"
	"maps"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/sira-ai/sira/handlers/provider"
	"github.com/sira-ai/sira/handlers/provider/wire"
	"github.com/sira-ai/sira/schemas"
	"github.com/sira-ai/sira/schemas/jsontext"
)

// Encode implements [provider.Adapter].
func (a *Adapter) Encode(ctx context.Context, call provider.Call) (*http.Request, error) {
	switch op := call.Request.Operation(); op {
	case schemas.OpModels:
		return a.get(ctx, "models"), nil
	case schemas.OpFileList:
		return a.get(ctx, "files"), nil
	case schemas.OpFileGet, schemas.OpFileDelete, schemas.OpFileUpload:
		return a.file(ctx, op, call.Request.File)
	}
	return a.create(ctx, call)
}

// create returns the request that begins a prediction.
func (a *Adapter) create(ctx context.Context, call provider.Call) (*http.Request, error) {
	path, version, err := place(call.Model)
	if err != nil {
		return nil, err
	}
	in, err := input(call.Request, a.templates.of(call.Model), a.url("files").String())
	if err != nil {
		return nil, err
	}
	b := make([]byte, 0, len(in)+128)
	b = append(b, '{')
	b = jsontext.AppendStringField(b, "version", version)
	b = jsontext.AppendRawField(b, "input", in)
	b = append(b, '}')
	h := maps.Clone(a.header)
	if a.config.WaitSeconds > 0 && !call.Request.Stream {
		h.Set("Prefer", "wait="+strconv.FormatInt(a.config.WaitSeconds, 10))
	}
	if s := left(call.Request.Deadline, time.Now()); s > 0 {
		h.Set("Cancel-After", strconv.FormatInt(s, 10)+"s")
	}
	if call.IdempotencyKey != "" {
		h[wire.IdempotencyKey] = []string{call.IdempotencyKey}
	}
	return wire.Post(ctx, a.url(path), h, b), nil
}

// minCancelAfter is the least that the vendor takes in the header Cancel-After.
const minCancelAfter = 5

// left returns the whole seconds until the deadline, 0 where there is none or
// not enough for the vendor. It lets the vendor end what nobody waits for any
// more even if nobody is left to cancel it.
func left(deadline, now time.Time) int64 {
	if deadline.IsZero() {
		return 0
	}
	if s := int64(deadline.Sub(now) / time.Second); s >= minCancelAfter {
		return s
	}
	return 0
}

// place returns where predictions of a model are created, and the version to
// name in the body: owner/name, owner/name:version, a version, or
// deployments/owner/name.
func place(model string) (path, version string, err error) {
	kind, rest := "models", model
	if d, ok := strings.CutPrefix(model, "deployments/"); ok {
		kind, rest = "deployments", d
	}
	owner, name, found := strings.Cut(rest, "/")
	switch {
	case model == "":
		return "", "", wire.Invalid("model", "is empty: write owner/name, owner/name:version or a version")
	case !found || kind == "models" && strings.Contains(name, ":"):
		return "predictions", model, nil
	case owner == "" || name == "" || strings.Contains(name, "/"):
		return "", "", wire.Invalid("model", "is not like owner/name, owner/name:version or a version")
	}
	return kind + "/" + url.PathEscape(owner) + "/" + url.PathEscape(name) + "/predictions", "", nil
}

func (a *Adapter) url(path string) *url.URL { return a.base.JoinPath(path) }

func (a *Adapter) get(ctx context.Context, path string) *http.Request {
	return wire.Get(ctx, a.url(path), maps.Clone(a.header))
}

// EncodeProbe implements [provider.ProbeEncoder]: asking who one is costs
// nothing.
func (a *Adapter) EncodeProbe(ctx context.Context) (*http.Request, error) {
	return a.get(ctx, "account"), nil
}

// streamed marks the address of a prediction whose output has been streamed, so
// that [Adapter.Decode] doesn't emit it again. Fragments are not sent.
const streamed = "streamed"

// EncodePoll implements [provider.JobAdapter]. A job's PollURL is the address of
// its stream, with the prediction's id as fragment, or that of the prediction,
// with the mark that it was streamed; else it is derived from the id.
func (a *Adapter) EncodePoll(ctx context.Context, _ provider.Call, job schemas.Job) (*http.Request, error) {
	u, err := a.prediction(job.ID, "")
	if err != nil {
		return nil, err
	}
	h := maps.Clone(a.header)
	if job.PollURL == "" {
		return wire.Get(ctx, u, h), nil
	}
	asked, err := url.Parse(job.PollURL)
	switch {
	case err != nil || !a.trusted(asked):
		return nil, wire.Invalid("job.poll_url", "is at a host that is not among stream_hosts")
	case asked.Fragment == streamed:
		u.Fragment = streamed
		return wire.Get(ctx, u, h), nil
	}
	h.Set("Accept", "text/event-stream")
	h.Set("Cache-Control", "no-store")
	asked.Fragment = job.ID
	return wire.Get(ctx, asked, h), nil
}

// EncodeCancel implements [provider.JobAdapter].
func (a *Adapter) EncodeCancel(ctx context.Context, _ provider.Call, job schemas.Job) (*http.Request, error) {
	u, err := a.prediction(job.ID, "/cancel")
	if err != nil {
		return nil, err
	}
	return wire.Post(ctx, u, maps.Clone(a.header), nil), nil
}

func (a *Adapter) prediction(id, action string) (*url.URL, error) {
	if !plainID(id) {
		return nil, wire.Invalid("job.id", "is no id of this provider")
	}
	return a.url("predictions/" + id + action), nil
}

// plainID reports whether an id can stand in a path as it is.
func plainID(id string) bool {
	return id != "" && !strings.ContainsFunc(id, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '-' && r != '_'
	})
}

// file returns a request for an operation on one file.
func (a *Adapter) file(ctx context.Context, op schemas.Operation, f *schemas.FileSpec) (*http.Request, error) {
	h := maps.Clone(a.header)
	if op == schemas.OpFileUpload {
		if len(f.Content.Data) == 0 {
			return nil, wire.Unsupported("file.content", "has no data: this provider fetches no files")
		}
		form := wire.NewForm()
		form.File("content", f.Content, "file")
		return form.Post(ctx, a.url("files"), h), nil
	}
	if !plainID(f.ID) {
		return nil, wire.Invalid("file.id", "is no id of this provider")
	}
	req := wire.Get(ctx, a.url("files/"+f.ID), h)
	if op == schemas.OpFileDelete {
		req.Method = http.MethodDelete
	}
	return req, nil
}
