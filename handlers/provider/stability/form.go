package stability

import (
	"context"
	"encoding/json"
	"maps"
	"math"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/sira-ai/sira/handlers/provider"
	"github.com/sira-ai/sira/handlers/provider/wire"
	"github.com/sira-ai/sira/schemas"
)

// encodeForm returns the request to an endpoint of v2beta, which is a form even
// where there are no files.
func (a *Adapter) encodeForm(ctx context.Context, call provider.Call, p *place) (*http.Request, error) {
	form := wire.NewForm()
	var err error
	switch req := call.Request; req.Operation() {
	case schemas.OpVideo:
		err = film(form, req.Video, p)
	case schemas.OpSpeech:
		form.Field("prompt", req.Speech.Text)
		form.Field("output_format", req.Speech.Format)
	default:
		err = picture(form, req.Image, p)
	}
	if err != nil {
		return nil, err
	}
	form.Field("model", p.model)
	if err := own(form, call.Request); err != nil {
		return nil, err
	}
	h := maps.Clone(a.header)
	h.Set("Accept", a.accept(p))
	return form.Post(ctx, a.base.JoinPath(p.path), h), nil
}

func picture(form *wire.FormWriter, s *schemas.ImageSpec, p *place) error {
	switch {
	case s.N != nil && *s.N > 1:
		return wire.Unsupported("image.n", "is 1 with this model: send a request for each picture")
	case s.ReturnAs == "url":
		return wire.Unsupported("image.return_as", "is data with this provider")
	}
	form.Field("prompt", s.Prompt)
	form.Field("negative_prompt", s.Negative)
	if err := files(form, s.Inputs, p.files); err != nil {
		return err
	}
	if s.Mask != nil {
		if err := file(form, "mask", "image.mask", s.Mask); err != nil {
			return err
		}
	}
	switch {
	case len(s.Inputs) == 0:
		form.Field("aspect_ratio", ratio(s))
	case strings.HasSuffix(p.path, "generate/sd3"):
		form.Field("mode", "image-to-image")
	}
	if s.Strength != nil {
		form.Field("strength", float(*s.Strength))
	}
	if s.Guidance != nil && guided(p) {
		form.Field("cfg_scale", float(*s.Guidance))
	}
	seed(form, s.Seed)
	form.Field("style_preset", s.Style)
	form.Field("output_format", format(s.Format))
	return nil
}

// guided reports whether an endpoint takes cfg_scale.
func guided(p *place) bool { return strings.HasSuffix(p.path, "generate/sd3") }

func format(s string) string {
	if s == "jpg" {
		return "jpeg"
	}
	return s
}

func film(form *wire.FormWriter, s *schemas.VideoSpec, p *place) error {
	if s.Prompt != "" {
		return wire.Unsupported("video.prompt", "is not taken by this provider, which makes a film of one picture")
	}
	seed(form, s.Seed)
	return files(form, s.Inputs, p.files)
}

func seed(form *wire.FormWriter, n *int64) {
	if n != nil {
		form.Field("seed", strconv.FormatInt(*n, 10))
	}
}

func float(f float64) string { return strconv.FormatFloat(f, 'f', -1, 64) }

// files adds pictures under the names that the endpoint has for them.
func files(form *wire.FormWriter, list []schemas.Media, names []string) error {
	if len(list) > len(names) {
		return wire.Unsupported("image.inputs", "has more pictures than this endpoint takes: "+strconv.Itoa(len(names)))
	}
	for i := range list {
		if err := file(form, names[i], "image.inputs["+strconv.Itoa(i)+"]", &list[i]); err != nil {
			return err
		}
	}
	return nil
}

func file(form *wire.FormWriter, name, param string, m *schemas.Media) error {
	if len(m.Data) == 0 {
		return wire.Unsupported(param, "has no data: this provider fetches no pictures")
	}
	form.File(name, m, name)
	return nil
}

// own adds the requester's fields for this vendor. Texts go without quotes, and
// what is no scalar as JSON.
func own(form *wire.FormWriter, req *schemas.Request) error {
	raw := req.Ext[vendor]
	if len(raw) == 0 {
		return nil
	}
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(raw, &fields); err != nil {
		return wire.Invalid("ext.stability", "is not a JSON object")
	}
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		if name == "endpoint" {
			continue
		}
		value := string(fields[name])
		var text string
		if json.Unmarshal(fields[name], &text) == nil {
			value = text
		}
		form.Field(name, value)
	}
	return nil
}

// ratios are the aspect ratios that v2beta makes.
var ratios = []struct {
	name  string
	value float64
}{
	{"21:9", 21.0 / 9},
	{"16:9", 16.0 / 9},
	{"3:2", 3.0 / 2},
	{"5:4", 5.0 / 4},
	{"1:1", 1},
	{"4:5", 4.0 / 5},
	{"2:3", 2.0 / 3},
	{"9:16", 9.0 / 16},
	{"9:21", 9.0 / 21},
}

// ratio returns the aspect ratio that is asked for, or the nearest to a size: v2beta
// knows no sizes.
func ratio(s *schemas.ImageSpec) string {
	if s.AspectRatio != "" {
		return s.AspectRatio
	}
	w, h := sized(s)
	if w <= 0 || h <= 0 {
		return ""
	}
	best, off := "", math.Inf(1)
	for _, r := range ratios {
		if d := math.Abs(math.Log(float64(w) / float64(h) / r.value)); d < off {
			best, off = r.name, d
		}
	}
	return best
}

// sized returns the width and height that are asked for, 0 where they aren't.
func sized(s *schemas.ImageSpec) (w, h int64) {
	if s.Width != nil && s.Height != nil {
		return *s.Width, *s.Height
	}
	x, y, _ := strings.Cut(s.Size, "x")
	w, errW := strconv.ParseInt(x, 10, 32)
	h, errH := strconv.ParseInt(y, 10, 32)
	if errW != nil || errH != nil {
		return 0, 0
	}
	return w, h
}

// unsaid lists what of req was not sent, or not as it was said.
func unsaid(req *schemas.Request, p *place) []string {
	var w []string
	say := func(given bool, what string) {
		if given {
			w = append(w, what)
		}
	}
	no := func(given bool, param string) {
		say(given, param+" was not sent: the provider has no such setting")
	}
	switch req.Operation() {
	case schemas.OpImage, schemas.OpImageEdit:
		s := req.Image
		no(s.Quality != "", "image.quality")
		no(s.Background != "", "image.background")
		if p.engine != "" {
			no(s.AspectRatio != "", "image.aspect_ratio")
			no(s.Format != "" && s.Format != "png", "image.format")
			break
		}
		no(s.Steps != nil, "image.steps")
		no(s.Guidance != nil && !guided(p), "image.guidance")
		no(s.AspectRatio != "" && len(s.Inputs) > 0, "image.aspect_ratio")
		if x, _ := sized(s); x > 0 && s.AspectRatio == "" && len(s.Inputs) == 0 {
			say(true, "the size was sent as the nearest aspect ratio, "+ratio(s)+": the provider knows no sizes")
		}
	case schemas.OpVideo:
		v := req.Video
		no(v.Negative != "", "video.negative_prompt")
		no(v.Seconds != nil, "video.seconds")
		no(v.Size != "", "video.size")
		no(v.AspectRatio != "", "video.aspect_ratio")
	case schemas.OpSpeech:
		s := req.Speech
		no(s.Voice != "", "speech.voice")
		no(s.Speed != nil, "speech.speed")
		no(s.Instructions != "", "speech.instructions")
		no(s.Language != "", "speech.language")
	}
	return w
}
