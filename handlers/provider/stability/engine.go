package stability

import (
	"context"
	"maps"
	"net/http"
	"strconv"

	"github.com/sira-ai/sira/handlers/provider"
	"github.com/sira-ai/sira/handlers/provider/wire"
	"github.com/sira-ai/sira/schemas"
	"github.com/sira-ai/sira/schemas/jsontext"
)

// The engines of v1 always answer in JSON here: a picture by itself could not say
// that it is one of several, or filtered.

// encodeEngineText returns the request for pictures of a prompt.
func (a *Adapter) encodeEngineText(ctx context.Context, call provider.Call, p *place) (*http.Request, error) {
	s := call.Request.Image
	if s.ReturnAs == "url" {
		return nil, wire.Unsupported("image.return_as", "is data with this provider")
	}
	b := append([]byte(`{"text_prompts":[{"text":`), jsontext.AppendString(nil, s.Prompt)...)
	if s.Negative != "" { // a prompt of negative weight
		b = append(b, `},{"text":`...)
		b = append(jsontext.AppendString(b, s.Negative), `,"weight":-1`...)
	}
	b = append(b, "}]"...)
	if w, h := sized(s); w > 0 && h > 0 {
		b = jsontext.AppendIntField(b, "width", &w)
		b = jsontext.AppendIntField(b, "height", &h)
	}
	b = jsontext.AppendIntField(b, "samples", s.N)
	b = jsontext.AppendIntField(b, "steps", s.Steps)
	b = jsontext.AppendFloatField(b, "cfg_scale", s.Guidance)
	b = jsontext.AppendIntField(b, "seed", s.Seed)
	b = jsontext.AppendStringField(b, "style_preset", s.Style)
	b = append(b, '}')
	if ext := call.Request.Ext[vendor]; len(ext) > 0 {
		var err error
		if b, err = wire.Overlay(b, "ext."+vendor, ext, "endpoint"); err != nil {
			return nil, err
		}
	}
	h := maps.Clone(a.header)
	h.Set("Accept", "application/json")
	return wire.Post(ctx, a.base.JoinPath(p.path), h, b), nil
}

// encodeEngineForm returns the request for pictures of a picture.
func (a *Adapter) encodeEngineForm(ctx context.Context, call provider.Call, p *place) (*http.Request, error) {
	s := call.Request.Image
	if s.ReturnAs == "url" {
		return nil, wire.Unsupported("image.return_as", "is data with this provider")
	}
	form := wire.NewForm()
	if err := files(form, s.Inputs, p.files); err != nil {
		return nil, err
	}
	number := func(name string, n *int64) {
		if n != nil {
			form.Field(name, strconv.FormatInt(*n, 10))
		}
	}
	if p.kind == engineUpscale { // one side only
		number("width", s.Width)
		if s.Width == nil {
			number("height", s.Height)
		}
	} else {
		if err := looks(form, s, p); err != nil {
			return nil, err
		}
		number("samples", s.N)
		number("steps", s.Steps)
	}
	number("seed", s.Seed)
	if err := own(form, call.Request); err != nil {
		return nil, err
	}
	h := maps.Clone(a.header)
	h.Set("Accept", "application/json")
	return form.Post(ctx, a.base.JoinPath(p.path), h), nil
}

// looks adds what the new picture should look like.
func looks(form *wire.FormWriter, s *schemas.ImageSpec, p *place) error {
	form.Field("text_prompts[0][text]", s.Prompt)
	if s.Negative != "" {
		form.Field("text_prompts[1][text]", s.Negative)
		form.Field("text_prompts[1][weight]", "-1")
	}
	if p.kind == engineMask {
		form.Field("mask_source", "MASK_IMAGE_WHITE")
		if err := file(form, "mask_image", "image.mask", s.Mask); err != nil {
			return err
		}
	} else if s.Strength != nil { // the vendor's is how much of the input stays
		form.Field("init_image_mode", "IMAGE_STRENGTH")
		form.Field("image_strength", float(1-*s.Strength))
	}
	if s.Guidance != nil {
		form.Field("cfg_scale", float(*s.Guidance))
	}
	form.Field("style_preset", s.Style)
	return nil
}
