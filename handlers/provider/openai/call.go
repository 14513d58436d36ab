package openai

import (
	"context"
	"maps"
	"net/http"
	"net/url"

	"github.com/sira-ai/sira/handlers/provider"
	"github.com/sira-ai/sira/handlers/provider/wire"
)

// Post returns the request that sends a JSON body to path, below the base URL,
// with the credential. It is for the operations that a variant has beside.
func (a *Adapter) Post(ctx context.Context, call provider.Call, path string, body []byte) (*http.Request, error) {
	u, h, err := a.sender(call, path)
	if err != nil {
		return nil, err
	}
	identify(h, call)
	return wire.Post(ctx, u, h, body), nil
}

// PostForm returns the request that sends a form to path, as Post does.
func (a *Adapter) PostForm(ctx context.Context, call provider.Call, path string, form *wire.FormWriter) (*http.Request, error) {
	u, h, err := a.sender(call, path)
	if err != nil {
		return nil, err
	}
	identify(h, call)
	return form.Post(ctx, u, h), nil
}

func identify(h http.Header, call provider.Call) {
	if call.IdempotencyKey != "" {
		h[wire.IdempotencyKey] = []string{call.IdempotencyKey}
	}
}

// Get returns the request that fetches path, as Post does.
func (a *Adapter) Get(ctx context.Context, call provider.Call, path string) (*http.Request, error) {
	u, h, err := a.sender(call, path)
	if err != nil {
		return nil, err
	}
	return wire.Get(ctx, u, h), nil
}

// below returns the path of a thing with an id, which may come from a requester.
func below(path, id string) (string, error) {
	if id == "." || id == ".." {
		return "", wire.Invalid("id", "is no id")
	}
	return path + "/" + url.PathEscape(id), nil
}

// Delete returns the request that deletes path, as Post does.
func (a *Adapter) Delete(ctx context.Context, call provider.Call, path string) (*http.Request, error) {
	req, err := a.Get(ctx, call, path)
	if err != nil {
		return nil, err
	}
	req.Method = http.MethodDelete
	return req, nil
}

// sender returns the address of path and the headers of a call to it, which are
// the call's own.
func (a *Adapter) sender(call provider.Call, path string) (*url.URL, http.Header, error) {
	u, err := a.addresses[path], error(nil)
	switch {
	case a.variant.Address != nil:
		u, err = a.variant.Address(path, call)
	case u == nil:
		u, err = wire.Endpoint(a.config.BaseURL, path)
	}
	if err != nil {
		return nil, nil, err
	}
	h := maps.Clone(a.header)
	if a.variant.Header != nil {
		if err := a.variant.Header(h, call); err != nil {
			return nil, nil, err
		}
	}
	return u, h, nil
}
