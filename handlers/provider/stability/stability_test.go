package stability_test

import (
	"encoding/base64"
	"encoding/json"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/shopspring/decimal"

	"github.com/sira-ai/sira/handlers/provider"
	"github.com/sira-ai/sira/handlers/provider/providertest"
	"github.com/sira-ai/sira/handlers/provider/stability"
	"github.com/sira-ai/sira/pipeline/catalog"
	"github.com/sira-ai/sira/schemas"
)

var _ provider.JobAdapter = (*stability.Adapter)(nil)

func newAdapter(t testing.TB, change func(*stability.Config)) *stability.Adapter {
	t.Helper()
	c := stability.Defaults
	c.APIKey = providertest.Key
	if change != nil {
		change(&c)
	}
	if err := c.Validate(); err != nil {
		t.Fatal(err)
	}
	a, err := stability.NewAdapter(c)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// png begins like a picture.
const png = "\x89PNG\r\n\x1a\n and more"

func image(model string, change func(*schemas.Request)) provider.Call {
	req := &schemas.Request{ID: "r", Tenant: "acme", Model: "m", Op: schemas.OpImage, Image: &schemas.ImageSpec{Prompt: "A cat."}}
	if change != nil {
		change(req)
	}
	return provider.Call{Model: model, Request: req}
}

func edit(model string, change func(*schemas.Request)) provider.Call {
	return image(model, func(r *schemas.Request) {
		r.Op, r.Image.Inputs = schemas.OpImageEdit, []schemas.Media{{MIME: "image/png", Data: []byte(png)}}
		if change != nil {
			change(r)
		}
	})
}

func ext(raw string) map[string]json.RawMessage {
	return map[string]json.RawMessage{"stability": json.RawMessage(raw)}
}

// sent returns what a request says: the fields of its form, or its JSON. Files
// are told by their length.
func sent(t *testing.T, req *http.Request) map[string]string {
	t.Helper()
	body, err := io.ReadAll(req.Body)
	if err != nil {
		t.Fatal(err)
	}
	kind, params, _ := mime.ParseMediaType(req.Header.Get("Content-Type"))
	if kind == "application/json" {
		return map[string]string{"json": string(body)}
	}
	form, err := multipart.NewReader(strings.NewReader(string(body)), params["boundary"]).ReadForm(1 << 20)
	if err != nil {
		t.Fatal(err)
	}
	fields := map[string]string{}
	for name, values := range form.Value {
		fields[name] = strings.Join(values, ";")
	}
	for name, files := range form.File {
		fields[name] = files[0].Header.Get("Content-Type") + " file"
	}
	return fields
}

func TestACallGoesWhereItsModelIs(t *testing.T) {
	t.Parallel()
	f := "image/png file"
	tests := []struct {
		name   string
		call   provider.Call
		path   string
		accept string
		want   map[string]string
	}{
		{"core", image("core", func(r *schemas.Request) {
			r.Image.AspectRatio, r.Image.Style, r.Image.Format, r.Image.Negative, r.Image.Seed = "16:9", "anime", "jpg", "dogs", new(int64(0))
		}), "/v2beta/stable-image/generate/core", "image/*", map[string]string{
			"prompt": "A cat.", "aspect_ratio": "16:9", "style_preset": "anime", "output_format": "jpeg", "negative_prompt": "dogs", "seed": "0",
		}},
		{
			"size", image("stable-image-ultra", func(r *schemas.Request) { r.Image.Size = "1792x1024" }),
			"/v2beta/stable-image/generate/ultra", "image/*",
			map[string]string{"prompt": "A cat.", "aspect_ratio": "16:9"},
		},
		{
			"sd3", image("sd3.5-flash", func(r *schemas.Request) { r.Image.Guidance = new(4.5) }),
			"/v2beta/stable-image/generate/sd3", "image/*",
			map[string]string{"prompt": "A cat.", "model": "sd3.5-flash", "cfg_scale": "4.5"},
		},
		{
			"sd3 of an image", edit("sd3.5-large", func(r *schemas.Request) { r.Image.Strength = new(0.25) }),
			"/v2beta/stable-image/generate/sd3", "image/*",
			map[string]string{
				"prompt": "A cat.", "model": "sd3.5-large", "mode": "image-to-image", "image": f, "strength": "0.25",
			},
		},
		{
			"mask", edit("sd3.5-large", func(r *schemas.Request) { r.Image.Mask = &r.Image.Inputs[0] }),
			"/v2beta/stable-image/edit/inpaint", "image/*",
			map[string]string{"prompt": "A cat.", "image": f, "mask": f},
		},
		{"endpoint", edit("sd3", func(r *schemas.Request) {
			r.Ext = ext(`{"endpoint":"edit/outpaint","left":100,"creativity":0.5,"style_preset":"anime"}`)
		}), "/v2beta/stable-image/edit/outpaint", "image/*", map[string]string{
			"prompt": "A cat.", "image": f, "left": "100", "creativity": "0.5", "style_preset": "anime",
		}},
		{"endpoint as model", edit("control/style-transfer", func(r *schemas.Request) {
			r.Image.Inputs = append(r.Image.Inputs, r.Image.Inputs[0])
		}), "/v2beta/stable-image/control/style-transfer", "image/*", map[string]string{"prompt": "A cat.", "init_image": f, "style_image": f}},
		{
			"3d", edit("3d/stable-fast-3d", func(r *schemas.Request) { r.Image.Prompt = "" }),
			"/v2beta/3d/stable-fast-3d", "model/gltf-binary",
			map[string]string{"image": f},
		},
		{"sound", provider.Call{Model: "stable-audio-2.5", Request: &schemas.Request{
			Op: schemas.OpSpeech, Speech: &schemas.SpeechSpec{Text: "Rain.", Format: "mp3"}, Ext: ext(`{"duration":20}`),
		}}, "/v2beta/audio/stable-audio-2/text-to-audio", "audio/*", map[string]string{
			"prompt": "Rain.", "output_format": "mp3", "model": "stable-audio-2.5", "duration": "20",
		}},
		{"film", provider.Call{Model: "stable-video", Request: &schemas.Request{
			Op: schemas.OpVideo, Video: &schemas.VideoSpec{Inputs: []schemas.Media{{MIME: "image/png", Data: []byte(png)}}, Seed: new(int64(4))},
		}}, "/v2beta/image-to-video", "video/*", map[string]string{"image": f, "seed": "4"}},
		{"engine", image("stable-diffusion-xl-1024-v1-0", func(r *schemas.Request) {
			r.Image.Size, r.Image.N, r.Image.Negative, r.Image.Steps = "1024x768", new(int64(2)), "dogs", new(int64(30))
			r.Ext = ext(`{"sampler":"DDIM"}`)
		}), "/v1/generation/stable-diffusion-xl-1024-v1-0/text-to-image", "application/json", map[string]string{
			"json": `{"height":768,"sampler":"DDIM","samples":2,"steps":30,"text_prompts":[{"text":"A cat."},{"text":"dogs","weight":-1}],"width":1024}`,
		}},
		{
			"engine of an image", edit("stable-diffusion-v1-6", func(r *schemas.Request) { r.Image.Strength = new(0.25) }),
			"/v1/generation/stable-diffusion-v1-6/image-to-image", "application/json",
			map[string]string{
				"text_prompts[0][text]": "A cat.", "init_image": f, "init_image_mode": "IMAGE_STRENGTH", "image_strength": "0.75",
			},
		},
		{
			"engine with a mask", edit("stable-diffusion-v1-6", func(r *schemas.Request) { r.Image.Mask = &r.Image.Inputs[0] }),
			"/v1/generation/stable-diffusion-v1-6/image-to-image/masking", "application/json",
			map[string]string{
				"text_prompts[0][text]": "A cat.", "init_image": f, "mask_image": f, "mask_source": "MASK_IMAGE_WHITE",
			},
		},
		{
			"engine that enlarges", edit("esrgan-v1-x2plus", func(r *schemas.Request) { r.Image.Width = new(int64(2048)) }),
			"/v1/generation/esrgan-v1-x2plus/image-to-image/upscale", "application/json",
			map[string]string{"image": f, "width": "2048"},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			req, err := newAdapter(t, nil).Encode(t.Context(), tt.call)
			if err != nil {
				t.Fatal(schemas.AsFailure(err).Message)
			}
			if req.URL.Path != tt.path || req.Header.Get("Accept") != tt.accept || req.Header.Get("Authorization") != "Bearer "+providertest.Key {
				t.Errorf("sent to %s, accepting %s", req.URL.Path, req.Header.Get("Accept"))
			}
			if diff := cmp.Diff(tt.want, sent(t, req)); diff != "" {
				t.Errorf("form (-want +sent):\n%s", diff)
			}
		})
	}
}

