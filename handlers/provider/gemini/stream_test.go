package gemini_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/sira-ai/sira/handlers/provider/providertest"
	"github.com/sira-ai/sira/schemas"
)

// stream returns pieces as the events of a stream.
func stream(pieces ...string) string {
	var s strings.Builder
	for _, p := range pieces {
		s.WriteString("data: " + p + "\r\n\r\n")
	}
	return s.String()
}

func replay(t *testing.T, body string, streamed bool) (*schemas.Response, *schemas.Failure, []schemas.Chunk) {
	t.Helper()
	x := &providertest.Exchange{Stream: streamed}
	x.Response.Status, x.Response.Body = 200, body
	return providertest.Replay(t, newProvider, x)
}

const (
	said  = `{"candidates":[{"content":{"parts":[{"text":"Hel"}]},"index":0}],"responseId":"id","modelVersion":"v"}`
	ended = `{"candidates":[{"content":{"parts":[{"text":"lo"}]},"finishReason":"STOP","index":0}],"usageMetadata":{"promptTokenCount":4,"candidatesTokenCount":2,"totalTokenCount":6}}`
)

func TestAStreamEndsWithAReasonOrIsInterrupted(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, body string
		text       string
		finish     schemas.FinishReason
		failure    schemas.Code
	}{
		{"whole", stream(said, ended), "Hello", schemas.FinishStop, ""},
		{"whole, with an end that others have", stream(said, ended, "[DONE]"), "Hello", schemas.FinishStop, ""},
		{"as a list", "[" + said + ",\r\n" + ended + "\n]\n", "Hello", schemas.FinishStop, ""},
		{"cut", stream(said), "", "", schemas.StreamInterrupted},
		{"cut within an event", stream(said) + "data: " + ended[:40], "", "", schemas.StreamInterrupted},
		{"a list, cut", "[" + said + ",\n" + ended[:40], "", "", schemas.StreamInterrupted},
		{"a list, cut behind a piece", "[" + said + ",\n" + ended, "", "", schemas.StreamInterrupted},
		{"a list with an error", "[" + said + `,{"error":{"code":503,"status":"UNAVAILABLE"}}]`, "", "", schemas.Overloaded},
		{"an error that is no event", stream(said) + "{\"error\": {\r\n\"code\": 500,\r\n\"status\": \"INTERNAL\"}}", "", "", schemas.Internal},
		{"an error in place of a stream", `{"error":{"code":429,"status":"RESOURCE_EXHAUSTED","message":"quota"}}`, "", "", schemas.RateLimited},
		{"no candidates", stream(`{"usageMetadata":{"promptTokenCount":4,"totalTokenCount":4}}`), "", "", schemas.StreamInterrupted},
		{"one of two candidates", stream(`{"candidates":[{"index":0,"finishReason":"STOP"},{"index":1,"content":{"parts":[{"text":"x"}]}}]}`), "", "", schemas.StreamInterrupted},
		{"a blocked prompt", stream(`{"promptFeedback":{"blockReason":"PROHIBITED_CONTENT"},"usageMetadata":{"promptTokenCount":4,"totalTokenCount":4}}`), "", "", schemas.ContentFiltered},
		{"an answer blocked later", stream(said, `{"promptFeedback":{"blockReason":"OTHER"}}`), "Hel", schemas.FinishContentFilter, ""},
		{"nothing but an end", stream(`{"candidates":[{"finishReason":"STOP","index":0}]}`), "", schemas.FinishStop, ""},
		{"a picture that is not base64", stream(`{"candidates":[{"content":{"parts":[{"inlineData":{"mimeType":"image/png","data":"*"}}]},"finishReason":"STOP"}]}`), "", "", schemas.MalformedResponse},
		{"too many candidates", stream(`{"candidates":[{"finishReason":"STOP"}` + strings.Repeat(`,{"finishReason":"STOP"}`, 200) + `]}`), "", "", schemas.MalformedResponse},
		{"a text with a new field", stream(`{"candidates":[{"content":{"parts":[{"text":"Hello","mood":{"level":1}}]},"finishReason":"STOP"}]}`), "Hello", schemas.FinishStop, ""},
		{"an end without a reason", stream(said, `{"candidates":[{"finishReason":"FINISH_REASON_UNSPECIFIED"}]}`), "", "", schemas.StreamInterrupted},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			res, f, _ := replay(t, tt.body, true)
			if tt.failure != "" {
				if f == nil || f.Code != tt.failure {
					t.Fatalf("answer %+v, failure %+v, want %s", res, f, tt.failure)
				}
				return
			}
			if f != nil {
				t.Fatalf("failure %+v, want an answer", f)
			}
			if res.Text() != tt.text || res.Choices[0].Finish.Reason != tt.finish {
				t.Errorf("answer %q, finish %+v, want %q, %s", res.Text(), res.Choices[0].Finish, tt.text, tt.finish)
			}
		})
	}
}

