package together

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"unicode/utf8"

	"github.com/shopspring/decimal"

	"github.com/sira-ai/sira/handlers/provider"
	"github.com/sira-ai/sira/handlers/provider/wire"
	"github.com/sira-ai/sira/schemas"
	"github.com/sira-ai/sira/schemas/jsontext"
)

// image returns the JSON of a request for pictures. To change one is to make one
// from it.
func image(call provider.Call) ([]byte, error) {
	s := call.Request.Image
	switch {
	case s.Mask != nil:
		return nil, wire.Unsupported("image.mask", "is not known to this provider")
	case s.AspectRatio != "":
		return nil, wire.Unsupported("image.aspect_ratio", "is not known to this provider: give image.width and image.height")
	case s.Format != "" && s.Format != "png" && s.Format != "jpeg":
		return nil, wire.Unsupported("image.format", "is neither png nor jpeg")
	}
	width, height, err := dimensions(s.Width, s.Height, s.Size, "image.size")
	if err != nil {
		return nil, err
	}
	b := append(make([]byte, 0, 256+len(s.Prompt)), '{')
	b = jsontext.AppendString(jsontext.AppendField(b, "model"), call.Model)
	b = jsontext.AppendString(jsontext.AppendField(b, "prompt"), s.Prompt)
	b = jsontext.AppendStringField(b, "negative_prompt", s.Negative)
	b = jsontext.AppendIntField(b, "n", s.N)
	b = jsontext.AppendIntField(b, "width", width)
	b = jsontext.AppendIntField(b, "height", height)
	b = jsontext.AppendIntField(b, "steps", s.Steps)
	b = jsontext.AppendFloatField(b, "guidance_scale", s.Guidance)
	b = jsontext.AppendIntField(b, "seed", s.Seed)
	b = jsontext.AppendStringField(b, "output_format", s.Format)
	switch s.ReturnAs {
	case "data":
		b = jsontext.AppendStringField(b, "response_format", "base64")
	case "url":
		b = jsontext.AppendStringField(b, "response_format", "url")
	}
	switch len(s.Inputs) {
	case 0:
	case 1:
		b, err = address(jsontext.AppendField(b, "image_url"), &s.Inputs[0], "image.inputs[0]")
	default:
		b, err = addresses(jsontext.AppendField(b, "reference_images"), s.Inputs, "image.inputs")
	}
	if err != nil {
		return nil, err
	}
	return extended(append(b, '}'), call.Request, "model", "prompt")
}

// dimensions returns width and height, which the API wants apart.
func dimensions(width, height *int64, size, name string) (w, h *int64, err error) {
	if width != nil || height != nil || size == "" {
		return width, height, nil
	}
	var x, y int64
	if n, err := fmt.Sscanf(size, "%dx%d", &x, &y); err != nil || n != 2 {
		return nil, nil, wire.Unsupported(name, "is not of the form 1024x768")
	}
	return &x, &y, nil
}

// address appends where a picture is: its URL, or its data as one.
func address(b []byte, m *schemas.Media, name string) ([]byte, error) {
	switch {
	case m.URL != "":
		return jsontext.AppendString(b, m.URL), nil
	case len(m.Data) > 0:
		return jsontext.AppendString(b, "data:"+typeOf(m)+";base64,"+base64.StdEncoding.EncodeToString(m.Data)), nil
	}
	return nil, wire.Unsupported(name, "is by reference: give its data or URL")
}

func typeOf(m *schemas.Media) string {
	if m.MIME != "" {
		return m.MIME
	}
	return http.DetectContentType(m.Data)
}

func addresses(b []byte, all []schemas.Media, name string) ([]byte, error) {
	b = append(b, '[')
	for i := range all {
		var err error
		if b, err = address(jsontext.AppendItem(b), &all[i], fmt.Sprintf("%s[%d]", name, i)); err != nil {
			return nil, err
		}
	}
	return append(b, ']'), nil
}

// painted completes an answer with pictures, which are billed by the megapixel.
func painted(out *schemas.Response, call provider.Call) {
	s := call.Request.Image
	out.Warnings = nil // what OpenAI's dialect lacks was sent, but for these
	for name, set := range map[string]bool{
		"image.quality": s.Quality != "", "image.style": s.Style != "", "image.background": s.Background != "", "image.strength": s.Strength != nil,
	} {
		if set {
			out.Warnings = append(out.Warnings, name+" was not sent: the provider has no such setting")
		}
	}
	if out.Model == "" {
		out.Model = call.Model
	}
	slices.Sort(out.Warnings)
	w, h, err := dimensions(s.Width, s.Height, s.Size, "")
	if err == nil && w != nil && h != nil && *w > 0 && *h > 0 && out.Usage.Units != nil {
		n := decimal.NewFromInt(*w).Mul(decimal.NewFromInt(*h)).Mul(decimal.NewFromInt(int64(len(out.Media))))
		out.Usage.Units["megapixels"] = n.Shift(-6)
	}
}

// speech returns the JSON of a request to say a text aloud.
func speech(call provider.Call) ([]byte, error) {
	s := call.Request.Speech
	switch s.Format {
	case "", "mp3", "wav", "raw":
	default:
		return nil, wire.Unsupported("speech.format", "is not mp3, wav or raw")
	}
	b := append(make([]byte, 0, 256+len(s.Text)), '{')
	b = jsontext.AppendString(jsontext.AppendField(b, "model"), call.Model)
	b = jsontext.AppendString(jsontext.AppendField(b, "input"), s.Text)
	b = jsontext.AppendStringField(b, "voice", s.Voice)
	b = jsontext.AppendStringField(b, "language", s.Language)
	switch {
	case call.Request.Stream: // of which only raw samples can be had
		b = append(jsontext.AppendField(b, "stream"), "true"...)
		b = jsontext.AppendStringField(b, "response_format", "raw")
	default:
		b = jsontext.AppendStringField(b, "response_format", s.Format)
	}
	return extended(append(b, '}'), call.Request, "model", "input", "stream")
}

