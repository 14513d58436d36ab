package replicate_test

import (
	"encoding/json"
	"io"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sira-ai/sira/handlers/provider"
	"github.com/sira-ai/sira/handlers/provider/replicate"
	"github.com/sira-ai/sira/schemas"
)

// sent returns the input that a call is sent with.
func sent(t *testing.T, a *replicate.Adapter, call provider.Call) any {
	t.Helper()
	req, err := a.Encode(t.Context(), call)
	if err != nil {
		t.Fatal(schemas.AsFailure(err).Message)
	}
	b, err := io.ReadAll(req.Body)
	if err != nil {
		t.Fatal(err)
	}
	var body struct{ Input any }
	if err := json.Unmarshal(b, &body); err != nil {
		t.Fatalf("%s: %v", b, err)
	}
	return body.Input
}

func TestATemplateNamesTheInputs(t *testing.T) {
	t.Parallel()
	a := newAdapter(t, func(c *replicate.Config) {
		c.Models = map[string]replicate.Template{
			"meta/*":         {Fields: map[string]string{"max_tokens": "max_new_tokens", "system": ""}},
			"meta/llama-big": {Fields: map[string]string{"messages": "messages"}, Fixed: map[string]json.RawMessage{"mode": []byte(`"x"`), "temperature": []byte(`1`)}},
			"acme/embedder":  {Fields: map[string]string{"texts_json": "text_batch"}},
			"acme/mixer":     {Fields: map[string]string{"images": "input_images"}},
		}
	})
	limit, heat := int64(9), 0.5
	call := chat(false)
	call.Request.MaxTokens, call.Request.Sampling = &limit, &schemas.Sampling{Temperature: &heat}
	call.Request.Messages = append([]schemas.Message{schemas.TextMessage(schemas.RoleSystem, "Be brief.")}, call.Request.Messages...)
	big := call
	big.Model = "meta/llama-big:0a1b"
	embed := provider.Call{Model: "acme/embedder", Request: &schemas.Request{Op: schemas.OpEmbed, Embed: &schemas.EmbedSpec{
		Inputs: []schemas.Part{{Kind: schemas.PartText, Text: "a"}, {Kind: schemas.PartText, Text: `b"`}},
	}}}
	mix := provider.Call{Model: "acme/mixer", Request: &schemas.Request{Op: schemas.OpImageEdit, Image: &schemas.ImageSpec{
		Inputs: []schemas.Media{{URL: "https://a.example/1"}, {URL: "https://a.example/2"}},
	}}}
	for _, tt := range []struct {
		call provider.Call
		want string
	}{
		{call, `{"prompt":"Be brief.\n\nHello.","max_new_tokens":9,"temperature":0.5}`},
		{big, `{"messages":[{"role":"system","content":"Be brief."},{"role":"user","content":"Hello."}],"max_tokens":9,"temperature":0.5,"mode":"x"}`},
		{embed, `{"text_batch":"[\"a\",\"b\\\"\"]"}`},
		{mix, `{"input_images":["https://a.example/1","https://a.example/2"]}`},
	} {
		var want any
		if err := json.Unmarshal([]byte(tt.want), &want); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, sent(t, a, tt.call)); diff != "" {
			t.Errorf("%s (-want +sent):\n%s", tt.call.Model, diff)
		}
	}
}

func TestWhatAModelCannotTakeIsNamed(t *testing.T) {
	t.Parallel()
	a := newAdapter(t, nil)
	two := int64(2)
	picture := schemas.Part{Kind: schemas.PartImage, Media: &schemas.Media{URL: "https://a.example/1"}}
	for param, change := range map[string]func(*schemas.Request){
		"tools":                func(r *schemas.Request) { r.Tools = []schemas.Tool{{Name: "weather"}} },
		"output.format":        func(r *schemas.Request) { r.Output = &schemas.OutputSpec{Format: "json_schema"} },
		"documents":            func(r *schemas.Request) { r.Documents = []schemas.Document{{Text: "x"}} },
		"sampling.n":           func(r *schemas.Request) { r.Sampling = &schemas.Sampling{N: &two} },
		"messages":             func(r *schemas.Request) { r.Messages[0].Parts = []schemas.Part{picture, picture} },
		"messages[0].parts[0]": func(r *schemas.Request) { r.Messages[0].Parts = []schemas.Part{{Kind: schemas.PartToolResult}} },
	} {
		call := chat(false)
		change(call.Request)
		_, err := a.Encode(t.Context(), call)
		if f := schemas.AsFailure(err); f == nil || f.Code != schemas.Unsupported || f.Param != param {
			t.Errorf("%s: %+v, want it refused", param, f)
		}
	}
}

func TestSettingsThatCannotWorkAreRefused(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*replicate.Config){
		"wait": func(c *replicate.Config) { c.WaitSeconds = 61 },
		"poll": func(c *replicate.Config) { c.PollMS = -1 },
		"base": func(c *replicate.Config) { c.BaseURL = "api.replicate.com" },
		"field": func(c *replicate.Config) {
			c.Models = map[string]replicate.Template{"a/b": {Fields: map[string]string{"promt": "x"}}}
		},
		"input": func(c *replicate.Config) {
			c.Models = map[string]replicate.Template{"a/b": {Fields: map[string]string{"prompt": `x"`}}}
		},
	} {
		c := replicate.Defaults
		change(&c)
		if c.Validate() == nil {
			t.Errorf("%s: no error", name)
		}
	}
}
