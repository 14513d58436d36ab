package gemini

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"mime/multipart"
	"net/http"
	"net/textproto"
	"net/url"
	"strings"
	"time"

	"github.com/sira-ai/sira/handlers/provider"
	"github.com/sira-ai/sira/handlers/provider/wire"
	"github.com/sira-ai/sira/schemas"
	"github.com/sira-ai/sira/schemas/jsontext"
)

// modelList returns the address of the models, so many at once.
func (a *adapter) modelList(size string) *url.URL {
	u := a.at("models")
	if a.vertex { // Google's models are in no project, and not in v1
		above, cut := strings.CutSuffix(a.base.Path, "/v1")
		if cut {
			above += "/v1beta1"
		}
		u.Path = above + "/publishers/google/models"
	}
	u.RawQuery = "pageSize=" + size
	return u
}

// methods are the vendor's methods as operations of ours.
var methods = map[string]schemas.Operation{
	"generateContent": schemas.OpChat, "countTokens": schemas.OpCountTokens, "embedContent": schemas.OpEmbed,
	"predict": schemas.OpImage, "predictLongRunning": schemas.OpVideo,
}

func (a *adapter) listed(res *http.Response) (*schemas.Response, error) {
	type model struct {
		Name    string         `json:"name"`
		Display string         `json:"displayName"`
		Input   jsontext.Count `json:"inputTokenLimit"`
		Output  jsontext.Count `json:"outputTokenLimit"`
		Methods []string       `json:"supportedGenerationMethods"`
		Actions []string       `json:"supportedActions"`
	}
	var body struct {
		Models    []model `json:"models"`
		Publisher []model `json:"publisherModels"`
		Next      string  `json:"nextPageToken"`
	}
	if err := a.object(res, &body); err != nil {
		return nil, err
	}
	answer := &schemas.Response{Usage: schemas.Usage{Source: schemas.UsageNone}}
	for _, m := range append(body.Models, body.Publisher...) {
		id := strings.TrimPrefix(strings.TrimPrefix(m.Name, "publishers/google/"), "models/")
		info := schemas.ModelInfo{
			ID: id, Name: m.Display, Owner: "google", ContextTokens: int64(m.Input), OutputTokens: int64(m.Output),
		}
		for _, name := range append(m.Methods, m.Actions...) {
			if op, known := methods[name]; known {
				info.Operations = append(info.Operations, string(op))
			}
		}
		answer.Models = append(answer.Models, info)
	}
	if body.Next != "" {
		answer.Warnings = append(answer.Warnings, "the provider has more models than one answer holds")
	}
	return answer, nil
}

// file encodes the operations on files, which only AI Studio has.
func (a *adapter) file(ctx context.Context, call provider.Call) (*http.Request, error) {
	if a.vertex {
		return nil, wire.Unsupported("op", "is not offered by Vertex AI: put files into Cloud Storage and give gs:// addresses")
	}
	f := call.Request.File
	switch call.Request.Operation() {
	case schemas.OpFileUpload:
		return a.upload(ctx, call, f.Content)
	case schemas.OpFileList:
		u := a.at("files")
		u.RawQuery = "pageSize=100"
		return a.get(ctx, u), nil
	}
	id := f.ID
	if _, rest, found := strings.Cut(id, "/files/"); found {
		id = rest
	}
	id = strings.TrimPrefix(id, "files/")
	if id == "" || strings.ContainsAny(id, "/?# ") {
		return nil, wire.Invalid("file.id", "is no name of a file such as files/abc")
	}
	r := a.get(ctx, a.at("files/"+id))
	if call.Request.Operation() == schemas.OpFileDelete {
		r.Method = http.MethodDelete
	}
	return r, nil
}

// upload sends a file and its name in one request.
func (a *adapter) upload(ctx context.Context, call provider.Call, m *schemas.Media) (*http.Request, error) {
	switch {
	case len(m.Data) == 0:
		return nil, wire.Unsupported("file.content", "is a reference: give its data")
	case m.MIME == "" && mimeOf("", m.Name) == "":
		return nil, wire.Invalid("file.content", "has no mime type")
	case strings.ContainsAny(m.MIME, "\r\n"):
		return nil, wire.Invalid("file.content", "has a mime type that is none")
	}
	var body bytes.Buffer
	w := multipart.NewWriter(&body)
	about := append(jsontext.AppendStringField([]byte(`{"file":{`), "displayName", m.Name), "}}"...)
	for _, p := range []struct {
		mime string
		data []byte
	}{{"application/json; charset=utf-8", about}, {cmp.Or(m.MIME, mimeOf("", m.Name)), m.Data}} {
		part, err := w.CreatePart(textproto.MIMEHeader{"Content-Type": {p.mime}})
		if err != nil {
			return nil, fmt.Errorf("writing an upload: %w", err)
		}
		_, _ = part.Write(p.data) // a bytes.Buffer never fails
	}
	_ = w.Close()
	u := *a.base
	host, version := "", u.Path
	if at := strings.LastIndexByte(u.Path, '/'); at >= 0 {
		host, version = u.Path[:at], u.Path[at:]
	}
	u.Path = host + "/upload" + version + "/files"
	h := maps.Clone(a.header)
	h.Set("Content-Type", "multipart/related; boundary="+w.Boundary())
	h.Set("X-Goog-Upload-Protocol", "multipart")
	if call.IdempotencyKey != "" {
		h[wire.IdempotencyKey] = []string{call.IdempotencyKey}
	}
	return wire.Post(ctx, &u, h, body.Bytes()), nil
}

// stored is a file as the vendor describes it.
type stored struct {
	Name    string          `json:"name"`
	Display string          `json:"displayName"`
	MIME    string          `json:"mimeType"`
	Bytes   jsontext.Count  `json:"sizeBytes"`
	Created time.Time       `json:"createTime"`
	Expires time.Time       `json:"expirationTime"`
	URI     string          `json:"uri"`
	State   string          `json:"state"`
	Error   json.RawMessage `json:"error"`
}

func (s *stored) schema() schemas.File {
	return schemas.File{
		ID: s.Name, Name: s.Display, MIME: s.MIME, Bytes: int64(s.Bytes), URL: s.URI, State: s.State,
		CreatedAt: s.Created, ExpiresAt: s.Expires,
	}
}

func (a *adapter) filed(res *http.Response, req *schemas.Request) (*schemas.Response, error) {
	answer := &schemas.Response{Usage: schemas.Usage{Source: schemas.UsageNone}}
	if req.Operation() == schemas.OpFileDelete {
		var body map[string]json.RawMessage
		if err := a.object(res, &body); err != nil {
			return nil, err
		}
		answer.Files = []schemas.File{{ID: req.File.ID, Deleted: true}}
		return answer, nil
	}
	var body struct {
		stored
		File  *stored   `json:"file"`
		Files *[]stored `json:"files"`
		Next  string    `json:"nextPageToken"`
	}
	if err := a.object(res, &body); err != nil {
		return nil, err
	}
	switch {
	case req.Operation() == schemas.OpFileList:
		if body.Files != nil { // no files at all are left out
			for i := range *body.Files {
				answer.Files = append(answer.Files, (*body.Files)[i].schema())
			}
		}
		if body.Next != "" {
			answer.Warnings = append(answer.Warnings, "the provider has more files than one answer holds")
		}
		return answer, nil
	case body.File != nil:
		body.stored = *body.File
	}
	if body.Name == "" {
		return nil, wire.Malformed("it is no file", nil)
	}
	answer.Files = []schemas.File{body.schema()}
	return answer, nil
}
