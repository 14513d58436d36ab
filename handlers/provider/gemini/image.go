package gemini

import (
	"context"
	"encoding/base64"
	"net/http"
	"strconv"
	"strings"

	"github.com/sira-ai/sira/handlers/provider"
	"github.com/sira-ai/sira/handlers/provider/wire"
	"github.com/sira-ai/sira/schemas"
	"github.com/sira-ai/sira/schemas/jsontext"
)

// imagen reports whether a model makes pictures by predict; the others by chat.
func imagen(model string) bool {
	return strings.HasPrefix(model[strings.LastIndexByte(model, '/')+1:], "imagen")
}

// image asks for pictures.
func (a *adapter) image(ctx context.Context, call provider.Call) (*http.Request, error) {
	s := call.Request.Image
	if s.ReturnAs == "url" {
		return nil, wire.Unsupported("image.return_as", "is url: this provider returns data")
	}
	ratio, size, err := shape(s)
	if err != nil {
		return nil, err
	}
	if imagen(call.Model) {
		return a.predictImage(ctx, call, ratio, size)
	}
	switch {
	case s.N != nil && *s.N > 1:
		return nil, wire.Unsupported("image.n", "is above 1: this model makes one picture")
	case s.Negative != "":
		return nil, wire.Unsupported("image.negative_prompt", "is not offered by this model: say it in the prompt")
	case s.Mask != nil:
		return nil, wire.Unsupported("image.mask", "is not offered by this model: say it in the prompt")
	}
	m := schemas.Message{Role: schemas.RoleUser}
	if s.Prompt != "" {
		m.Parts = append(m.Parts, schemas.Part{Kind: schemas.PartText, Text: s.Prompt})
	}
	for i := range s.Inputs {
		m.Parts = append(m.Parts, schemas.Part{Kind: schemas.PartImage, Media: &s.Inputs[i]})
	}
	req := disguised(call.Request, m)
	req.Output = &schemas.OutputSpec{Modalities: []string{"text", "image"}} // some models refuse image alone
	var more []byte
	if ratio != "" || size != "" || s.Seed != nil {
		more = []byte{'{'}
		more = jsontext.AppendIntField(more, "seed", s.Seed)
		if ratio != "" || size != "" {
			more = append(jsontext.AppendField(more, "imageConfig"), '{')
			more = jsontext.AppendStringField(more, "aspectRatio", ratio)
			more = append(jsontext.AppendStringField(more, "imageSize", size), '}')
		}
		more = append(more, '}')
	}
	return a.generate(ctx, call, req, more)
}

// predictImage asks an Imagen model.
func (a *adapter) predictImage(ctx context.Context, call provider.Call, ratio, size string) (*http.Request, error) {
	s := call.Request.Image
	if len(s.Inputs) > 0 && !a.vertex {
		return nil, wire.Unsupported("image.inputs", "is not offered by this model: take one of Vertex AI or a Gemini model")
	}
	b := jsontext.AppendString([]byte(`{"instances":[{"prompt":`), s.Prompt)
	b, err := references(b, s)
	if err != nil {
		return nil, err
	}
	b = append(b, `}],"parameters":{`...)
	n := int64(1)
	if s.N != nil {
		n = *s.N
	}
	b = strconv.AppendInt(jsontext.AppendField(b, "sampleCount"), n, 10)
	b = jsontext.AppendStringField(b, "aspectRatio", ratio)
	b = jsontext.AppendStringField(b, "sampleImageSize", size)
	b = jsontext.AppendStringField(b, "negativePrompt", s.Negative)
	b = jsontext.AppendFloatField(b, "guidanceScale", s.Guidance)
	if s.Seed != nil { // which watermarks do not go with
		b = jsontext.AppendIntField(b, "seed", s.Seed)
		b = append(jsontext.AppendField(b, "addWatermark"), "false"...)
	}
	switch s.Format {
	case "":
	case "png", "jpeg":
		b = jsontext.AppendString(append(jsontext.AppendField(b, "outputOptions"), `{"mimeType":`...), "image/"+s.Format)
		b = append(b, '}')
	default:
		return nil, wire.Unsupported("image.format", "is not png or jpeg")
	}
	b = append(b, "}}"...)
	if ext := call.Request.Ext[vendor]; len(ext) > 0 {
		if b, err = overlay(b, ext); err != nil {
			return nil, err
		}
	}
	return a.post(ctx, a.method(call.Model, "predict"), call, b), nil
}

