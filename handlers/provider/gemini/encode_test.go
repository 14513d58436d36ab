package gemini

import (
	"encoding/json"
	"errors"
	"io"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sira-ai/sira/handlers/provider"
	"github.com/sira-ai/sira/schemas"
)

func encode(t *testing.T, c Config, model string, req *schemas.Request) (any, error) {
	t.Helper()
	a, err := newAdapter(c)
	if err != nil {
		t.Fatal(err)
	}
	r, err := a.Encode(t.Context(), provider.Call{Request: req, Model: model, IdempotencyKey: "idem"})
	if err != nil {
		return nil, err
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return fromJSON(t, string(body)), nil
}

func fromJSON(t *testing.T, s string) any {
	t.Helper()
	var v any
	if err := json.Unmarshal([]byte(s), &v); err != nil {
		t.Fatalf("parsing %s: %v", s, err)
	}
	return v
}

func called(id, args string) schemas.Part {
	return schemas.Part{Kind: schemas.PartToolCall, ToolCall: &schemas.ToolCall{ID: id, Name: "look", Arguments: args}}
}

func result(id, text string, failed bool, more ...schemas.Part) schemas.Message {
	parts := append([]schemas.Part{{Kind: schemas.PartText, Text: text}}, more...)
	return schemas.Message{Role: schemas.RoleTool, Parts: []schemas.Part{
		{Kind: schemas.PartToolResult, ToolResult: &schemas.ToolResult{CallID: id, Parts: parts, IsError: failed}},
	}}
}

func thought(text, signature string) schemas.Part {
	return schemas.Part{Kind: schemas.PartReasoning, Reasoning: &schemas.Reasoning{Text: text, Signature: signature}}
}

func TestEveryFieldIsSent(t *testing.T) {
	t.Parallel()
	picture := &schemas.Media{MIME: "image/png", Data: []byte("png")}
	got, err := encode(t, Defaults, "gemini-2.5-flash", &schemas.Request{
		ID: "r", Tenant: "t", Model: "small", Stream: true, ServiceTier: "flex",
		Messages: []schemas.Message{
			schemas.TextMessage(schemas.RoleSystem, "Be brief."),
			{Role: schemas.RoleUser, Parts: []schemas.Part{
				{Kind: schemas.PartText, Text: "What \"is\" this?"},
				{Kind: schemas.PartImage, Media: picture},
				{Kind: schemas.PartImage, Media: &schemas.Media{URL: "data:image/png;base64,cG5n"}},
				{Kind: schemas.PartAudio, Media: &schemas.Media{URL: "https://e.org/a.mp3"}},
				{Kind: schemas.PartVideo, Media: &schemas.Media{URL: "https://youtu.be/x"}},
				{Kind: schemas.PartFile, Media: &schemas.Media{MIME: "application/pdf", FileID: "files/abc", Provider: "gemini"}},
			}},
			{Role: schemas.RoleAssistant, Parts: []schemas.Part{
				called("their-id", `{"a":1}`), thought("", "c2ln"), called("sira_r_1", ""),
			}},
			result("their-id", "one", false, schemas.Part{Kind: schemas.PartImage, Media: picture}),
			result("sira_r_1", "two", true),
			result("sira_r_1", ` {"n":3}`, false),
			schemas.TextMessage(schemas.RoleDeveloper, "Now in French."),
			schemas.TextMessage(schemas.RoleUser, "Go on."),
			schemas.TextMessage(schemas.RoleAssistant, ""),
		},
		Tools:      []schemas.Tool{{Name: "look", Description: "Looks.", Parameters: json.RawMessage(`{"type":"object"}`)}},
		ToolChoice: &schemas.ToolChoice{Mode: "named", Names: []string{"look", "see"}},
		Output: &schemas.OutputSpec{
			Format: "json_schema", Schema: json.RawMessage(`{"type":"array"}`), Modalities: []string{"text", "audio"}, Voice: "Kore",
		},
		Sampling: &schemas.Sampling{
			Temperature: new(0.0), TopP: new(0.25), TopK: new(int64(5)), FrequencyPenalty: new(-1.5), PresencePenalty: new(0.5),
			Seed: new(int64(42)), N: new(int64(2)), Stop: []string{"END"}, LogProbs: new(int64(0)),
		},
		MaxTokens: new(int64(99)),
		Thinking:  &schemas.ThinkingSpec{Effort: "medium"},
		Cache:     &schemas.CacheSpec{Key: "cachedContents/x"},
		Ext:       map[string]json.RawMessage{"other": json.RawMessage(`{"x":1}`)},
	})
	if err != nil {
		t.Fatal(err)
	}
	want := fromJSON(t, `{
		"systemInstruction": {"parts": [{"text": "Be brief."}, {"text": "Now in French."}]},
		"contents": [
			{"role": "user", "parts": [
				{"text": "What \"is\" this?"},
				{"inlineData": {"mimeType": "image/png", "data": "cG5n"}},
				{"inlineData": {"mimeType": "image/png", "data": "cG5n"}},
				{"fileData": {"mimeType": "audio/mpeg", "fileUri": "https://e.org/a.mp3"}},
				{"fileData": {"mimeType": "video/mp4", "fileUri": "https://youtu.be/x"}},
				{"fileData": {"mimeType": "application/pdf", "fileUri": "https://generativelanguage.googleapis.com/v1beta/files/abc"}}
			]},
			{"role": "model", "parts": [
				{"functionCall": {"id": "their-id", "name": "look", "args": {"a": 1}}, "thoughtSignature": "c2ln"},
				{"functionCall": {"name": "look", "args": {}}}
			]},
			{"role": "user", "parts": [
				{"functionResponse": {"id": "their-id", "name": "look", "response": {"output": "one"},
					"parts": [{"inlineData": {"mimeType": "image/png", "data": "cG5n"}}]}},
				{"functionResponse": {"name": "look", "response": {"error": "two"}}},
				{"functionResponse": {"name": "look", "response": {"n": 3}}}
			]},
			{"role": "user", "parts": [{"text": "Go on."}]}
		],
		"tools": [{"functionDeclarations": [{"name": "look", "description": "Looks.", "parametersJsonSchema": {"type": "object"}}]}],
		"toolConfig": {"functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": ["look", "see"]}},
		"generationConfig": {
			"temperature": 0, "topP": 0.25, "topK": 5, "frequencyPenalty": -1.5, "presencePenalty": 0.5, "seed": 42,
			"candidateCount": 2, "stopSequences": ["END"], "responseLogprobs": true, "maxOutputTokens": 99,
			"responseMimeType": "application/json", "responseJsonSchema": {"type": "array"},
			"responseModalities": ["TEXT", "AUDIO"],
			"speechConfig": {"voiceConfig": {"prebuiltVoiceConfig": {"voiceName": "Kore"}}},
			"thinkingConfig": {"thinkingBudget": 8192, "includeThoughts": true}
		},
		"cachedContent": "cachedContents/x", "serviceTier": "flex"
	}`)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("body (-want +got):\n%s", diff)
	}
}