func TestWhatCannotBeSentIsNamed(t *testing.T) {
	t.Parallel()
	for param, call := range map[string]provider.Call{
		"op":                     {Request: &schemas.Request{}},
		"image.n":                image("core", func(r *schemas.Request) { r.Image.N = new(int64(2)) }),
		"image.return_as":        image("core", func(r *schemas.Request) { r.Image.ReturnAs = "url" }),
		"image.inputs":           edit("core", nil),
		"image.inputs[0]":        edit("ultra", func(r *schemas.Request) { r.Image.Inputs[0] = schemas.Media{URL: "https://a.example/1"} }),
		"video.prompt":           {Request: &schemas.Request{Op: schemas.OpVideo, Video: &schemas.VideoSpec{Prompt: "x"}}},
		"model":                  image("../x", nil),
		"ext.stability.endpoint": image("core", func(r *schemas.Request) { r.Ext = ext(`{"endpoint":"../v1/user"}`) }),
		"ext.stability":          image("core", func(r *schemas.Request) { r.Ext = ext(`{"endpoint":7}`) }),
	} {
		_, err := newAdapter(t, nil).Encode(t.Context(), call)
		if f := schemas.AsFailure(err); f == nil || f.Param != param || f.Phase != schemas.PhaseLocal {
			t.Errorf("%s: %+v, want it refused", param, f)
		}
	}
	_, err := newAdapter(t, func(c *stability.Config) { c.MaxRequestBytes = 100 }).Encode(t.Context(), edit("ultra", nil))
	if f := schemas.AsFailure(err); f == nil || f.Code != schemas.PayloadTooLarge {
		t.Errorf("%+v, want payload_too_large", f)
	}
}

