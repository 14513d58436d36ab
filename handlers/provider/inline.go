package provider

import (
	"context"
	"fmt"
	"slices"
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
	w := &inliner{ctx: ctx, fetch: call.Fetch, op: call.Request.Operation(), rules: rules} //nolint:contextcheck // of this call only
	req := *call.Request
	req.Messages = each(req.Messages, func(i int, m *schemas.Message) bool {
		parts, changed := w.parts(fmt.Sprintf("messages[%d].parts", i), m.Parts)
		m.Parts = parts
		return changed
	})
	if t := req.Transcribe; t != nil && w.wants(schemas.PartAudio, &t.Audio) {
		own := *t
		own.Audio = w.get("transcribe.audio", schemas.PartAudio, &t.Audio)
		req.Transcribe = &own
	}
	if f := req.File; f != nil && f.Content != nil && w.wants(schemas.PartFile, f.Content) {
		own, content := *f, w.get("file.content", schemas.PartFile, f.Content)
		own.Content = &content
		req.File = &own
	}
	if s := req.Image; s != nil {
		own := *s
		own.Inputs = w.media("image.inputs", s.Inputs)
		if s.Mask != nil && w.wants(schemas.PartImage, s.Mask) {
			mask := w.get("image.mask", schemas.PartImage, s.Mask)
			own.Mask = &mask
		}
		req.Image = &own
	}
	if s := req.Video; s != nil {
		own := *s
		own.Inputs = w.media("video.inputs", s.Inputs)
		req.Video = &own
	}
	if w.err != nil {
		return call, w.err
	}
	if w.fetched {
		call.Request = &req
	}
	return call, nil
}

// carriesMedia reports whether a request has anything that could be named by URL.
// Most have not.
func carriesMedia(r *schemas.Request) bool {
	for i := range r.Messages {
		for j := range r.Messages[i].Parts {
			if p := &r.Messages[i].Parts[j]; p.Media != nil || p.ToolResult != nil {
				return true
			}
		}
	}
	return r.Transcribe != nil || r.File != nil || r.Image != nil || r.Video != nil
}

// inliner works on one call.
type inliner struct {
	ctx     context.Context //nolint:containedctx // lives as long as the function that makes it
	fetch   Fetch
	op      schemas.Operation
	rules   Inliner
	fetched bool
	err     error // the first
}

func (w *inliner) wants(kind schemas.PartKind, m *schemas.Media) bool {
	return m != nil && len(m.Data) == 0 && (strings.HasPrefix(m.URL, "http://") || strings.HasPrefix(m.URL, "https://")) && w.rules.Inlines(w.op, kind) > 0
}

func (w *inliner) get(field string, kind schemas.PartKind, m *schemas.Media) schemas.Media {
	out := *m
	if w.err != nil {
		return out
	}
	mime, data, err := w.fetch(w.ctx, m.URL, w.rules.Inlines(w.op, kind))
	if err != nil {
		f := schemas.AsFailure(err)
		f.Param, f.Message = field, field+" "+f.Message
		w.err = f
		return out
	}
	out.Data, out.URL, w.fetched = data, "", true
	if out.MIME == "" {
		out.MIME = mime
	}
	return out
}

func (w *inliner) media(field string, list []schemas.Media) []schemas.Media {
	return each(list, func(i int, m *schemas.Media) bool {
		if !w.wants(schemas.PartImage, m) {
			return false
		}
		*m = w.get(fmt.Sprintf("%s[%d]", field, i), schemas.PartImage, m)
		return true
	})
}

func (w *inliner) parts(field string, parts []schemas.Part) ([]schemas.Part, bool) {
	changed := false
	out := each(parts, func(i int, p *schemas.Part) bool {
		at := fmt.Sprintf("%s[%d]", field, i)
		switch {
		case p.ToolResult != nil:
			inner, some := w.parts(at+".tool_result.parts", p.ToolResult.Parts)
			if !some {
				return false
			}
			own := *p.ToolResult
			own.Parts, p.ToolResult = inner, &own
		case w.wants(p.Kind, p.Media):
			m := w.get(at, p.Kind, p.Media)
			p.Media = &m
		default:
			return false
		}
		changed = true
		return true
	})
	return out, changed
}

// each returns list, or a copy of it in which some elements were changed by change,
// which is given copies.
func each[T any](list []T, change func(i int, v *T) bool) []T {
	out := list
	for i := range list {
		v := list[i]
		if !change(i, &v) {
			continue
		}
		if &out[0] == &list[0] {
			out = slices.Clone(list)
		}
		out[i] = v
	}
	return out
}