func TestReasonsToFinish(t *testing.T) {
	t.Parallel()
	for reason, words := range map[schemas.FinishReason][]string{
		schemas.FinishStop:   {`"STOP"`, `1`},
		schemas.FinishLength: {`"MAX_TOKENS"`, `2`},
		schemas.FinishContentFilter: {
			`"SAFETY"`, `"RECITATION"`, `"BLOCKLIST"`, `"PROHIBITED_CONTENT"`, `"SPII"`, `"IMAGE_SAFETY"`,
			`"IMAGE_PROHIBITED_CONTENT"`, `"IMAGE_RECITATION"`,
		},
		schemas.FinishError:   {`"OTHER"`, `"MALFORMED_FUNCTION_CALL"`, `"UNEXPECTED_TOOL_CALL"`, `"TOO_MANY_TOOL_CALLS"`, `"NO_IMAGE"`, `"IMAGE_OTHER"`},
		schemas.FinishPause:   {`"CONTINUATION"`},
		schemas.FinishUnknown: {`"LANGUAGE"`, `"SOMETHING_NEW"`},
	} {
		for _, word := range words {
			res, f, _ := replay(t, `{"candidates":[{"content":{},"finishReason":`+word+`,"finishMessage":"why"}]}`, false)
			if f != nil {
				t.Errorf("%s: failure %+v", word, f)
				continue
			}
			if got := res.Choices[0].Finish; got.Reason != reason || got.Raw != strings.Trim(word, `"`) || got.Detail != "why" {
				t.Errorf("%s: finish %+v, want %s", word, got, reason)
			}
		}
	}
}

func TestABlockedPromptIsAFailureWithItsUsage(t *testing.T) {
	t.Parallel()
	_, f, _ := replay(t, `{"promptFeedback":{"blockReason":"SAFETY","blockReasonMessage":"no"},"usageMetadata":{"promptTokenCount":"12","totalTokenCount":"12"}}`, false)
	if f == nil || f.Code != schemas.ContentFiltered || f.VendorCode != "SAFETY" || f.Usage == nil || f.Usage.InputTokens != 12 {
		t.Errorf("failure %+v, want content_filtered with the usage", f)
	}
}

// Pieces that differ only in text and usage are read by a shortcut; an empty
// event between them makes each be read as JSON.
func TestTheShortcutReadsWhatTheLongWayReads(t *testing.T) {
	t.Parallel()
	var pieces, apart []string
	add := func(p string) { pieces, apart = append(pieces, p), append(apart, p, "{}") }
	for i, text := range []string{"a", " \\\"b\\\"", "c\\\\", "\\u00e9", "text", "", "{\\\"text\\\": 1}", "日本"} {
		add(fmt.Sprintf(`{"candidates": [{"content": {"parts": [{"text": "%s"}],"role": "model"},"index": 0}],`+
			`"usageMetadata": {"promptTokenCount": 9,"candidatesTokenCount": %d},"modelVersion": "v-2.5","responseId": "id1"}`, text, 7*i))
	}
	// Each of these looks like the one before, but says more.
	add(`{"candidates": [{"content": {"parts": [{"text": "x"}],"role": "model"},"index": 1}],"usageMetadata": {"promptTokenCount": 9,"candidatesTokenCount": 60},"modelVersion": "v-2.5","responseId": "id1"}`)
	add(`{"candidates": [{"content": {"parts": [{"text": "y","thought": true}],"role": "model"},"index": 0}],"usageMetadata": {"promptTokenCount": 9,"candidatesTokenCount": 61},"modelVersion": "v-2.5","responseId": "id1"}`)
	add(`{"candidates": [{"content": {"parts": [{"text": "z","thought": true}],"role": "model"},"index": 0}],"usageMetadata": {"promptTokenCount": 9,"candidatesTokenCount": 62},"modelVersion": "v-2.5","responseId": "id1"}`)
	add(`{"candidates": [{"content": {"parts": [{"text": "z","thoughtSignature": "c2ln"}],"role": "model"},"index": 0}],"modelVersion": "v-2.5","responseId": "id1"}`)
	add(`{"candidates": [{"content": {"parts": [{"text": "z","thoughtSignature": "c2lo"}],"role": "model"},"index": 0}],"modelVersion": "v-2.5","responseId": "id1"}`)
	add(`{"candidates": [{"finishReason": "STOP","index": 0},{"finishReason": "STOP","index": 1}],"modelVersion": "v-2.5","responseId": "id1"}`)
	short, f, chunks := replay(t, stream(pieces...), true)
	if f != nil {
		t.Fatalf("failure %+v", f)
	}
	long, f, slow := replay(t, stream(apart...), true)
	if f != nil {
		t.Fatalf("failure %+v", f)
	}
	if diff := cmp.Diff(long, short); diff != "" {
		t.Errorf("answer (-long way +shortcut):\n%s", diff)
	}
	if diff := cmp.Diff(slow, chunks); diff != "" {
		t.Errorf("chunks (-long way +shortcut):\n%s", diff)
	}
	if want := "a \"b\"c\\étext{\"text\": 1}日本zz"; short.Text() != want || short.Usage.InputTokens != 9 || short.Usage.OutputTokens != 62 {
		t.Errorf("text %q, usage %+v, want %q, 9 and 62 tokens", short.Text(), short.Usage, want)
	}
}