// references appends the pictures to change and the mask, as Vertex AI's Imagen
// takes them.
func references(b []byte, s *schemas.ImageSpec) ([]byte, error) {
	if len(s.Inputs) == 0 {
		return b, nil
	}
	b = append(jsontext.AppendField(b, "referenceImages"), '[')
	for i := range s.Inputs {
		b = append(jsontext.AppendItem(b), `{"referenceType":"REFERENCE_TYPE_RAW","referenceId":`...)
		b = strconv.AppendInt(b, int64(i+1), 10)
		var why string
		if b, why = picture(jsontext.AppendField(b, "referenceImage"), &s.Inputs[i]); why != "" {
			return nil, wire.Unsupported("image.inputs["+strconv.Itoa(i)+"]", why)
		}
		b = append(b, '}')
	}
	if s.Mask != nil {
		b = append(jsontext.AppendItem(b), `{"referenceType":"REFERENCE_TYPE_MASK","referenceId":`...)
		b = strconv.AppendInt(b, int64(len(s.Inputs)+1), 10)
		var why string
		if b, why = picture(jsontext.AppendField(b, "referenceImage"), s.Mask); why != "" {
			return nil, wire.Unsupported("image.mask", why)
		}
		b = append(b, `,"maskImageConfig":{"maskMode":"MASK_MODE_USER_PROVIDED"}}`...)
	}
	return append(b, ']'), nil
}

// picture appends a picture or film in the form of the predict methods.
func picture(b []byte, m *schemas.Media) ([]byte, string) {
	b = append(b, '{')
	switch {
	case len(m.Data) > 0:
		b = jsontext.AppendBase64(jsontext.AppendField(b, "bytesBase64Encoded"), "", m.Data)
		b = jsontext.AppendStringField(b, "mimeType", m.MIME)
	case strings.HasPrefix(m.URL, "gs://"):
		b = jsontext.AppendStringField(b, "gcsUri", m.URL)
		b = jsontext.AppendStringField(b, "mimeType", mimeOf(m.MIME, m.URL))
	default:
		return b, "is neither data nor a gs:// address"
	}
	return append(b, '}'), ""
}

// ratios are the shapes that the models know.
var ratios = map[string]bool{
	"1:1": true, "2:3": true, "3:2": true, "3:4": true, "4:3": true, "4:5": true, "5:4": true,
	"9:16": true, "16:9": true, "21:9": true, "1:4": true, "4:1": true, "1:8": true, "8:1": true,
}

// shape returns the aspect ratio and the size, such as 2K, of the pictures.
func shape(s *schemas.ImageSpec) (ratio, size string, err error) {
	ratio = s.AspectRatio
	width, height := int64(0), int64(0)
	if s.Width != nil && s.Height != nil {
		width, height = *s.Width, *s.Height
	}
	switch w, h, found := strings.Cut(s.Size, "x"); {
	case s.Size == "" || s.Size == "auto":
	case found:
		width, _ = strconv.ParseInt(w, 10, 64)
		height, _ = strconv.ParseInt(h, 10, 64)
		if width <= 0 || height <= 0 {
			return "", "", wire.Unsupported("image.size", "is no size such as 1024x1024 or 2K")
		}
	default:
		size = s.Size
	}
	if ratio == "" && width > 0 && height > 0 {
		a, b := width, height
		for b != 0 {
			a, b = b, a%b
		}
		ratio = strconv.FormatInt(width/a, 10) + ":" + strconv.FormatInt(height/a, 10)
		if !ratios[ratio] {
			return "", "", wire.Unsupported("image.size", "has the shape "+ratio+", which this provider lacks: set image.aspect_ratio")
		}
	}
	return ratio, size, nil
}

// painted reads pictures, from predict or from a chat.
func (a *adapter) painted(res *http.Response, call provider.Call, emit provider.Emit) (*schemas.Response, error) {
	if !imagen(call.Model) {
		answer, err := a.answered(res, call.Request, emit)
		if err != nil {
			return nil, err
		}
		return answer, lift(answer, schemas.PartImage)
	}
	var body struct {
		Predictions []struct {
			MIME     string `json:"mimeType"`
			Data     string `json:"bytesBase64Encoded"`
			URL      string `json:"gcsUri"`
			Prompt   string `json:"prompt"`
			Filtered string `json:"raiFilteredReason"`
		} `json:"predictions"`
	}
	if err := a.object(res, &body); err != nil {
		return nil, err
	}
	answer := &schemas.Response{}
	why := ""
	for _, p := range body.Predictions {
		if p.Filtered != "" {
			why = p.Filtered
			answer.Safety = append(answer.Safety, schemas.Safety{Source: "completion", Category: p.Filtered, Filtered: true})
		}
		if p.Data == "" && p.URL == "" {
			continue
		}
		data, err := base64.StdEncoding.DecodeString(p.Data)
		if err != nil {
			return nil, wire.Malformed("a picture is not in base64", err)
		}
		answer.Media = append(answer.Media, schemas.Media{MIME: p.MIME, Data: data, URL: p.URL, Text: p.Prompt})
	}
	switch {
	case len(answer.Media) > 0:
	case why != "" || body.Predictions == nil: // filtered pictures are left out, all of them sometimes
		return nil, schemas.Fail(schemas.ContentFiltered, "the provider's filter withheld the pictures", nil)
	default:
		return nil, wire.Malformed("it has no pictures", nil)
	}
	answer.Usage = schemas.Usage{Source: schemas.UsageReported, Units: units("images", int64(len(answer.Media)))}
	return answer, nil
}
