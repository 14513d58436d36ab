package openai

import (
	"encoding/json"
	"errors"
	"io"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sira-ai/sira/handlers/provider"
	"github.com/sira-ai/sira/schemas"
)

func encode(t *testing.T, c Config, req *schemas.Request) (any, error) {
	t.Helper()
	a, err := NewAdapter(c, Variant{Name: kind})
	if err != nil {
		t.Fatal(err)
	}
	r, err := a.Encode(t.Context(), provider.Call{Request: req, Model: "m-1", IdempotencyKey: "idem"})
	if err != nil {
		return nil, err
	}
	if got := r.Header["idempotency-key"]; len(got) != 1 || got[0] != "idem" { //nolint:staticcheck // set in lower case, so that net/http does not repeat the POST
		t.Errorf("idempotency key is %v", got)
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

// full is a request that uses every field this API has words for.
func full() *schemas.Request {
	return &schemas.Request{
		ID: "r", Tenant: "t", Model: "small", Stream: true, EndUser: "u-7",
		Messages: []schemas.Message{
			schemas.TextMessage(schemas.RoleDeveloper, "Be \"brief\"."),
			{Role: schemas.RoleUser, Parts: []schemas.Part{
				{Kind: schemas.PartText, Text: "What is this?"},
				{Kind: schemas.PartImage, Media: &schemas.Media{MIME: "image/png", Data: []byte("png"), Detail: "low"}},
				{Kind: schemas.PartImage, Media: &schemas.Media{URL: "https://e.org/a.jpg"}},
				{Kind: schemas.PartAudio, Media: &schemas.Media{MIME: "audio/wav", Data: []byte("wav")}},
				{Kind: schemas.PartFile, Media: &schemas.Media{MIME: "application/pdf", Data: []byte("pdf"), Name: "a.pdf"}},
				{Kind: schemas.PartFile, Media: &schemas.Media{FileID: "file-1"}},
			}},
			{Role: schemas.RoleAssistant, Parts: []schemas.Part{
				{Kind: schemas.PartReasoning, Reasoning: &schemas.Reasoning{Text: "hm"}},
				{Kind: schemas.PartText, Text: "Looking."},
				{Kind: schemas.PartToolCall, ToolCall: &schemas.ToolCall{ID: "c1", Name: "look", Arguments: `{"a":1}`}},
				{Kind: schemas.PartToolCall, ToolCall: &schemas.ToolCall{ID: "c2", Name: "look", Arguments: `{`}},
			}},
			{Role: schemas.RoleTool, Parts: []schemas.Part{
				{Kind: schemas.PartToolResult, ToolResult: &schemas.ToolResult{CallID: "c1", Parts: []schemas.Part{{Kind: schemas.PartText, Text: "one"}}}},
				{Kind: schemas.PartToolResult, ToolResult: &schemas.ToolResult{CallID: "c2", IsError: true}},
			}},
		},
		Tools:      []schemas.Tool{{Name: "look", Description: "Looks.", Parameters: json.RawMessage(`{"type":"object"}`), Strict: new(true)}},
		ToolChoice: &schemas.ToolChoice{Mode: "named", Names: []string{"look"}, DisableParallel: true},
		Output:     &schemas.OutputSpec{Format: "json_schema", Schema: json.RawMessage(`{"type":"object"}`), Strict: new(true)},
		Sampling: &schemas.Sampling{
			Temperature: new(0.0), TopP: new(0.25), TopK: new(int64(5)), FrequencyPenalty: new(-1.5), PresencePenalty: new(1e-7),
			Seed: new(int64(42)), N: new(int64(2)), Stop: []string{"END"},
		},
		MaxTokens: new(int64(99)),
		Thinking:  &schemas.ThinkingSpec{Effort: "low"},
		Ext:       map[string]json.RawMessage{"openai": json.RawMessage(`{"verbosity":"low","seed":7}`), "other": json.RawMessage(`{"x":1}`)},
	}
}

func TestEverythingTheAPIHasWordsForIsSent(t *testing.T) {
	t.Parallel()
	got, err := encode(t, Defaults, full())
	if err != nil {
		t.Fatal(err)
	}
	want := fromJSON(t, `{
		"model": "m-1",
		"messages": [
			{"role": "developer", "content": "Be \"brief\"."},
			{"role": "user", "content": [
				{"type": "text", "text": "What is this?"},
				{"type": "image_url", "image_url": {"url": "data:image/png;base64,cG5n", "detail": "low"}},
				{"type": "image_url", "image_url": {"url": "https://e.org/a.jpg"}},
				{"type": "input_audio", "input_audio": {"data": "d2F2", "format": "wav"}},
				{"type": "file", "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,cGRm"}},
				{"type": "file", "file": {"file_id": "file-1"}}
			]},
			{"role": "assistant", "content": "Looking.", "tool_calls": [
				{"type": "function", "id": "c1", "function": {"name": "look", "arguments": "{\"a\":1}"}},
				{"type": "function", "id": "c2", "function": {"name": "look", "arguments": "{"}}
			]},
			{"role": "tool", "tool_call_id": "c1", "content": "one"},
			{"role": "tool", "tool_call_id": "c2", "content": ""}
		],
		"tools": [{"type": "function", "function": {"name": "look", "description": "Looks.", "parameters": {"type": "object"}, "strict": true}}],
		"tool_choice": {"type": "function", "function": {"name": "look"}},
		"parallel_tool_calls": false,
		"response_format": {"type": "json_schema", "json_schema": {"name": "answer", "schema": {"type": "object"}, "strict": true}},
		"temperature": 0, "top_p": 0.25, "frequency_penalty": -1.5, "presence_penalty": 1e-7, "seed": 7, "n": 2, "stop": ["END"],
		"reasoning_effort": "low",
		"max_completion_tokens": 99,
		"safety_identifier": "u-7",
		"stream": true, "stream_options": {"include_usage": true},
		"verbosity": "low"
	}`)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("body (-want +got):\n%s", diff)
	}
}

func TestDialectsOfCompatibleServersAreSpoken(t *testing.T) {
	t.Parallel()
	c := Defaults
	c.MaxTokensField, c.EndUserField = "max_tokens", "user"
	c.TopK, c.DeveloperAsSystem, c.FlattenText, c.NoStreamUsage = true, true, true, true
	got, err := encode(t, c, &schemas.Request{
		Stream: true, EndUser: "u", MaxTokens: new(int64(9)), Sampling: &schemas.Sampling{TopK: new(int64(5))},
		Messages: []schemas.Message{
			schemas.TextMessage(schemas.RoleDeveloper, "x"),
			{Role: schemas.RoleUser, Parts: []schemas.Part{{Kind: schemas.PartText, Text: "a"}, {Kind: schemas.PartText, Text: "b"}}},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	want := fromJSON(t, `{"model":"m-1","messages":[{"role":"system","content":"x"},{"role":"user","content":"ab"}],
		"top_k":5,"max_tokens":9,"user":"u","stream":true}`)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("body (-want +got):\n%s", diff)
	}
}

func TestFilmsAndFurtherKnobsAreSentWhereTheyAreTaken(t *testing.T) {
	t.Parallel()
	c := Defaults
	c.TopK, c.MediaURL = true, true
	half := 0.5
	got, err := encode(t, c, &schemas.Request{
		Sampling: &schemas.Sampling{MinP: &half, RepetitionPenalty: &half},
		Messages: []schemas.Message{
			{Role: schemas.RoleUser, Ext: map[string]json.RawMessage{"openai": json.RawMessage(`{"weight":1}`)}, Parts: []schemas.Part{
				{Kind: schemas.PartVideo, Media: &schemas.Media{URL: "https://e.org/v"}},
				{Kind: schemas.PartVideo, Media: &schemas.Media{MIME: "video/mp4", Data: []byte("v")}},
				{Kind: schemas.PartAudio, Media: &schemas.Media{URL: "https://e.org/a"}},
			}},
			{Role: schemas.RoleAssistant, Parts: []schemas.Part{
				{Kind: schemas.PartAudio, Media: &schemas.Media{FileID: "audio_1", Provider: "openai", Data: []byte("a")}},
				{Kind: schemas.PartToolCall, ToolCall: &schemas.ToolCall{ID: "c", Name: "code", Arguments: "1", Type: "custom"}},
			}},
		},
		Tools: []schemas.Tool{{Name: "f", Ext: map[string]json.RawMessage{"openai": json.RawMessage(`{"more":true}`)}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	want := fromJSON(t, `{"model":"m-1","messages":[{"role":"user","weight":1,"content":[
			{"type":"video_url","video_url":{"url":"https://e.org/v"}},{"type":"video_url","video_url":{"url":"data:video/mp4;base64,dg=="}},
			{"type":"audio_url","audio_url":{"url":"https://e.org/a"}}]},
		{"role":"assistant","audio":{"id":"audio_1"},"tool_calls":[{"id":"c","type":"custom","custom":{"name":"code","input":"1"}}]}],
		"tools":[{"type":"function","function":{"name":"f","more":true}}],"min_p":0.5,"repetition_penalty":0.5}`)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("body (-want +got):\n%s", diff)
	}
}

func TestThoughtsBetweenTagsAreReasoning(t *testing.T) {
	t.Parallel()
	a := plainAdapter(t, apiChat)
	a.config.ThinkTags = true
	call := provider.Call{Request: &schemas.Request{Stream: true}}
	var reasoning string
	emit := func(c schemas.Chunk) error {
		if c.Type == schemas.ChunkReasoning {
			reasoning += c.Text
		}
		return nil
	}
	stream := `data: {"choices":[{"delta":{"content":"<thi"}}]}` + "\n\n" + `data: {"choices":[{"delta":{"content":"nk>Hm.</think>Yes."}}]}` + "\n\n" +
		`data: {"choices":[{"delta":{},"finish_reason":"stop"}]}` + "\n\ndata: [DONE]\n\n"
	res, err := decode(a, call, 200, typed("text/event-stream"), stream, emit)
	if err != nil || res.Text() != "Yes." || reasoning != "Hm." || res.Choices[0].Message.Parts[0].Kind != schemas.PartReasoning {
		t.Errorf("answer %+v, reasoning %q, %v", res, reasoning, err)
	}
}

func TestWhatTheAPICannotExpressIsRefusedBeforeItIsSent(t *testing.T) {
	t.Parallel()
	part := func(role schemas.Role, part schemas.Part) *schemas.Request {
		return &schemas.Request{Messages: []schemas.Message{{Role: role, Parts: []schemas.Part{part}}}}
	}
	tests := []struct {
		name string
		req  *schemas.Request
		code schemas.Code
	}{
		{"video", part(schemas.RoleUser, schemas.Part{Kind: schemas.PartVideo, Media: &schemas.Media{URL: "https://e.org/v"}}), schemas.Unsupported},
		{"image by file", part(schemas.RoleUser, schemas.Part{Kind: schemas.PartImage, Media: &schemas.Media{FileID: "f"}}), schemas.Unsupported},
		{"file by URL", part(schemas.RoleUser, schemas.Part{Kind: schemas.PartFile, Media: &schemas.Media{URL: "https://e.org/f"}}), schemas.Unsupported},
		{"image of a tool", part(schemas.RoleTool, schemas.Part{Kind: schemas.PartToolResult, ToolResult: &schemas.ToolResult{
			CallID: "c", Parts: []schemas.Part{{Kind: schemas.PartImage, Media: &schemas.Media{URL: "https://e.org/i"}}},
		}}), schemas.Unsupported},
		{"documents", &schemas.Request{Documents: []schemas.Document{{Text: "x"}}}, schemas.Unsupported},
		{"server tool", part(schemas.RoleAssistant, schemas.Part{Kind: schemas.PartToolCall, ToolCall: &schemas.ToolCall{Name: "web", Type: "server"}}), schemas.Unsupported},
		{"sound of another vendor", part(schemas.RoleAssistant, schemas.Part{Kind: schemas.PartAudio, Media: &schemas.Media{FileID: "a", Provider: "x"}}), schemas.Unsupported},
		{"vectors of pictures", &schemas.Request{Op: schemas.OpEmbed, Embed: &schemas.EmbedSpec{Inputs: []schemas.Part{{Kind: schemas.PartImage}}}}, schemas.Unsupported},
		{"negative prompt", &schemas.Request{Op: schemas.OpImage, Image: &schemas.ImageSpec{Prompt: "x", Negative: "y"}}, schemas.Unsupported},
		{"recording by address", &schemas.Request{Op: schemas.OpTranscribe, Transcribe: &schemas.TranscribeSpec{Audio: schemas.Media{URL: "u"}}}, schemas.Unsupported},
		{"nothing to embed", &schemas.Request{Op: schemas.OpEmbed}, schemas.InvalidRequest},
		{"another operation", &schemas.Request{Op: schemas.OpRerank}, schemas.Unsupported},
		{"tool message without a result", part(schemas.RoleTool, schemas.Part{Kind: schemas.PartText, Text: "x"}), schemas.InvalidRequest},
		{"ext that changes the model", &schemas.Request{
			Messages: []schemas.Message{schemas.TextMessage(schemas.RoleUser, "x")},
			Ext:      map[string]json.RawMessage{"openai": json.RawMessage(`{"model":"dear"}`)},
		}, schemas.InvalidRequest},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := encode(t, Defaults, tt.req)
			var f *schemas.Failure
			if !errors.As(err, &f) || f.Code != tt.code || f.Param == "" || f.Phase != schemas.PhaseLocal {
				t.Errorf("error %+v, want %s that names the field", err, tt.code)
			}
		})
	}
}