// What an answer holds goes back in the next request as it came, thoughts without
// a signature left out.
func TestAnAnswerGoesBackAsItCame(t *testing.T) {
	t.Parallel()
	const parts = `[{"text":"hm","thought":true},` +
		`{"executableCode":{"language":"PYTHON","code":"1"},"thoughtSignature":"czE="},{"codeExecutionResult":{"outcome":"OUTCOME_OK"}},` +
		`{"text":"so","thoughtSignature":"czI="},{"functionCall":{"id":"a","name":"look","args":{"x":[1]}},"thoughtSignature":"czM="},` +
		`{"functionCall":{"name":"look","args":{}}},{"toolCall":{"id":"t"}},{"text":"end"},` +
		`{"inlineData":{"mimeType":"image/png","data":"cG5n"},"thoughtSignature":"czQ="},{"text":"","thoughtSignature":"czU="}]`
	body := `{"candidates":[{"content":{"parts":` + parts + `},"finishReason":"STOP"}],"responseId":"id"}`
	for _, streamed := range []bool{false, true} {
		if streamed {
			body = stream(body)
		}
		res, f, _ := replay(t, body, streamed)
		if f != nil {
			t.Fatalf("failure %+v", f)
		}
		sent := sentBody(t, &schemas.Request{Messages: []schemas.Message{res.Choices[0].Message}})
		var want, got struct {
			Contents []struct{ Parts []any }
		}
		unmarshal(t, `{"contents":[{"parts":`+strings.Replace(parts, `{"text":"hm","thought":true},`, "", 1)+`}]}`, &want)
		unmarshal(t, sent, &got)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("parts (-came +went):\n%s", diff)
		}
	}
}

func unmarshal(t *testing.T, s string, into any) {
	t.Helper()
	if err := json.Unmarshal([]byte(s), into); err != nil {
		t.Fatalf("parsing %s: %v", s, err)
	}
}

func TestPiecesOfSoundAreJoined(t *testing.T) {
	t.Parallel()
	piece := `{"candidates":[{"content":{"parts":[{"inlineData":{"mimeType":"audio/L16;rate=24000","data":"%s"}}]}}]}`
	res, f, chunks := replay(t, stream(fmt.Sprintf(piece, "AAE="), fmt.Sprintf(piece, "AgM="), ended), true)
	if f != nil {
		t.Fatalf("failure %+v", f)
	}
	want := []schemas.Part{
		{Kind: schemas.PartAudio, Media: &schemas.Media{MIME: "audio/L16;rate=24000", Data: []byte{0, 1, 2, 3}}},
		{Kind: schemas.PartText, Text: "lo"},
	}
	if diff := cmp.Diff(want, res.Choices[0].Message.Parts); diff != "" {
		t.Errorf("parts (-want +got):\n%s", diff)
	}
	if len(chunks) != 6 || chunks[1].Type != schemas.ChunkMedia || chunks[2].Type != schemas.ChunkMedia {
		t.Errorf("chunks %+v", chunks)
	}
}

func TestArgumentsInPiecesAreJoined(t *testing.T) {
	t.Parallel()
	piece := func(call string) string {
		return `{"candidates":[{"content":{"parts":[{"functionCall":` + call + `}]}}],"responseId":"id"}`
	}
	res, f, _ := replay(t, stream(
		piece(`{"name":"look","willContinue":true}`),
		piece(`{"partialArgs":[{"jsonPath":"$.city","stringValue":"Os","willContinue":true}],"willContinue":true}`),
		piece(`{"partialArgs":[{"jsonPath":"$.city","stringValue":"lo"},{"jsonPath":"$.days[0].n","numberValue":1.50}],"willContinue":true}`),
		piece(`{"partialArgs":[{"jsonPath":"$.days[1]","boolValue":true},{"jsonPath":"$.none","nullValue":"NULL_VALUE"}],"willContinue":true}`),
		piece(`{}`),
		piece(`{"name":"see"}`),
		`{"candidates":[{"finishReason":"STOP"}]}`,
	), true)
	if f != nil {
		t.Fatalf("failure %+v", f)
	}
	want := []schemas.Part{
		{Kind: schemas.PartToolCall, ToolCall: &schemas.ToolCall{ID: "sira_id_0", Name: "look", Arguments: `{"city":"Oslo","days":[{"n":1.50},true],"none":null}`}},
		{Kind: schemas.PartToolCall, ToolCall: &schemas.ToolCall{ID: "sira_id_1", Name: "see", Arguments: `{}`}},
	}
	if diff := cmp.Diff(want, res.Choices[0].Message.Parts); diff != "" {
		t.Errorf("parts (-want +got):\n%s", diff)
	}
}
