package openai

import (
	"context"
	"net/http"
	"time"

	"github.com/sira-ai/sira/handlers/provider"
	"github.com/sira-ai/sira/handlers/provider/wire"
	"github.com/sira-ai/sira/schemas"
	"github.com/sira-ai/sira/schemas/jsontext"
)

// purpose stands where the API wants a purpose and the requester gave none.
const purpose = "user_data"

// encodeFile asks for something about the files that the vendor keeps.
func (a *Adapter) encodeFile(ctx context.Context, call provider.Call) (*http.Request, error) {
	f := call.Request.File
	switch call.Request.Operation() {
	case schemas.OpFileUpload:
		return a.upload(ctx, call)
	case schemas.OpFileGet, schemas.OpFileDelete:
		path, err := below(pathFiles, f.ID)
		switch {
		case err != nil:
			return nil, err
		case call.Request.Operation() == schemas.OpFileDelete:
			return a.Delete(ctx, call, path)
		}
		return a.Get(ctx, call, path)
	}
	req, err := a.Get(ctx, call, pathFiles)
	if err != nil || f == nil || f.Purpose == "" {
		return req, err
	}
	u := *req.URL // shared
	query := u.Query()
	query.Set("purpose", f.Purpose)
	u.RawQuery = query.Encode()
	req.URL = &u
	return req, nil
}

func (a *Adapter) upload(ctx context.Context, call provider.Call) (*http.Request, error) {
	f := call.Request.File
	if len(f.Content.Data) == 0 {
		return nil, wire.Unsupported("file.content", "is by reference: give its data")
	}
	form := wire.NewForm()
	form.Field("purpose", purposeOf(f))
	form.File("file", withType(f.Content), "file")
	if err := a.ownFields(form, call, "purpose", "file"); err != nil {
		return nil, err
	}
	return a.PostForm(ctx, call, pathFiles, form)
}

func purposeOf(f *schemas.FileSpec) string {
	if f.Purpose == "" {
		return purpose
	}
	return f.Purpose
}

// readFiles reads one file or a list of them.
func (a *Adapter) readFiles(res *http.Response) (*schemas.Response, error) {
	body, err := a.object(res)
	if err != nil {
		return nil, err
	}
	out := &schemas.Response{Usage: schemas.Usage{Source: schemas.UsageNone}}
	var alone schemas.File
	isList := false
	c := jsontext.NewCursor(body)
	if c.Object() {
		for c.Key() {
			if string(c.Name()) != "data" {
				fileField(&c, &alone)
				continue
			}
			if isList = c.Array(); isList {
				for c.Item() {
					var f schemas.File
					if c.Object() {
						for c.Key() {
							fileField(&c, &f)
						}
					}
					out.Files = append(out.Files, f)
				}
			}
		}
	}
	switch err := c.End(); {
	case err != nil:
		return nil, wire.Malformed("it is not the JSON of files", err)
	case !isList && alone.ID == "":
		return nil, wire.Malformed("it has no file", nil)
	case !isList:
		out.Files = []schemas.File{alone}
	}
	return out, nil
}

func fileField(c *jsontext.Cursor, f *schemas.File) {
	switch string(c.Name()) {
	case "id":
		f.ID = c.Text()
	case "filename":
		f.Name = c.Text()
	case "bytes":
		f.Bytes = c.Count()
	case "status":
		f.State = c.Text()
	case "created_at":
		f.CreatedAt = moment(c.Count())
	case "expires_at":
		f.ExpiresAt = moment(c.Count())
	case "deleted":
		f.Deleted = c.Text() == "true"
	default:
		c.Skip()
	}
}

// moment returns the time of Unix seconds, or of milliseconds, which some servers
// send; none for 0.
func moment(n int64) time.Time {
	switch {
	case n <= 0:
		return time.Time{}
	case n > 1e11:
		return time.UnixMilli(n).UTC()
	}
	return time.Unix(n, 0).UTC()
}
