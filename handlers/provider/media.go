package provider

import (
	"fmt"
	"slices"

	"github.com/sira-ai/sira/schemas"
)

// swap says what takes the place of a medium, or that it stays. field names its place
// in the request.
type swap func(field string, kind schemas.PartKind, m *schemas.Media) (schemas.Media, bool)

// swapMedia returns the request with the media that do says, and whether any is
// another one. The request itself is not changed.
func swapMedia(r *schemas.Request, do swap) (*schemas.Request, bool) {
	req, changed := *r, false
	req.Messages = each(req.Messages, func(i int, m *schemas.Message) bool {
		parts, some := do.parts(fmt.Sprintf("messages[%d].parts", i), m.Parts)
		m.Parts = parts
		changed = changed || some
		return some
	})
	one := func(field string, kind schemas.PartKind, m **schemas.Media) bool {
		if *m == nil {
			return false
		}
		other, ok := do(field, kind, *m)
		if ok {
			*m, changed = &other, true
		}
		return ok
	}
	list := func(field string, list []schemas.Media) []schemas.Media {
		return each(list, func(i int, m *schemas.Media) bool {
			at := m
			ok := one(fmt.Sprintf("%s[%d]", field, i), schemas.PartImage, &at)
			*m = *at
			return ok
		})
	}
	if t := req.Transcribe; t != nil {
		own, audio := *t, &t.Audio
		one("transcribe.audio", schemas.PartAudio, &audio)
		own.Audio = *audio
		req.Transcribe = &own
	}
	if f := req.File; f != nil {
		own := *f
		one("file.content", schemas.PartFile, &own.Content)
		req.File = &own
	}
	if s := req.Image; s != nil {
		own := *s
		own.Inputs = list("image.inputs", s.Inputs)
		one("image.mask", schemas.PartImage, &own.Mask)
		req.Image = &own
	}
	if s := req.Video; s != nil {
		own := *s
		own.Inputs = list("video.inputs", s.Inputs)
		req.Video = &own
	}
	if !changed {
		return r, false
	}
	return &req, true
}

func (do swap) parts(field string, parts []schemas.Part) ([]schemas.Part, bool) {
	changed := false
	out := each(parts, func(i int, p *schemas.Part) bool {
		at := fmt.Sprintf("%s[%d]", field, i)
		switch {
		case p.ToolResult != nil:
			inner, some := do.parts(at+".tool_result.parts", p.ToolResult.Parts)
			if !some {
				return false
			}
			own := *p.ToolResult
			own.Parts, p.ToolResult = inner, &own
		case p.Media != nil:
			m, ok := do(at, p.Kind, p.Media)
			if !ok {
				return false
			}
			p.Media = &m
		default:
			return false
		}
		changed = true
		return true
	})
	return out, changed
}

// carriesMedia reports whether a request has anything beside words. Most have not.
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
