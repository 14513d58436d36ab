package anthropic

import (
	"encoding/json"
	"errors"
	"io"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sira-ai/sira/handlers/provider"
	"github.com/sira-ai/sira/schemas"
)

func encode(t *testing.T, req *schemas.Request) (any, error) {
	t.Helper()
	a, err := newAdapter(Defaults)
	if err != nil {
		t.Fatal(err)
	}
	r, err := a.Encode(t.Context(), provider.Call{Request: req, Model: "m-1"})
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

func toolResult(id, text string, failed bool) schemas.Message {
	return schemas.Message{Role: schemas.RoleTool, Parts: []schemas.Part{{
		Kind:       schemas.PartToolResult,
		ToolResult: &schemas.ToolResult{CallID: id, IsError: failed, Parts: []schemas.Part{{Kind: schemas.PartText, Text: text}}},
	}}}
}

func TestEverythingTheAPIHasWordsForIsSent(t *testing.T) {
	t.Parallel()
	got, err := encode(t, &schemas.Request{
		Stream: true, EndUser: "u-7",
		Messages: []schemas.Message{
			{Role: schemas.RoleSystem, Parts: []schemas.Part{{
				Kind: schemas.PartText, Text: "Be brief.",
				Ext: map[string]json.RawMessage{"anthropic": json.RawMessage(`{"cache_control":{"type":"ephemeral"}}`)},
			}}},
			{Role: schemas.RoleUser, Parts: []schemas.Part{
				{Kind: schemas.PartText, Text: "What is this?"},
				{Kind: schemas.PartImage, Media: &schemas.Media{MIME: "image/png", Data: []byte("png")}},
				{Kind: schemas.PartImage, Media: &schemas.Media{URL: "data:image/png;base64,cG5n"}},
				{Kind: schemas.PartImage, Media: &schemas.Media{URL: "https://e.org/a.jpg"}},
				{Kind: schemas.PartFile, Media: &schemas.Media{MIME: "application/pdf", Data: []byte("pdf"), Name: "a.pdf"}},
				{Kind: schemas.PartFile, Media: &schemas.Media{FileID: "file-1"}},
			}},
			{Role: schemas.RoleAssistant, Parts: []schemas.Part{
				{Kind: schemas.PartReasoning, Reasoning: &schemas.Reasoning{Text: "hm", Signature: "sig"}},
				{Kind: schemas.PartReasoning, Reasoning: &schemas.Reasoning{Signature: "opaque", Redacted: true}},
				{Kind: schemas.PartReasoning, Reasoning: &schemas.Reasoning{Text: "of another vendor"}},
				{Kind: schemas.PartText},
				{Kind: schemas.PartToolCall, ToolCall: &schemas.ToolCall{ID: "c1", Name: "look", Arguments: `{"a":1}`}},
				{Kind: schemas.PartToolCall, ToolCall: &schemas.ToolCall{ID: "c2", Name: "look"}},
			}},
			toolResult("c1", "one", false),
			toolResult("c2", "two", true),
			schemas.TextMessage(schemas.RoleUser, "Go on."),
			schemas.TextMessage(schemas.RoleSystem, "Now in French."),
		},
		Tools:      []schemas.Tool{{Name: "look", Description: "Looks.", Parameters: json.RawMessage(`{"type":"object"}`)}, {Name: "bare"}},
		ToolChoice: &schemas.ToolChoice{Mode: "named", Names: []string{"look"}, DisableParallel: true},
		Output:     &schemas.OutputSpec{Format: "json_schema", Schema: json.RawMessage(`{"type":"object"}`)},
		Sampling:   &schemas.Sampling{Temperature: new(0.5), TopP: new(0.25), TopK: new(int64(5)), Stop: []string{"END"}},
		Thinking:   &schemas.ThinkingSpec{Effort: "minimal", BudgetTokens: new(int64(2048))},
		Ext:        map[string]json.RawMessage{"anthropic": json.RawMessage(`{"service_tier":"auto"}`)},
	})
	if err != nil {
		t.Fatal(err)
	}
	want := fromJSON(t, `{
		"model": "m-1", "max_tokens": 6144,
		"system": [
			{"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}},
			{"type": "text", "text": "Now in French."}
		],
		"messages": [
			{"role": "user", "content": [
				{"type": "text", "text": "What is this?"},
				{"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "cG5n"}},
				{"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "cG5n"}},
				{"type": "image", "source": {"type": "url", "url": "https://e.org/a.jpg"}},
				{"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": "cGRm"}, "title": "a.pdf"},
				{"type": "document", "source": {"type": "file", "file_id": "file-1"}}
			]},
			{"role": "assistant", "content": [
				{"type": "thinking", "thinking": "hm", "signature": "sig"},
				{"type": "redacted_thinking", "data": "opaque"},
				{"type": "tool_use", "id": "c1", "name": "look", "input": {"a": 1}},
				{"type": "tool_use", "id": "c2", "name": "look", "input": {}}
			]},
			{"role": "user", "content": [
				{"type": "tool_result", "tool_use_id": "c1", "content": [{"type": "text", "text": "one"}]},
				{"type": "tool_result", "tool_use_id": "c2", "content": [{"type": "text", "text": "two"}], "is_error": true}
			]},
			{"role": "user", "content": "Go on."}
		],
		"tools": [
			{"name": "look", "description": "Looks.", "input_schema": {"type": "object"}},
			{"name": "bare", "input_schema": {"type": "object"}}
		],
		"tool_choice": {"type": "tool", "name": "look", "disable_parallel_tool_use": true},
		"output_config": {"effort": "low", "format": {"type": "json_schema", "schema": {"type": "object"}}},
		"thinking": {"type": "enabled", "budget_tokens": 2048},
		"temperature": 0.5, "top_p": 0.25, "top_k": 5, "stop_sequences": ["END"],
		"metadata": {"user_id": "u-7"}, "service_tier": "auto", "stream": true
	}`)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("body (-want +got):\n%s", diff)
	}
}

