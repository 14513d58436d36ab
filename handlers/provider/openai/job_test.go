package openai

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/sira-ai/sira/handlers/provider"
	"github.com/sira-ai/sira/schemas"
)

func plainAdapter(t testing.TB, api string) *Adapter {
	t.Helper()
	c := Defaults
	c.BaseURL, c.API = "https://v.example/v1", api
	a, err := NewAdapter(c, Variant{Name: kind})
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// decode has a read an answer.
func decode(
	a *Adapter, call provider.Call, status int, h http.Header, body string, emit provider.Emit,
) (*schemas.Response, error) {
	res := &http.Response{
		StatusCode: status, ContentLength: -1, Body: io.NopCloser(strings.NewReader(body)), Header: h,
	}
	defer func() { _ = res.Body.Close() }()
	return a.Decode(res, call, emit)
}

// typed are the headers of an answer that says what it is.
func typed(contentType string) http.Header { return http.Header{"Content-Type": {contentType}} }

// A film is made in three steps: it is asked for, asked about until it is ready,
// and then fetched, all with the one credential.
func TestAFilmIsFollowedUntilItIsFetched(t *testing.T) {
	t.Parallel()
	a, length := plainAdapter(t, apiChat), 8.0
	call := provider.Call{Model: "sora", Request: &schemas.Request{Op: schemas.OpVideo, Video: &schemas.VideoSpec{Prompt: "x", Seconds: &length}}}
	steps := []struct {
		contentType, body string
		state             schemas.JobState
		poll              string
	}{
		{"application/json", `{"id":"v1","status":"queued"}`, schemas.JobQueued, "/v1/videos/v1"},
		{"application/json", `{"id":"v1","status":"in_progress","progress":50}`, schemas.JobRunning, "/v1/videos/v1"},
		{"application/json", `{"id":"v1","status":"completed","progress":100}`, schemas.JobRunning, "/v1/videos/v1/content"},
	}
	for _, step := range steps {
		res, err := decode(a, call, 200, typed(step.contentType), step.body, nil)
		if err != nil || res.Job == nil || res.Job.State != step.state {
			t.Fatalf("%s: %+v, %v", step.body, res, err)
		}
		req, err := a.EncodePoll(t.Context(), call, *res.Job)
		if err != nil || req.URL.Path != step.poll || req.Method != http.MethodGet {
			t.Errorf("%s: polled by %+v, %v", step.body, req, err)
		}
		cancel, err := a.EncodeCancel(t.Context(), call, *res.Job)
		if err != nil || cancel.Method != http.MethodDelete || cancel.URL.Path != "/v1/videos/v1" {
			t.Errorf("cancelled by %+v, %v", cancel, err)
		}
	}
	res, err := decode(a, call, 200, typed("video/mp4"), "film", nil)
	if err != nil || len(res.Media) != 1 || string(res.Media[0].Data) != "film" || res.Usage.Units["seconds"].String() != "8" {
		t.Errorf("film %+v, %v", res, err)
	}
	_, err = decode(a, call, 200, typed("application/json"), `{"id":"v1","status":"failed","error":{"code":"moderation_blocked","message":"no"}}`, nil)
	if f := schemas.AsFailure(err); f == nil || f.Code != schemas.ContentFiltered {
		t.Errorf("a film that was refused: %v", err)
	}
}

func TestAnAnswerInTheBackgroundIsAJob(t *testing.T) {
	t.Parallel()
	a := plainAdapter(t, apiResponses)
	a.config.Background = true
	call := provider.Call{Model: "m", Request: &schemas.Request{Messages: []schemas.Message{schemas.TextMessage(schemas.RoleUser, "x")}}}
	req, err := a.Encode(t.Context(), call)
	if err != nil {
		t.Fatal(err)
	}
	var sent map[string]any
	if err := json.NewDecoder(req.Body).Decode(&sent); err != nil || sent["background"] != true || sent["store"] != true {
		t.Errorf("sent %v, %v", sent, err)
	}
	res, err := decode(a, call, 200, typed("application/json"), `{"id":"resp_1","status":"in_progress","output":[]}`, nil)
	if err != nil || res.Job == nil || res.Job.State != schemas.JobRunning {
		t.Fatalf("answer %+v, %v", res, err)
	}
	poll, err := a.EncodePoll(t.Context(), call, *res.Job)
	if err != nil || poll.URL.Path != "/v1/responses/resp_1" {
		t.Errorf("polled by %+v, %v", poll, err)
	}
	cancel, err := a.EncodeCancel(t.Context(), call, *res.Job)
	if err != nil || cancel.URL.Path != "/v1/responses/resp_1/cancel" || cancel.Method != http.MethodPost {
		t.Errorf("cancelled by %+v, %v", cancel, err)
	}
}

// An id comes from a requester: it must not lead to another address.
func TestAnIDDoesNotLeadElsewhere(t *testing.T) {
	t.Parallel()
	a := plainAdapter(t, apiChat)
	for _, id := range []string{"..", ".", "../models", "a/../../models", "a?b=c", "a%2fb"} {
		req, err := a.Encode(t.Context(), provider.Call{Request: &schemas.Request{Op: schemas.OpFileDelete, File: &schemas.FileSpec{ID: id}}})
		if err == nil && !strings.HasPrefix(req.URL.EscapedPath(), "/v1/files/") {
			t.Errorf("%q leads to %s", id, req.URL)
		}
		if err == nil && strings.Count(req.URL.EscapedPath(), "/") != 3 {
			t.Errorf("%q leads to %s", id, req.URL)
		}
	}
}

func FuzzOperations(f *testing.F) {
	f.Add(0, true, false, "data: {\"type\":\"response.output_text.delta\",\"delta\":\"x\"}\n\ndata: {\"type\":\"response.completed\",\"response\":{\"output\":[]}}\n\n")
	f.Add(0, false, false, `{"status":"completed","output":[{"type":"function_call","name":"f","arguments":"{}"},{"type":"x"}],"usage":{"input_tokens":1}}`)
	f.Add(1, false, false, `{"data":[{"embedding":[1,2]},{"embedding":"AAAAAA=="}]}`)
	f.Add(2, false, false, `{"results":[{"flagged":true,"categories":{"a":true},"category_scores":{"a":0.5}}]}`)
	f.Add(3, false, false, `{"data":[{"b64_json":"AAAA"},{"url":"u"}]}`)
	f.Add(3, true, false, "data: {\"type\":\"image_generation.completed\",\"b64_json\":\"AAAA\"}\n\n")
	f.Add(4, true, false, "data: {\"type\":\"speech.audio.delta\",\"audio\":\"AAAA\"}\n\ndata: {\"type\":\"speech.audio.done\"}\n\n")
	f.Add(5, false, true, "words")
	f.Add(6, false, false, `{"id":"v","status":"queued"}`)
	f.Add(7, false, false, `[{"id":"m"}]`)
	f.Add(8, false, false, `{"id":"f","bytes":1e3}`)
	requests := []*schemas.Request{
		{Messages: []schemas.Message{schemas.TextMessage(schemas.RoleUser, "x")}},
		{Op: schemas.OpEmbed, Embed: &schemas.EmbedSpec{}},
		{Op: schemas.OpModerate, Moderate: &schemas.ModerateSpec{}},
		{Op: schemas.OpImage, Image: &schemas.ImageSpec{}},
		{Op: schemas.OpSpeech, Speech: &schemas.SpeechSpec{}},
		{Op: schemas.OpTranscribe, Transcribe: &schemas.TranscribeSpec{}},
		{Op: schemas.OpVideo, Video: &schemas.VideoSpec{}},
		{Op: schemas.OpModels},
		{Op: schemas.OpFileGet, File: &schemas.FileSpec{}},
	}
	f.Fuzz(func(t *testing.T, which int, stream, plain bool, body string) {
		req := *requests[uint(which)%uint(len(requests))]
		req.Stream = stream
		contentType := "application/json"
		switch {
		case stream:
			contentType = "text/event-stream"
		case plain:
			contentType = "text/plain"
		}
		finished := false
		emit := func(c schemas.Chunk) error {
			if finished && c.Type != schemas.ChunkUsage {
				t.Errorf("%s behind the finish", c.Type)
			}
			finished = finished || c.Type == schemas.ChunkFinish
			return nil
		}
		res, err := decode(plainAdapter(t, apiResponses), provider.Call{Request: &req}, 200, typed(contentType), body, emit)
		if err != nil {
			if f := schemas.AsFailure(err); !f.Code.Known() {
				t.Errorf("failure %+v", f)
			}
			return
		}
		if res.Usage.Source == "" || res.Usage.InputTokens < 0 || res.Usage.OutputTokens < 0 {
			t.Errorf("usage %+v", res.Usage)
		}
		if _, err := json.Marshal(res); err != nil {
			t.Errorf("the answer cannot be encoded: %v", err)
		}
	})
}
