package simulate_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/sira-ai/sira/handlers/simulate"
)

// operations are calls of each form that the vendors have, but for those that other
// tests look at.
var operations = []struct{ path, body string }{
	{"/openai/v1/responses", `{"model":"m","input":"hi"}`},
	{"/openai/v1/embeddings", `{"model":"m","input":["a","b"]}`},
	{"/openai/v1/images/generations", `{"model":"m","prompt":"a cat"}`},
	{"/openai/v1/audio/speech", `{"model":"m","input":"hi","voice":"alloy"}`},
	{"/openai/v1/moderations", `{"model":"m","input":"hi"}`},
	{"/gemini/v1beta/models/m:generateContent", `{"contents":[{"parts":[{"text":"hi"}]}]}`},
	{"/gemini/v1beta/models/m:embedContent", `{"content":{"parts":[{"text":"hi"}]}}`},
	{"/cohere/v2/chat", chatBody},
	{"/cohere/v2/embed", `{"model":"m","input_type":"search_query","texts":["a"]}`},
	{"/cohere/v2/rerank", `{"model":"m","query":"q","documents":["a","b"]}`},
	{"/ai21/studio/v1/chat/completions", chatBody},
	{"/together/v1/chat/completions", chatBody},
	{"/together/v1/rerank", `{"model":"m","query":"q","documents":["a","b"]}`},
	{"/azure_openai/openai/v1/chat/completions", chatBody},
	{"/azure_openai/openai/deployments/d/embeddings", `{"input":"a"}`},
	{"/huggingface/v1/chat/completions", chatBody},
	{"/huggingface/hf-inference/models/a/b/pipeline/feature-extraction", `{"inputs":"a"}`},
	{"/replicate/v1/models/meta/llama/predictions", `{"input":{"prompt":"hi"}}`},
}

// Statuses are the vendors' own where they have one for the case, so that a fault is
// only known not to be an answer.
func TestEveryOperationHasTheFaults(t *testing.T) {
	t.Parallel()
	_, server := start(t, simulate.Config{})
	auth := []string{"Authorization", "Bearer any", "X-Goog-Api-Key", "any", "Api-Key", "any"}
	for _, op := range operations {
		t.Run(op.path, func(t *testing.T) {
			t.Parallel()
			if got := post(t, server, op.path, op.body, auth...); got.status/100 != 2 || got.err != nil || got.body == "" {
				t.Fatalf("%d %s: %v", got.status, got.body, got.err)
			}
			for fault, status := range map[string]int{"429;retry-after=3": 429, "500": 500, "503": 503, "529": 529, "auth": 0, "context": 0, "quota": 0} {
				got := post(t, server, op.path, op.body, append(auth, "X-Sim-Fault", fault)...)
				if got.status < 400 || status != 0 && got.status != status || !json.Valid([]byte(got.body)) {
					t.Errorf("%s: %d %s", fault, got.status, got.body)
				}
				if fault[:3] == "429" && got.header.Get("Retry-After") != "3" {
					t.Errorf("%s: headers %v", fault, got.header)
				}
			}
			if got := post(t, server, op.path, op.body, append(auth, "X-Sim-Fault", "reset")...); got.err == nil {
				t.Error("reset gave an answer")
			}
			if got := post(t, server, op.path, op.body, append(auth, "X-Sim-Fault", "malformed")...); got.err != nil || json.Valid([]byte(got.body)) {
				t.Errorf("malformed: %s, %v", got.body, got.err)
			}
			if strings.HasPrefix(op.path, "/replicate/") {
				return // cut is the job's, not the answer's
			}
			if got := post(t, server, op.path, op.body, append(auth, "X-Sim-Fault", "cut")...); got.err == nil {
				t.Errorf("cut gave all of %s", got.body)
			}
		})
	}
}

func TestACallWithoutAModelIsRefused(t *testing.T) {
	t.Parallel()
	_, server := start(t, simulate.Config{Instances: map[string]simulate.Behaviour{"few": {Models: []string{"d"}}}})
	body := `{"messages":[{"role":"user","content":"hi"}]}`
	for path, want := range map[string]int{
		"/openai/v1/chat/completions": 400, "/azure_openai/openai/v1/chat/completions": 400,
		"/azure_openai/openai/deployments/d/chat/completions":     200,
		"/few/azure_openai/openai/deployments/d/chat/completions": 200,
		"/few/azure_openai/openai/deployments/e/chat/completions": 404,
	} {
		if got := post(t, server, path, body, "Api-Key", "any", "Authorization", "Bearer any"); got.status != want {
			t.Errorf("%s: %d %s, want %d", path, got.status, got.body, want)
		}
	}
}