func TestWhatTheAPICannotExpressIsRefusedBeforeItIsSent(t *testing.T) {
	t.Parallel()
	hello := []schemas.Message{schemas.TextMessage(schemas.RoleUser, "hello")}
	with := func(part schemas.Part) *schemas.Request {
		return &schemas.Request{Messages: []schemas.Message{{Role: schemas.RoleAssistant, Parts: []schemas.Part{part}}}}
	}
	tests := []struct {
		name string
		req  *schemas.Request
	}{
		{"sound", with(schemas.Part{Kind: schemas.PartAudio, Media: &schemas.Media{URL: "https://e.org/s"}})},
		{"broken arguments", with(schemas.Part{Kind: schemas.PartToolCall, ToolCall: &schemas.ToolCall{Name: "x", Arguments: "{"}})},
		{"two answers", &schemas.Request{Messages: hello, Sampling: &schemas.Sampling{N: new(int64(2))}}},
		{"one of two tools", &schemas.Request{Messages: hello, ToolChoice: &schemas.ToolChoice{Mode: "named", Names: []string{"a", "b"}}}},
		{"another operation", &schemas.Request{Op: "embed"}},
		{"spoken answer", &schemas.Request{Messages: hello, Output: &schemas.OutputSpec{Modalities: []string{"text", "audio"}}}},
		{"picture of another type", with(schemas.Part{Kind: schemas.PartImage, Media: &schemas.Media{MIME: "image/tiff", Data: []byte("x")}})},
		{"picture without a type", with(schemas.Part{Kind: schemas.PartImage, Media: &schemas.Media{Data: []byte("x")}})},
		{"document that is no PDF", with(schemas.Part{Kind: schemas.PartFile, Media: &schemas.Media{MIME: "application/msword", Data: []byte("x")}})},
		{"another vendor's file", with(schemas.Part{Kind: schemas.PartFile, Media: &schemas.Media{FileID: "f", Provider: "openai"}})},
		{"object that nobody fetched", with(schemas.Part{Kind: schemas.PartFile, Media: &schemas.Media{Ref: "blob"}})},
		{"data URL in another form", with(schemas.Part{Kind: schemas.PartImage, Media: &schemas.Media{URL: "data:image/png,x"}})},
		{"documents for nobody", &schemas.Request{Documents: []schemas.Document{{Text: "x"}}, Messages: []schemas.Message{schemas.TextMessage(schemas.RoleAssistant, "a")}}},
		{"completion of a picture", &schemas.Request{Op: schemas.OpComplete, Messages: []schemas.Message{{Role: schemas.RoleUser, Parts: []schemas.Part{{Kind: schemas.PartImage, Media: &schemas.Media{URL: "https://e.org/a.png"}}}}}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := encode(t, tt.req)
			var f *schemas.Failure
			if !errors.As(err, &f) || f.Code != schemas.Unsupported || f.Param == "" {
				t.Errorf("error %+v, want unsupported that names the field", err)
			}
		})
	}
}

// A conversation that another vendor began goes on here: what only that vendor
// understands stays behind, and its ids are spelled as the API allows.
func TestWhatIsAnotherVendorsIsLeftOut(t *testing.T) {
	t.Parallel()
	call := func(id, typ string) schemas.Part {
		return schemas.Part{Kind: schemas.PartToolCall, ToolCall: &schemas.ToolCall{ID: id, Name: "look", Type: typ}}
	}
	req := &schemas.Request{
		Messages: []schemas.Message{
			schemas.TextMessage(schemas.RoleUser, "Go."),
			{Role: schemas.RoleAssistant, Ext: map[string]json.RawMessage{"openai": json.RawMessage(`{"blocks":[{"at":0,"block":{}}]}`)}, Parts: []schemas.Part{
				{Kind: schemas.PartReasoning, Reasoning: &schemas.Reasoning{ID: "rs_1", Signature: "enc"}},
				call("ws_1", "server"),
				{Kind: schemas.PartText, Text: "Looking.", Citations: []schemas.Citation{{URL: "https://e.org", Raw: json.RawMessage(`{"type":"url_citation"}`)}}},
				call("functions.look:0", ""),
			}},
			toolResult("functions.look:0", "seen", false),
		},
		Sampling: &schemas.Sampling{Seed: new(int64(1)), MinP: new(0.1)},
		Cache:    &schemas.CacheSpec{Key: "k", TTL: "24h"},
	}
	got, err := encode(t, req)
	if err != nil {
		t.Fatal(err)
	}
	want := fromJSON(t, `{
		"model": "m-1", "max_tokens": 4096, "cache_control": {"type": "ephemeral", "ttl": "1h"},
		"messages": [
			{"role": "user", "content": "Go."},
			{"role": "assistant", "content": [
				{"type": "text", "text": "Looking."},
				{"type": "tool_use", "id": "functions_look_0", "name": "look", "input": {}}
			]},
			{"role": "user", "content": [{"type": "tool_result", "tool_use_id": "functions_look_0", "content": [{"type": "text", "text": "seen"}]}]}
		]
	}`)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("body (-want +got):\n%s", diff)
	}
	if n := len(unsaid(req)); n != 6 {
		t.Errorf("%d warnings, want one for each of two knobs, the cache's two and two parts: %q", n, unsaid(req))
	}
}