func TestThinkingIsAskedForInTheModelsTerms(t *testing.T) {
	t.Parallel()
	tests := []struct {
		model string
		spec  schemas.ThinkingSpec
		want  string
	}{
		{"gemini-3-pro", schemas.ThinkingSpec{Effort: "low"}, `{"thinkingLevel":"LOW","includeThoughts":true}`},
		{"gemini-3.5-flash", schemas.ThinkingSpec{Effort: "max"}, `{"thinkingLevel":"HIGH","includeThoughts":true}`},
		{"gemini-2.5-pro", schemas.ThinkingSpec{Effort: "low"}, `{"thinkingBudget":1024,"includeThoughts":true}`},
		{"gemini-2.5-flash", schemas.ThinkingSpec{Effort: "none"}, `{"thinkingBudget":0}`},
		{"gemini-2.5-flash", schemas.ThinkingSpec{Enabled: new(false)}, `{"thinkingBudget":0}`},
		{"gemini-2.5-flash", schemas.ThinkingSpec{Enabled: new(true)}, `{"includeThoughts":true}`},
		{"gemini-3-pro", schemas.ThinkingSpec{BudgetTokens: new(int64(512))}, `{"thinkingBudget":512,"includeThoughts":true}`},
	}
	for _, tt := range tests {
		t.Run(tt.model+tt.want, func(t *testing.T) {
			t.Parallel()
			got, err := encode(t, Defaults, tt.model, &schemas.Request{
				Messages: []schemas.Message{schemas.TextMessage(schemas.RoleUser, "hi")}, Thinking: &tt.spec,
			})
			if err != nil {
				t.Fatal(err)
			}
			config, _ := got.(map[string]any)["generationConfig"].(map[string]any)
			if diff := cmp.Diff(fromJSON(t, tt.want), config["thinkingConfig"]); diff != "" {
				t.Errorf("thinkingConfig (-want +got):\n%s", diff)
			}
		})
	}
}