// reply is the vendor's answer to a request.
type reply struct {
	status     int
	kind, body string
	headers    map[string]string
}

// decode has the adapter read the reply.
func (r reply) decode(a provider.Adapter, call provider.Call, emit provider.Emit) (*schemas.Response, error) {
	res := &http.Response{
		StatusCode: r.status, Header: http.Header{"Content-Type": {r.kind}}, ContentLength: -1,
		Body: io.NopCloser(strings.NewReader(r.body)),
	}
	for k, v := range r.headers {
		res.Header.Set(k, v)
	}
	return a.Decode(res, call, emit)
}

func answer(status int, kind, body string, headers ...string) reply {
	r := reply{status, kind, body, make(map[string]string)}
	for i := 0; i+1 < len(headers); i += 2 {
		r.headers[headers[i]] = headers[i+1]
	}
	return r
}

var (
	b64     = base64.StdEncoding.EncodeToString([]byte(png))
	picture = schemas.Media{MIME: "image/png", Data: []byte(png)}
)

func units(kind string, n int64) map[string]decimal.Decimal {
	return map[string]decimal.Decimal{kind: decimal.NewFromInt(n)}
}

func TestAnswersInEachForm(t *testing.T) {
	t.Parallel()
	one := func(seeds string) schemas.Response {
		return schemas.Response{
			Model: "core", Media: []schemas.Media{picture}, Ext: ext(`{"seeds":` + seeds + `}`),
			Usage: schemas.Usage{Source: schemas.UsageReported, Units: units("images", 1)},
		}
	}
	two := one("[7]")
	two.Usage.Units = units("images", 2)
	two.Safety = []schemas.Safety{{Source: "completion", Category: "content_filtered", Filtered: true}}
	broken := one("[7]")
	broken.Usage.Units = units("images", 2)
	broken.Warnings = []string{"1 of the pictures failed at the provider"}
	listed := schemas.Response{Model: "core", Job: &schemas.Job{ID: "0aF9", State: schemas.JobQueued, PollAfterMS: 10000}, UpstreamID: "0aF9", Usage: schemas.Usage{Source: schemas.UsageNone}}
	running := listed
	running.Job = &schemas.Job{ID: "0aF9", State: schemas.JobRunning, PollAfterMS: 10000}
	tests := []struct {
		name string
		res  reply
		want schemas.Response
	}{
		{"bytes", answer(200, "image/png", png, "finish-reason", "SUCCESS", "seed", "7"), one("[7]")},
		{"bytes without a type", answer(200, "", png), one("[0]")},
		{"JSON", answer(200, "application/json; type=image/png", `{"image":"`+b64+`","finish_reason":"SUCCESS","seed":7}`), one("[7]")},
		{"v1", answer(200, "application/json", `{"artifacts":[{"base64":"`+b64+`","finishReason":"SUCCESS","seed":7}]}`), one("[7]")},
		{"v1, one filtered", answer(200, "application/json", `[{"base64":"`+b64+`","finishReason":"SUCCESS","seed":7},{"base64":"`+b64+`","finishReason":"CONTENT_FILTERED","seed":8}]`), two},
		{"v1, one failed", answer(200, "application/json", `{"artifacts":[{"base64":"`+b64+`","finishReason":"SUCCESS","seed":7},{"base64":"","finishReason":"ERROR","seed":8}]}`), broken},
		{"accepted", answer(200, "application/json", `{"id":"0aF9"}`), listed},
		{"in progress", answer(202, "application/json", `{"id":"0aF9","status":"in-progress"}`), running},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := tt.res.decode(newAdapter(t, nil), image("core", nil), nil)
			if err != nil {
				t.Fatalf("%+v", schemas.AsFailure(err))
			}
			if diff := cmp.Diff(&tt.want, got, cmp.Comparer(decimal.Decimal.Equal), cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("answer (-want +got):\n%s", diff)
			}
		})
	}
}

