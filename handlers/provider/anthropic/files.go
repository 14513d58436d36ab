package anthropic

import (
	"context"
	"net/http"
	"strings"

	"github.com/sira-ai/sira/handlers/provider"
	"github.com/sira-ai/sira/handlers/provider/wire"
	"github.com/sira-ai/sira/schemas"
	"github.com/sira-ai/sira/schemas/jsontext"
)

// file encodes the operations on files.
func (a *adapter) file(ctx context.Context, call provider.Call) (*http.Request, error) {
	f, files := call.Request.File, a.base.JoinPath("v1/files")
	switch call.Request.Operation() {
	case schemas.OpFileUpload:
		if len(f.Content.Data) == 0 {
			return nil, wire.Unsupported("file.content", "is a reference: give its data")
		}
		form := wire.NewForm()
		form.File("file", f.Content, "file")
		return form.Post(ctx, files, a.headerOf(call)), nil
	case schemas.OpFileList:
		files.RawQuery = "limit=1000"
		return a.get(ctx, files), nil
	}
	if f.ID == "." || f.ID == ".." || strings.ContainsAny(f.ID, "/?# ") {
		return nil, wire.Invalid("file.id", "is no id of a file such as file_011C")
	}
	r := a.get(ctx, files.JoinPath(f.ID))
	if call.Request.Operation() == schemas.OpFileDelete {
		r.Method = http.MethodDelete
	}
	return r, nil
}

// stored is a file as the vendor describes it.
type stored struct {
	Kind    text           `json:"type"`
	ID      text           `json:"id"`
	Name    text           `json:"filename"`
	MIME    text           `json:"mime_type"`
	Bytes   jsontext.Count `json:"size_bytes"`
	Created text           `json:"created_at"`
	Expires text           `json:"expires_at"`
}

func (s *stored) schema() schemas.File {
	return schemas.File{
		ID: string(s.ID), Name: string(s.Name), MIME: string(s.MIME), Bytes: int64(s.Bytes),
		CreatedAt: moment(s.Created), ExpiresAt: moment(s.Expires), Deleted: s.Kind == "file_deleted",
	}
}

func (a *adapter) filed(res *http.Response, req *schemas.Request) (*schemas.Response, error) {
	var body struct {
		stored
		Data *[]stored `json:"data"`
		More bool      `json:"has_more"`
	}
	if _, err := a.object(res, &body); err != nil {
		return nil, err
	}
	answer := &schemas.Response{Usage: schemas.Usage{Source: schemas.UsageNone}}
	list := req.Operation() == schemas.OpFileList
	switch {
	case list && body.Data == nil:
		return nil, wire.Malformed("it has no list of files", nil)
	case list:
		for i := range *body.Data {
			answer.Files = append(answer.Files, (*body.Data)[i].schema())
		}
		if body.More {
			answer.Warnings = append(answer.Warnings, "the provider has more files than one answer holds")
		}
	case body.ID == "":
		return nil, wire.Malformed("it is no file", nil)
	default:
		f := body.schema()
		f.Deleted = f.Deleted || req.Operation() == schemas.OpFileDelete
		answer.Files = []schemas.File{f}
	}
	return answer, nil
}