// A signature goes back on the part that it came on; Gemini 3 refuses a call
// without one, so calls of other models get the substitute that the vendor names.
func TestSignaturesStandWhereTheyCame(t *testing.T) {
	t.Parallel()
	text := schemas.Part{Kind: schemas.PartText, Text: "so"}
	tests := []struct {
		name  string
		parts []schemas.Part
		want  string
	}{
		{"of a text", []schemas.Part{thought("hm", ""), text, thought("", "s1")}, `[{"text":"so","thoughtSignature":"s1"}]`},
		{"of nothing", []schemas.Part{thought("hm", ""), thought("", "s1")}, `[{"text":"","thoughtSignature":"s1"}]`},
		{"before its part", []schemas.Part{thought("", "s1"), called("a", "{}")}, `[{"functionCall":{"id":"a","name":"look","args":{}},"thoughtSignature":"s1"}]`},
		{"of a thought", []schemas.Part{thought("hm", "s1"), text}, `[{"text":"hm","thought":true,"thoughtSignature":"s1"},{"text":"so"}]`},
		{"of two parts", []schemas.Part{
			text, thought("", "s1"), called("a", "{}"), thought("", "s2"),
		}, `[{"text":"so","thoughtSignature":"s1"},{"functionCall":{"id":"a","name":"look","args":{}},"thoughtSignature":"s2"}]`},
		{"of another model", []schemas.Part{
			called("a", "{}"), called("b", "{}"),
		}, `[{"functionCall":{"id":"a","name":"look","args":{}},"thoughtSignature":"skip_thought_signature_validator"},
			  {"functionCall":{"id":"b","name":"look","args":{}}}]`},
		{"of another vendor", []schemas.Part{
			{Kind: schemas.PartReasoning, Reasoning: &schemas.Reasoning{Signature: "x", Redacted: true}},
			{Kind: schemas.PartReasoning, Reasoning: &schemas.Reasoning{Signature: "x", ID: "rs_1"}},
			text,
		}, `[{"text":"so"}]`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, err := encode(t, Defaults, "gemini-3-pro", &schemas.Request{Messages: []schemas.Message{
				{Role: schemas.RoleAssistant, Parts: tt.parts},
			}})
			if err != nil {
				t.Fatal(err)
			}
			contents, _ := got.(map[string]any)["contents"].([]any)
			turn, _ := contents[0].(map[string]any)
			if diff := cmp.Diff(fromJSON(t, tt.want), turn["parts"]); diff != "" {
				t.Errorf("parts (-want +got):\n%s", diff)
			}
		})
	}
}