func TestOtherMediaAndEngines(t *testing.T) {
	t.Parallel()
	a := newAdapter(t, nil)
	film := provider.Call{Model: "v", Request: &schemas.Request{Op: schemas.OpVideo, Video: &schemas.VideoSpec{}}}
	res, err := answer(200, "application/json; type=video/mp4", `{"video":"`+b64+`","finish_reason":"SUCCESS"}`).decode(a, film, nil)
	if err != nil || res.Media[0].MIME != "video/mp4" || !res.Usage.Units["requests"].Equal(decimal.NewFromInt(1)) {
		t.Errorf("%+v, %v", res, err)
	}
	res, err = answer(200, "model/gltf-binary", "glTF").decode(a, edit("3d/stable-fast-3d", nil), nil)
	if err != nil || res.Media[0].MIME != "model/gltf-binary" {
		t.Errorf("%+v, %v", res, err)
	}
	list := provider.Call{Request: &schemas.Request{Op: schemas.OpModels}}
	req, err := a.Encode(t.Context(), list)
	if err != nil || req.URL.Path != "/v1/engines/list" || req.Method != http.MethodGet {
		t.Errorf("%+v, %v", req, err)
	}
	res, err = answer(200, "application/json", `[{"id":"e","name":"E","description":"x","type":"PICTURE"}]`).decode(a, list, nil)
	if err != nil || len(res.Models) != 1 || res.Models[0].ID != "e" || res.Models[0].Name != "E" {
		t.Errorf("%+v, %v", res, err)
	}
}

