package openai

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"github.com/sira-ai/sira/handlers/provider"
	"github.com/sira-ai/sira/handlers/provider/wire"
	"github.com/sira-ai/sira/schemas"
	"github.com/sira-ai/sira/schemas/jsontext"
)

// picture returns the JSON of a request for new pictures.
func (a *Adapter) picture(call provider.Call) ([]byte, error) {
	s := call.Request.Image
	if len(s.Inputs) > 0 {
		return nil, wire.Unsupported("image.inputs", "are for op "+string(schemas.OpImageEdit))
	}
	b := append(make([]byte, 0, 256+len(s.Prompt)), '{')
	b = jsontext.AppendString(jsontext.AppendField(b, "model"), call.Model)
	b = jsontext.AppendString(jsontext.AppendField(b, "prompt"), s.Prompt)
	fields, err := imageFields(call)
	if err != nil {
		return nil, err
	}
	for _, f := range fields {
		if f.name == "n" {
			b = append(jsontext.AppendField(b, f.name), f.value...)
			continue
		}
		b = jsontext.AppendString(jsontext.AppendField(b, f.name), f.value)
	}
	return a.closed(b, call, "model", "prompt", "stream")
}

type textField struct{ name, value string }

// imageFields are the settings that new and changed pictures have in common.
func imageFields(call provider.Call) ([]textField, error) {
	s := call.Request.Image
	switch {
	case s.Negative != "":
		return nil, wire.Unsupported("image.negative_prompt", "is not known to this provider: say it in the prompt")
	case s.AspectRatio != "":
		return nil, wire.Unsupported("image.aspect_ratio", "is not known to this provider: give image.size")
	case (s.Width == nil) != (s.Height == nil):
		return nil, wire.Invalid("image.width", "and image.height go together")
	}
	size := s.Size
	if s.Width != nil {
		size = fmt.Sprintf("%dx%d", *s.Width, *s.Height)
	}
	var f []textField
	add := func(name, value string) {
		if value != "" {
			f = append(f, textField{name, value})
		}
	}
	if s.N != nil {
		add("n", strconv.FormatInt(*s.N, 10))
	}
	add("size", size)
	add("quality", s.Quality)
	add("style", s.Style)
	add("output_format", s.Format)
	add("background", s.Background)
	add("user", call.Request.EndUser)
	switch {
	case s.ReturnAs == "url":
		add("response_format", "url")
	case s.ReturnAs == "data" && !strings.Contains(call.Model, "gpt-image"): // which answer with data and refuse the field
		add("response_format", "b64_json")
	}
	return f, nil
}

// encodeEdit asks for changed pictures: as a form with the data, or as JSON where
// there are references. Without a prompt it asks for variations.
func (a *Adapter) encodeEdit(ctx context.Context, call provider.Call) (*http.Request, error) {
	s := call.Request.Image
	if len(s.Inputs) == 0 {
		return nil, wire.Invalid("image.inputs", "is empty: name the picture to change")
	}
	fields, err := imageFields(call)
	if err != nil {
		return nil, err
	}
	fields = append([]textField{{"model", call.Model}, {"prompt", s.Prompt}}, fields...)
	for i := range s.Inputs {
		if len(s.Inputs[i].Data) == 0 {
			return a.encodeReferences(ctx, call, fields)
		}
	}
	form := wire.NewForm()
	for _, f := range fields {
		form.Field(f.name, f.value)
	}
	if err := a.ownFields(form, call, "model", "prompt", "image", "stream"); err != nil {
		return nil, err
	}
	name, path := "image[]", pathImageEdits
	if len(s.Inputs) == 1 {
		name = "image" // dall-e-2 knows no other
	}
	if s.Prompt == "" {
		path = pathVariations
	}
	for i := range s.Inputs {
		form.File(name, withType(&s.Inputs[i]), "image")
	}
	if s.Mask != nil {
		if len(s.Mask.Data) == 0 {
			return nil, wire.Unsupported("image.mask", "is by reference while the picture is not: give its data")
		}
		form.File("mask", withType(s.Mask), "mask")
	}
	return a.PostForm(ctx, call, path, form)
}

// withType returns m with a media type, without which forms are refused.
func withType(m *schemas.Media) *schemas.Media {
	if m.MIME != "" {
		return m
	}
	typed := *m
	typed.MIME = sniff(m.Data)
	return &typed
}

func (a *Adapter) encodeReferences(ctx context.Context, call provider.Call, fields []textField) (*http.Request, error) {
	s := call.Request.Image
	if s.Prompt == "" {
		return nil, wire.Unsupported("image.inputs", "are by reference: variations need the data")
	}
	b := []byte{'{'}
	for _, f := range fields {
		if f.name == "n" {
			b = append(jsontext.AppendField(b, f.name), f.value...)
		} else {
			b = jsontext.AppendString(jsontext.AppendField(b, f.name), f.value)
		}
	}
	b = append(jsontext.AppendField(b, "images"), '[')
	for i := range s.Inputs {
		var why string
		if b, why = reference(jsontext.AppendItem(b), &s.Inputs[i]); why != "" {
			return nil, wire.Unsupported(fmt.Sprintf("image.inputs[%d]", i), why)
		}
	}
	b = append(b, ']')
	if s.Mask != nil {
		var why string
		if b, why = reference(jsontext.AppendField(b, "mask"), s.Mask); why != "" {
			return nil, wire.Unsupported("image.mask", why)
		}
	}
	b, err := a.closed(b, call, "model", "prompt", "images", "stream")
	if err != nil {
		return nil, err
	}
	return a.Post(ctx, call, pathImageEdits, b)
}

func reference(b []byte, m *schemas.Media) ([]byte, string) {
	switch {
	case len(m.Data) > 0:
		typed := withType(m)
		b = jsontext.AppendBase64(append(b, `{"image_url":`...), "data:"+plain(typed.MIME)+";base64,", m.Data)
	case m.URL != "":
		b = jsontext.AppendString(append(b, `{"image_url":`...), m.URL)
	case m.FileID != "":
		b = jsontext.AppendString(append(b, `{"file_id":`...), m.FileID)
	default:
		return b, "is a claim check: give its data, URL or file id"
	}
	return append(b, '}'), ""
}