// form returns a body of type multipart/form-data, and that type.
func form(t *testing.T, fields map[string]string, file string) (body, kind string) {
	t.Helper()
	var buf bytes.Buffer
	w := multipart.NewWriter(&buf)
	for name, value := range fields {
		if err := w.WriteField(name, value); err != nil {
			t.Fatal(err)
		}
	}
	if file != "" {
		part, err := w.CreateFormFile(file, "a.bin")
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.WriteString(part, "RIFF")
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return buf.String(), w.FormDataContentType()
}

func TestFormsAreReadInAnyFormOfAnswer(t *testing.T) {
	t.Parallel()
	_, server := start(t, simulate.Config{})
	for _, tt := range []struct {
		path, accept string
		fields       map[string]string
		file, kind   string
		want         string
	}{
		{"/openai/v1/audio/transcriptions", "", map[string]string{"model": "whisper-1"}, "file", "application/json", `"text":`},
		{"/openai/v1/audio/transcriptions", "", map[string]string{"model": "whisper-1", "response_format": "text"}, "file", "text/plain", " "},
		{"/openai/v1/images/edits", "", map[string]string{"model": "gpt-image-1", "prompt": "p", "n": "2"}, "image", "application/json", `"b64_json"`},
		{"/stability/v2beta/stable-image/generate/sd3", "image/*", map[string]string{"model": "sd3.5-large", "prompt": "p"}, "", "image/png", "PNG"},
		{"/stability/v2beta/stable-image/generate/core", "application/json", map[string]string{"prompt": "p"}, "none", "application/json", `"image":`},
	} {
		body, kind := form(t, tt.fields, tt.file)
		got := post(t, server, tt.path, body, "Authorization", "Bearer any", "Content-Type", kind, "Accept", tt.accept)
		if got.status != 200 || !strings.HasPrefix(got.header.Get("Content-Type"), tt.kind) || !strings.Contains(got.body, tt.want) {
			t.Errorf("%s: %d %s %q", tt.path, got.status, got.header.Get("Content-Type"), got.body)
		}
	}
	if got := post(t, server, "/stability/v2beta/stable-image/generate/core", `{}`, "Authorization", "Bearer any"); got.status != 400 {
		t.Errorf("a body that is no form: %d %s", got.status, got.body)
	}
}

// prediction is what the tests read of a job.
type prediction struct {
	ID, Status, Error string
	Output            []string
	URLs              struct{ Get, Cancel, Stream string }
}

func send(t *testing.T, server *httptest.Server, method, url, body string, headers ...string) (p prediction, text string, status int) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer any")
	for i := 0; i+1 < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	res, err := server.Client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	raw, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	_ = json.Unmarshal(raw, &p) // a stream or an error is looked at as text
	return p, string(raw), res.StatusCode
}

func TestAJobRunsForItsTime(t *testing.T) {
	t.Parallel()
	run := simulate.Duration(time.Hour)
	sim, server := start(t, simulate.Config{Instances: map[string]simulate.Behaviour{"slow": {RunTime: run}}})
	create := func(instance, model string, headers ...string) prediction {
		p, text, status := send(t, server, http.MethodPost, server.URL+"/"+instance+"/replicate/v1/models/"+model+"/predictions", `{"input":{"prompt":"hi","num_outputs":2}}`, headers...)
		if status != 201 || p.ID == "" {
			t.Fatalf("%d %s", status, text)
		}
		return p
	}
	slow := create("slow", "meta/llama")
	if slow.Status != "starting" || slow.Output != nil {
		t.Errorf("job %+v, want one that has begun", slow)
	}
	if p, _, _ := send(t, server, http.MethodGet, slow.URLs.Get, ""); p.Status != "starting" {
		t.Errorf("job %+v", p)
	}
	if p, _, _ := send(t, server, http.MethodPost, slow.URLs.Cancel, ""); p.Status != "canceled" {
		t.Errorf("job %+v, want canceled", p)
	}
	quick := create("default", "meta/llama")
	p, _, _ := send(t, server, http.MethodGet, quick.URLs.Get, "")
	_, streamed, _ := send(t, server, http.MethodGet, quick.URLs.Stream, "")
	var want strings.Builder
	for _, word := range p.Output {
		fmt.Fprintf(&want, "event: output\ndata: %s\n\n", word)
	}
	if p.Status != "succeeded" || len(p.Output) < 16 || streamed != ": hi\n\n"+want.String()+"event: done\ndata: {}\n\n" {
		t.Errorf("job %+v streamed %q", p, streamed)
	}
	if p := create("default", "black-forest-labs/flux-schnell"); len(p.Output) != 2 || !strings.HasSuffix(p.Output[0], ".png") {
		t.Errorf("pictures %+v", p)
	}
	for fault, want := range map[string]string{"filter": "NSFW", "stream-error": "crashed"} {
		if p := create("default", "meta/llama", "X-Sim-Fault", fault); p.Status != "failed" || !strings.Contains(p.Error, want) {
			t.Errorf("%s: job %+v", fault, p)
		}
	}
	if p := create("default", "meta/llama", "X-Sim-Fault", "stall", "Prefer", "wait=1"); p.Status != "processing" {
		t.Errorf("stalled job %+v", p)
	}
	sim.Reset()
	if _, text, status := send(t, server, http.MethodGet, quick.URLs.Get, ""); status != 404 {
		t.Errorf("a forgotten job: %d %s", status, text)
	}
}