// speech reads sound: its bytes, or the events of a stream.
func (a *adapter) speech(res *http.Response, call provider.Call, emit provider.Emit) (*schemas.Response, error) {
	var out *schemas.Response
	var err error
	if form, body := wire.Open(res, false); form == wire.Events {
		out, err = a.spoken(body, call, emit)
		out, err = a.Sign(res, out, err)
	} else {
		out, err = a.Adapter.Decode(res, call, emit)
	}
	if err != nil {
		return nil, err
	}
	out.Model = call.Model
	out.Warnings = nil // what OpenAI's dialect lacks was sent, but for these
	if call.Request.Speech.Speed != nil {
		out.Warnings = append(out.Warnings, "speech.speed was not sent: the provider has no such setting")
	}
	if call.Request.Speech.Instructions != "" {
		out.Warnings = append(out.Warnings, "speech.instructions was not sent: the provider has no such setting")
	}
	return out, nil
}

// spoken reads the events of a stream of sound, up to [DONE].
func (a *adapter) spoken(from io.Reader, call provider.Call, emit provider.Emit) (*schemas.Response, error) {
	answer := wire.NewAnswer(emit)
	answer.Begin("", call.Model)
	events := wire.NewEventReader(from, 0)
	for {
		ev, err := events.Next()
		switch {
		case errors.Is(err, io.EOF):
			return nil, answer.Interrupted(call.Request, io.ErrUnexpectedEOF)
		case err != nil:
			return nil, answer.Interrupted(call.Request, err)
		case string(ev.Data) == "[DONE]":
			return heard(answer, call)
		}
		data, refused, err := soundPiece(ev.Data)
		switch {
		case err != nil:
			return nil, answer.Broken(call.Request, wire.Malformed("an event of it is not as agreed", err))
		case refused:
			f := wire.Told(wire.ParseError(ev.Data), a.secret)
			f.Code = schemas.Internal
			return nil, answer.Broken(call.Request, f)
		case len(data) > 0:
			answer.MediaPiece(0, schemas.PartAudio, "audio/pcm", data)
		}
		if answer.Err() != nil {
			return nil, answer.Unheard(call.Request)
		}
	}
}

// heard returns the answer that a stream of sound has given.
func heard(answer *wire.Answer, call provider.Call) (*schemas.Response, error) {
	answer.Finish(0, schemas.Finish{Reason: schemas.FinishStop})
	n := int64(utf8.RuneCountInString(call.Request.Speech.Text))
	answer.Use(schemas.Usage{Source: schemas.UsageEstimated, Units: map[string]decimal.Decimal{"characters": decimal.NewFromInt(n)}})
	out := answer.Response(call.Request)
	if answer.Err() != nil {
		return nil, answer.Unheard(call.Request)
	}
	for _, p := range out.Choices[0].Message.Parts {
		out.Media = append(out.Media, *p.Media)
	}
	out.Choices = nil
	if len(out.Media) == 0 {
		return nil, wire.Malformed("it has no sound", nil)
	}
	return out, nil
}

func soundPiece(body []byte) (data []byte, refused bool, err error) {
	c := jsontext.NewCursor(body)
	if c.Object() {
		for c.Key() {
			switch string(c.Name()) {
			case "b64", "delta":
				data, err = base64.StdEncoding.DecodeString(c.Text())
			case "error":
				raw := string(c.Raw())
				refused = raw != "" && raw != "null"
			default:
				c.Skip()
			}
		}
	}
	return data, refused, errors.Join(err, c.End())
}

// transcribe asks for the words of a recording, which may be given by URL.
func (a *adapter) transcribe(ctx context.Context, call provider.Call) (*http.Request, error) {
	if call.Request.Stream { // there is none: the answer comes at once
		req := *call.Request
		req.Stream = false
		call.Request = &req
	}
	t := call.Request.Transcribe
	if len(t.Audio.Data) > 0 || t.Audio.URL == "" {
		return a.Adapter.Encode(ctx, call)
	}
	path := "audio/transcriptions"
	if t.Translate {
		path = "audio/translations"
	}
	form := wire.NewForm()
	form.Field("model", call.Model)
	form.Field("file", t.Audio.URL)
	form.Field("language", t.Language)
	form.Field("prompt", t.Prompt)
	if t.Temperature != nil {
		form.Field("temperature", strconv.FormatFloat(*t.Temperature, 'f', -1, 64))
	}
	if t.Timestamps != "" {
		form.Field("response_format", "verbose_json")
		form.Field("timestamp_granularities", t.Timestamps)
	}
	return a.form(ctx, call, path, form)
}

// form returns the request that sends a form to path.
func (a *adapter) form(ctx context.Context, call provider.Call, path string, form *wire.FormWriter) (*http.Request, error) {
	req, err := a.Post(ctx, call, path, nil) // for its address and headers
	if err != nil {
		return nil, err
	}
	return form.Post(ctx, req.URL, req.Header), nil
}

// upload sends a file. The address is not OpenAI's.
func (a *adapter) upload(ctx context.Context, call provider.Call) (*http.Request, error) {
	f := call.Request.File
	if len(f.Content.Data) == 0 {
		return nil, wire.Unsupported("file.content", "is by reference: give its data")
	}
	name := f.Content.Name
	if name == "" {
		name = "file.jsonl"
	}
	form := wire.NewForm()
	form.Field("purpose", f.Purpose)
	form.Field("file_name", name)
	form.File("file", f.Content, name)
	return a.form(ctx, call, "files/upload", form)
}