func TestWhatTheAPICannotExpressIsRefusedBeforeItIsSent(t *testing.T) {
	t.Parallel()
	hello := []schemas.Message{schemas.TextMessage(schemas.RoleUser, "hello")}
	with := func(part schemas.Part) *schemas.Request {
		return &schemas.Request{Messages: []schemas.Message{{Role: schemas.RoleAssistant, Parts: []schemas.Part{part}}}}
	}
	tests := []struct {
		name  string
		req   *schemas.Request
		param string
		code  schemas.Code
	}{
		{"data without a type", with(schemas.Part{Kind: schemas.PartAudio, Media: &schemas.Media{Data: []byte("x")}}), "messages[0].parts[0]", schemas.Unsupported},
		{"another's file", with(schemas.Part{Kind: schemas.PartFile, Media: &schemas.Media{FileID: "f", Provider: "openai"}}), "messages[0].parts[0]", schemas.Unsupported},
		{"broken arguments", with(called("a", "{")), "messages[0].parts[0]", schemas.Unsupported},
		{"a result without a call", &schemas.Request{Messages: []schemas.Message{result("gone", "x", false)}}, "messages[0].parts[0]", schemas.Unsupported},
		{"documents", &schemas.Request{Messages: hello, Documents: []schemas.Document{{Text: "x"}}}, "documents", schemas.Unsupported},
		{"mp3", &schemas.Request{Messages: hello, Output: &schemas.OutputSpec{Audio: "mp3"}}, "output.audio_format", schemas.Unsupported},
		{"ranking", &schemas.Request{Op: schemas.OpRerank}, "op", schemas.Unsupported},
		{"int8", &schemas.Request{Op: schemas.OpEmbed, Embed: &schemas.EmbedSpec{Encoding: "int8"}}, "embed.encoding", schemas.Unsupported},
		{"an odd size", &schemas.Request{Op: schemas.OpImage, Image: &schemas.ImageSpec{Size: "7x5"}}, "image.size", schemas.Unsupported},
		{"only a system message", &schemas.Request{Messages: []schemas.Message{schemas.TextMessage(schemas.RoleSystem, "x")}}, "messages", schemas.InvalidRequest},
		{"the conversation in ext", &schemas.Request{Messages: hello, Ext: map[string]json.RawMessage{"gemini": json.RawMessage(`{"contents":[]}`)}}, "ext.gemini.contents", schemas.InvalidRequest},
		{"a path in place of a file", &schemas.Request{Op: schemas.OpFileGet, File: &schemas.FileSpec{ID: "../models"}}, "file.id", schemas.InvalidRequest},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, err := encode(t, Defaults, "gemini-3-pro", tt.req)
			f, _ := errors.AsType[*schemas.Failure](err)
			if f == nil || f.Code != tt.code || f.Param != tt.param {
				t.Errorf("error %+v, want %s of %s", f, tt.code, tt.param)
			}
		})
	}
}

func TestAddressesOfVertex(t *testing.T) {
	t.Parallel()
	for location, want := range map[string]string{
		"global":       "https://aiplatform.googleapis.com/v1",
		"eu":           "https://aiplatform.eu.rep.googleapis.com/v1",
		"europe-west4": "https://europe-west4-aiplatform.googleapis.com/v1",
	} {
		c := Config{Project: "acme", Location: location}
		if err := c.Validate(); err != nil || c.address() != want {
			t.Errorf("%s is at %s (%v), want %s", location, c.address(), err, want)
		}
	}
	c := Config{Project: "acme/..", Location: "global"}
	if c.Validate() == nil {
		t.Error("a project with a slash is valid")
	}
}

func TestJobsAreAskedForByTheirName(t *testing.T) {
	t.Parallel()
	studio, err := newAdapter(Defaults)
	if err != nil {
		t.Fatal(err)
	}
	r, err := studio.EncodePoll(t.Context(), provider.Call{}, schemas.Job{ID: "models/veo/operations/o"})
	if err != nil || r.Method != "GET" || r.URL.Path != "/v1beta/models/veo/operations/o" {
		t.Errorf("request %+v, error %v", r, err)
	}
	vertex, err := newAdapter(Config{Project: "p", Location: "global"})
	if err != nil {
		t.Fatal(err)
	}
	const model = "projects/p/locations/global/publishers/google/models/veo"
	r, err = vertex.EncodePoll(t.Context(), provider.Call{Model: "veo"}, schemas.Job{ID: model + "/operations/o"})
	if err != nil || r.Method != "POST" || r.URL.Path != "/v1/"+model+":fetchPredictOperation" {
		t.Errorf("request %+v, error %v", r, err)
	}
	if _, err := studio.EncodePoll(t.Context(), provider.Call{}, schemas.Job{ID: "../x"}); err == nil {
		t.Error("an id that leaves the API's path is asked for")
	}
	if r, err := studio.EncodeCancel(t.Context(), provider.Call{}, schemas.Job{ID: "o"}); r != nil || err != nil {
		t.Errorf("cancelling gives %v, %v; the vendor has no such request", r, err)
	}
}
