package provider

import (
	"context"
	"strings"

	"github.com/sira-ai/sira/schemas"
)

// Inliner is the ability of an Adapter to say which media its vendor takes by value
// only.
type Inliner interface {
	// Inlines returns the most bytes that the vendor takes of a kind of media with an
	// operation, where it takes no URL; else 0.
	Inlines(op schemas.Operation, kind schemas.PartKind) int64
}

// Fetch gets what is at an address, at most limit bytes. Its error is a
// *schemas.Failure whose message goes on after the name of the field.
type Fetch func(ctx context.Context, address string, limit int64) (mime string, data []byte, err error)

// inline returns the call with the media that the vendor takes by value only. The
// request itself is not changed.
func inline(ctx context.Context, a Adapter, call Call) (Call, error) {
	rules, ok := a.(Inliner)
	if !ok || call.Fetch == nil || !carriesMedia(call.Request) {
		return call, nil
	}
	op := call.Request.Operation()
	var first error
	req, changed := swapMedia(call.Request, func(field string, kind schemas.PartKind, m *schemas.Media) (schemas.Media, bool) {
		limit := rules.Inlines(op, kind)
		if first != nil || limit <= 0 || len(m.Data) > 0 || !strings.HasPrefix(m.URL, "http://") && !strings.HasPrefix(m.URL, "https://") {
			return *m, false
		}
		mime, data, err := call.Fetch(ctx, m.URL, limit)
		if err != nil {
			first = about(field, err)
			return *m, false
		}
		out := *m
		out.Data, out.URL = data, ""
		if out.MIME == "" {
			out.MIME = mime
		}
		return out, true
	})
	if first != nil {
		return call, first
	}
	if changed {
		call.Request = req
	}
	return call, nil
}

// about says which field a failure speaks of.
func about(field string, err error) *schemas.Failure {
	f := schemas.AsFailure(err)
	f.Param, f.Message = field, field+" "+f.Message
	return f
}
