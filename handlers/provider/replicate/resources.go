package replicate

import (
	"encoding/json"
	"net/http"
	"time"

	"github.com/sira-ai/sira/handlers/provider/wire"
	"github.com/sira-ai/sira/schemas"
)

// page is a list, or the one thing that is in its place.
type page[T any] struct {
	Results []T `json:"results"`
}

// list reads a page of things, or a single one. found says whether a thing is
// one.
func list[T any](res *http.Response, what string, found func(*T) bool) ([]T, error) {
	body, err := wire.ReadAll(res.Body, res.ContentLength)
	if err != nil {
		return nil, err
	}
	var p page[T]
	var one T
	switch {
	case json.Unmarshal(body, &p) == nil && p.Results != nil:
		return p.Results, nil
	case json.Unmarshal(body, &one) == nil && found(&one):
		return []T{one}, nil
	}
	return nil, wire.Malformed("it is neither a list of "+what+" nor one of them", nil)
}

type model struct {
	Owner  string `json:"owner"`
	Name   string `json:"name"`
	Latest *struct {
		CreatedAt time.Time `json:"created_at"`
	} `json:"latest_version"`
}

// models reads a page of models. There are thousands; the first page are those
// that the vendor puts first.
func (a *Adapter) models(res *http.Response) (*schemas.Response, error) {
	all, err := list(res, "models", func(m *model) bool { return m.Name != "" })
	if err != nil {
		return nil, err
	}
	out := &schemas.Response{Models: make([]schemas.ModelInfo, len(all)), Usage: schemas.Usage{Source: schemas.UsageNone}}
	for i, m := range all {
		out.Models[i] = schemas.ModelInfo{ID: m.Owner + "/" + m.Name, Name: m.Name, Owner: m.Owner}
		if m.Latest != nil {
			out.Models[i].CreatedAt = m.Latest.CreatedAt
		}
	}
	return out, nil
}

type file struct {
	ID          string    `json:"id"`
	Name        string    `json:"name"`
	ContentType string    `json:"content_type"`
	Size        int64     `json:"size"`
	CreatedAt   time.Time `json:"created_at"`
	ExpiresAt   time.Time `json:"expires_at"`
	URLs        struct {
		Get string `json:"get"`
	} `json:"urls"`
}

func (a *Adapter) files(res *http.Response, req *schemas.Request) (*schemas.Response, error) {
	out := &schemas.Response{Usage: schemas.Usage{Source: schemas.UsageNone}}
	if req.Operation() == schemas.OpFileDelete { // answered with nothing
		out.Files = []schemas.File{{ID: req.File.ID, Deleted: true}}
		return out, nil
	}
	all, err := list(res, "files", func(f *file) bool { return f.ID != "" })
	if err != nil {
		return nil, err
	}
	out.Files = make([]schemas.File, len(all))
	for i, f := range all {
		out.Files[i] = schemas.File{
			ID: f.ID, Name: f.Name, MIME: f.ContentType, Bytes: f.Size, URL: f.URLs.Get,
			CreatedAt: f.CreatedAt, ExpiresAt: f.ExpiresAt,
		}
	}
	return out, nil
}
