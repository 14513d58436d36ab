package stability

import (
	"encoding/json"
	"net/url"
	"slices"
	"strings"

	"github.com/sira-ai/sira/handlers/provider"
	"github.com/sira-ai/sira/handlers/provider/wire"
	"github.com/sira-ai/sira/schemas"
)

// place is where a call goes and what is wanted there.
type place struct {
	path    string   // below the base URL
	engine  string   // of v1; empty for v2beta
	kind    string   // of v1: one of the engine kinds
	model   string   // for the field of that name
	files   []string // names of the pictures' fields, in order
	makes   string   // what comes back: image/, video/, audio/ or model/
	results string   // below the base URL, where a job's result is; empty: no job
}

// What a v1 engine is asked for.
const (
	engineText    = "text-to-image"
	engineImage   = "image-to-image"
	engineMask    = "image-to-image/masking"
	engineUpscale = "image-to-image/upscale"
)

// The paths of v2beta.
const (
	stableImage = "v2beta/stable-image/"
	filmPath    = "v2beta/image-to-video"
	soundPath   = "v2beta/audio/stable-audio-2/"
	resultsPath = "v2beta/results/"
)

// placeOf finds where a call goes: by its operation, the model, and the endpoint
// that the requester may choose.
func placeOf(call provider.Call) (*place, error) {
	chosen, err := endpoint(call.Request)
	if err != nil {
		return nil, err
	}
	switch op := call.Request.Operation(); op {
	case schemas.OpImage, schemas.OpImageEdit:
		return imagePlace(call, chosen)
	case schemas.OpVideo:
		return &place{path: filmPath, files: []string{"image"}, makes: "video/", results: filmPath + "/result/"}, nil
	case schemas.OpSpeech:
		if chosen == "" {
			chosen = "text-to-audio"
		}
		if chosen != "text-to-audio" {
			return nil, wire.Unsupported("ext.stability.endpoint", "is not text-to-audio: this operation sends no sound")
		}
		p := &place{path: soundPath + chosen, makes: "audio/", results: resultsPath}
		if call.Model != "stable-audio-2" {
			p.model = call.Model
		}
		return p, nil
	}
	return nil, wire.Unsupported("op", "is not offered by this provider")
}

// endpoint returns the requester's choice, "" where there is none.
func endpoint(req *schemas.Request) (string, error) {
	raw := req.Ext[vendor]
	if len(raw) == 0 {
		return "", nil
	}
	var e struct {
		Endpoint string `json:"endpoint"`
	}
	if err := json.Unmarshal(raw, &e); err != nil {
		return "", wire.Invalid("ext.stability", "is not an object with a text as endpoint")
	}
	for step := range strings.SplitSeq(e.Endpoint, "/") {
		if !plainID(step) && e.Endpoint != "" {
			return "", wire.Invalid("ext.stability.endpoint", "is not like edit/erase")
		}
	}
	return e.Endpoint, nil
}

func imagePlace(call provider.Call, chosen string) (*place, error) {
	spec := call.Request.Image
	edit := len(spec.Inputs) > 0
	p := &place{makes: "image/", files: []string{"image"}, results: resultsPath}
	where := chosen
	if where == "" && strings.Contains(call.Model, "/") { // a model may be named by its endpoint
		for step := range strings.SplitSeq(call.Model, "/") {
			if !plainID(step) {
				return nil, wire.Invalid("model", "is neither a model of this provider nor like edit/erase")
			}
		}
		where = call.Model
	}
	switch {
	case where == "" && edit && spec.Mask != nil && !engine(call.Model):
		where = "edit/inpaint"
	case where != "":
	case call.Model == "core" || call.Model == "stable-image-core":
		if edit {
			return nil, wire.Unsupported("image.inputs", "are not taken by this model: ultra and sd3 do")
		}
		where = "generate/core"
	case call.Model == "ultra" || call.Model == "stable-image-ultra":
		where = "generate/ultra"
	case strings.HasPrefix(call.Model, "sd3"):
		where = "generate/sd3"
	case call.Model == "":
		return nil, wire.Invalid("model", "is empty")
	default:
		return p.atEngine(call.Model, spec)
	}
	if where == "generate/sd3" && strings.HasPrefix(call.Model, "sd3") && call.Model != "sd3" {
		p.model = call.Model
	}
	return p.at(where), nil
}

// at completes p for an endpoint of v2beta.
func (p *place) at(where string) *place {
	switch {
	case strings.HasPrefix(where, "3d/"):
		p.path, p.makes = "v2beta/"+where, "model/"
	default:
		p.path = stableImage + where
	}
	switch where {
	case "control/style-transfer":
		p.files = []string{"init_image", "style_image"}
	case "edit/replace-background-and-relight":
		p.files = []string{"subject_image", "background_reference", "light_reference"}
	case "upscale/creative":
		p.results = stableImage + where + "/result/"
	}
	return p
}

// engine reports whether a model is one of v1's.
func engine(model string) bool {
	return !strings.Contains(model, "/") && !strings.HasPrefix(model, "sd3") &&
		!slices.Contains([]string{"", "core", "ultra", "stable-image-core", "stable-image-ultra"}, model)
}

// atEngine completes p for an engine of v1.
func (p *place) atEngine(id string, spec *schemas.ImageSpec) (*place, error) {
	p.engine, p.results = id, ""
	switch {
	case len(spec.Inputs) == 0:
		p.kind = engineText
	case strings.HasPrefix(id, "esrgan"):
		p.kind = engineUpscale
	case spec.Mask != nil:
		p.kind, p.files = engineMask, []string{"init_image"}
	default:
		p.kind, p.files = engineImage, []string{"init_image"}
	}
	p.path = "v1/generation/" + url.PathEscape(id) + "/" + p.kind
	return p, nil
}