func TestAJobIsPolled(t *testing.T) {
	t.Parallel()
	a := newAdapter(t, nil)
	film := provider.Call{Model: "v", Request: &schemas.Request{Op: schemas.OpVideo, Video: &schemas.VideoSpec{}}}
	for _, tt := range []struct {
		call         provider.Call
		path, accept string
	}{
		{edit("upscale/creative", nil), "/v2beta/stable-image/upscale/creative/result/0aF9", "image/*"},
		{edit("edit/replace-background-and-relight", nil), "/v2beta/results/0aF9", "image/*"},
		{film, "/v2beta/image-to-video/result/0aF9", "video/*"},
	} {
		req, err := a.EncodePoll(t.Context(), tt.call, schemas.Job{ID: "0aF9"})
		if err != nil || req.Method != http.MethodGet || req.URL.Path != tt.path || req.Header.Get("Accept") != tt.accept {
			t.Errorf("poll %+v, %v, want %s", req, err, tt.path)
		}
	}
	for _, id := range []string{"", "../../v1/user/account", "a/b"} {
		if _, err := a.EncodePoll(t.Context(), film, schemas.Job{ID: id}); err == nil {
			t.Errorf("a poll of id %q", id)
		}
	}
	if req, err := a.EncodeCancel(t.Context(), film, schemas.Job{ID: "0aF9"}); req != nil || err != nil {
		t.Errorf("cancel %+v, %v: the vendor has none", req, err)
	}
}

// TestTheCredentialStaysInTheHeader asks a vendor that quotes the key.
func TestTheCredentialStaysInTheHeader(t *testing.T) {
	t.Parallel()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.Contains(r.RequestURI, providertest.Key) || r.URL.Path != "/v1/user/balance" && r.Method != http.MethodPost {
			t.Errorf("asked %s %s", r.Method, r.RequestURI)
		}
		w.WriteHeader(http.StatusUnauthorized)
		_, _ = io.WriteString(w, `{"id":"`+providertest.Key+`","name":"`+providertest.Key+`","errors":["bad key `+providertest.Key+`"]}`)
	}))
	t.Cleanup(s.Close)
	raw, err := json.Marshal(map[string]any{"base_url": s.URL, "api_key": providertest.Key})
	if err != nil {
		t.Fatal(err)
	}
	p, err := catalog.New("provider", stability.Entry).Build("stability", raw, catalog.Env{HTTP: s.Client()})
	if err != nil {
		t.Fatal(err)
	}
	_, called := p.Infer(t.Context(), image("core", nil), nil)
	for _, err := range []error{called, p.(provider.Prober).Probe(t.Context())} {
		f := schemas.AsFailure(err)
		if f == nil || f.Code != schemas.Auth {
			t.Fatalf("%+v, want auth", f)
		}
		if told, err := json.Marshal(f); err != nil || strings.Contains(string(told), providertest.Key) {
			t.Errorf("the credential is in the error: %s, %v", told, err)
		}
	}
}

func TestSettingsThatCannotWorkAreRefused(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*stability.Config){
		"base":  func(c *stability.Config) { c.BaseURL = "x" },
		"limit": func(c *stability.Config) { c.MaxRequestBytes = -1 },
		"poll":  func(c *stability.Config) { c.PollMS = -1 },
		"key":   func(c *stability.Config) { c.APIKey = "a b" },
	} {
		c := stability.Defaults
		change(&c)
		if c.Validate() == nil {
			t.Errorf("%s: no error", name)
		}
	}
}
