package simulate_test

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
	"go.uber.org/zap"

	"github.com/sira-ai/sira/handlers/simulate"
)

// TestMain allows the goroutine that a library of Google's client starts when it is linked in.
func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreTopFunction("go.opencensus.io/stats/view.(*worker).start"))
}

const (
	chatBody     = `{"model":"gpt-4o-mini","messages":[{"role":"user","content":"hi"}]}`
	chatStream   = `{"model":"gpt-4o-mini","stream":true,"stream_options":{"include_usage":true},"messages":[{"role":"user","content":"hi"}]}`
	claudeBody   = `{"model":"claude-haiku-4-5","max_tokens":200,"messages":[{"role":"user","content":"hi"}]}`
	claudeStream = `{"model":"claude-haiku-4-5","max_tokens":200,"stream":true,"messages":[{"role":"user","content":"hi"}]}`
	chatPath     = "/openai/v1/chat/completions"
	claudePath   = "/anthropic/v1/messages"
)

// start serves a simulator on a port for the length of the test.
func start(t *testing.T, cfg simulate.Config) (*simulate.Simulator, *httptest.Server) {
	t.Helper()
	if err := cfg.Validate(); err != nil {
		t.Fatal(err)
	}
	sim := simulate.New(cfg, zap.NewNop())
	server := httptest.NewServer(sim)
	t.Cleanup(server.Close)
	return sim, server
}

// reply is what a caller saw: err is set if the answer did not come to its end.
type reply struct {
	status int
	header http.Header
	body   string
	err    error
}

func post(t *testing.T, server *httptest.Server, path, body string, headers ...string) reply {
	t.Helper()
	req := request(t, server.URL+path, body, headers...)
	resp, err := server.Client().Do(req)
	if err != nil {
		return reply{err: err}
	}
	defer resp.Body.Close()
	got, err := io.ReadAll(resp.Body)
	return reply{status: resp.StatusCode, header: resp.Header, body: string(got), err: err}
}

func request(t *testing.T, url, body string, headers ...string) *http.Request {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.GetBody = nil // the transport does not repeat calls by itself: tests count them
	req.Header.Set("Authorization", "Bearer any")
	req.Header.Set("X-Api-Key", "any")
	req.Header.Set("Anthropic-Version", "2023-06-01")
	for i := 0; i < len(headers); i += 2 {
		if headers[i+1] == "" {
			req.Header.Del(headers[i])
			continue
		}
		req.Header.Set(headers[i], headers[i+1])
	}
	return req
}

// admin calls a path under /_sim/ and returns the status and the body.
func admin(t *testing.T, server *httptest.Server, method, path, body string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, server.URL+"/_sim/"+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	resp, err := server.Client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	got, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(got)
}

func TestInstancesOfOneSimulatorBehaveApart(t *testing.T) {
	t.Parallel()
	_, server := start(t, simulate.Config{Instances: map[string]simulate.Behaviour{"down": {Down: true}}})
	for path, want := range map[string]int{
		chatPath:              200,
		"/up" + chatPath:      200,
		"/up" + claudePath:    200,
		"/down" + chatPath:    503,
		"/down" + claudePath:  503,
		"/_bad" + chatPath:    404,
		"/openai/v1/nothing":  404,
		"/gemini/v1/chat":     404,
		"/up/openai":          404,
		"/openai":             404,
		"/":                   404,
		"/up/openai/v1/other": 404,
	} {
		body := chatBody
		if strings.HasSuffix(path, claudePath) {
			body = claudeBody
		}
		if got := post(t, server, path, body); got.status != want {
			t.Errorf("%s: status %d, want %d: %s", path, got.status, want, got.body)
		}
	}
}

func TestBehaviourChangesAtRunTime(t *testing.T) {
	t.Parallel()
	_, server := start(t, simulate.Config{})
	call := func() int { return post(t, server, "/eu"+chatPath, chatBody).status }
	if got := call(); got != 200 {
		t.Fatalf("before: status %d", got)
	}
	if status, body := admin(t, server, http.MethodPut, "instances/eu", `{"faults":{"429":{"share":1,"retry_after":"1500ms"}}}`); status != 204 {
		t.Fatalf("PUT: %d %s", status, body)
	}
	if got := post(t, server, "/eu"+chatPath, chatBody); got.status != 429 || got.header.Get("Retry-After") != "2" {
		t.Errorf("with a fault: status %d, Retry-After %q", got.status, got.header.Get("Retry-After"))
	}
	if got := post(t, server, chatPath, chatBody); got.status != 200 {
		t.Errorf("another instance: status %d", got.status)
	}
	_, listed := admin(t, server, http.MethodGet, "instances", "")
	var instances map[string]simulate.Behaviour
	if err := json.Unmarshal([]byte(listed), &instances); err != nil || instances["eu"].Faults["429"].Share != 1 {
		t.Errorf("instances: %v: %s", err, listed)
	}
	admin(t, server, http.MethodPut, "instances/default", `{"down":true}`)
	if status, _ := admin(t, server, http.MethodDelete, "instances/eu", ""); status != 204 || call() != 503 {
		t.Error("an instance that is not set any more does not follow the default one")
	}
	admin(t, server, http.MethodPost, "reset?instances=true", "")
	if got := call(); got != 200 {
		t.Errorf("after a reset of instances: status %d", got)
	}
}

func TestMistakesInBehaviourAreExplained(t *testing.T) {
	t.Parallel()
	_, server := start(t, simulate.Config{})
	for body, want := range map[string]string{
		`{"latencies":{}}`:                                     "unknown field",
		`{"latency":{"value":"5ms"}}`:                          "write fixed, uniform or lognormal",
		`{"latency":{"kind":"fixed","value":"5"}}`:             "such as 250ms",
		`{"latency":{"kind":"fixed","value":"-5s"}}`:           "such as 250ms",
		`{"latency":{"kind":"uniform","min":"5ms"}}`:           "max is below min",
		`{"latency":{"kind":"lognormal","sigma":1}}`:           "median above 0s",
		`{"latency":{"kind":"fixed","value":"9999h"}}`:         "write 0s to 24h",
		`{"faults":{"oops":{"share":1}}}`:                      "there are 429, quota, 500",
		`{"faults":{"429":{"share":2}}}`:                       "share from 0 to 1",
		`{"faults":{"429":{"share":0.6},"500":{"share":0.6}}}`: "at most 1",
		`{"tokens":{"min":5,"max":1}}`:                         "0 <= min <= max",
		`{"keys":[""]}`:                                        "empty key never passes",
		`{"tokens_per_second":-1}`:                             "write 0 for no pace",
		`{} {}`:                                                "something follows",
	} {
		if status, got := admin(t, server, http.MethodPut, "instances/eu", body); status != 400 || !strings.Contains(got, want) {
			t.Errorf("%s: %d %q, want 400 with %q", body, status, got, want)
		}
	}
	if status, _ := admin(t, server, http.MethodPut, "instances/openai", `{}`); status != 400 {
		t.Error("a dialect's name was taken for an instance's")
	}
	cfg := simulate.Config{Listen: "8089", TrackKeys: -1, Drain: -1, Instances: map[string]simulate.Behaviour{"a b": {Context: -1}}}
	err := cfg.Validate()
	for _, want := range []string{"listen", "track_keys", "drain", `"a b"`, "context"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Validate does not mention %s: %v", want, err)
		}
	}
}

func TestAdminIsForCallersOnThisMachine(t *testing.T) {
	t.Parallel()
	sim := simulate.New(simulate.Config{}, zap.NewNop())
	open := simulate.New(simulate.Config{RemoteAdmin: true}, zap.NewNop())
	for _, c := range []struct {
		sim          *simulate.Simulator
		remote, host string
		want         int
	}{
		{sim, "127.0.0.1:5000", "127.0.0.1:8089", 200},
		{sim, "[::1]:5000", "localhost:8089", 200},
		{sim, "[::1]:5000", "[::1]", 200},
		{sim, "127.0.0.1:5000", "rebound.example.com:8089", 403},
		{sim, "192.0.2.1:5000", "127.0.0.1:8089", 403},
		{open, "192.0.2.1:5000", "sim:8089", 200},
	} {
		r := httptest.NewRequest(http.MethodGet, "/_sim/stats", nil)
		r.RemoteAddr, r.Host = c.remote, c.host
		w := httptest.NewRecorder()
		c.sim.ServeHTTP(w, r)
		if w.Code != c.want {
			t.Errorf("from %s to %s: %d, want %d", c.remote, c.host, w.Code, c.want)
		}
	}
}

func TestKeysAreNotShown(t *testing.T) {
	t.Parallel()
	_, server := start(t, simulate.Config{Instances: map[string]simulate.Behaviour{"eu": {Keys: []secret{"sk-real"}}}})
	if _, got := admin(t, server, http.MethodGet, "instances", ""); strings.Contains(got, "sk-real") {
		t.Errorf("a key is shown: %s", got)
	}
	for key, want := range map[string]int{"Bearer sk-real": 200, "Bearer other": 401, "": 401, "sk-real": 401} {
		if got := post(t, server, "/eu"+chatPath, chatBody, "Authorization", key); got.status != want {
			t.Errorf("key %q: status %d, want %d", key, got.status, want)
		}
	}
	for key, want := range map[string]int{"sk-real": 200, "other": 401, "": 401} {
		if got := post(t, server, "/eu"+claudePath, claudeBody, "X-Api-Key", key, "Authorization", ""); got.status != want {
			t.Errorf("x-api-key %q: status %d, want %d", key, got.status, want)
		}
	}
}

func TestStatsTellHowOftenACallWasRepeated(t *testing.T) {
	t.Parallel()
	sim, server := start(t, simulate.Config{})
	post(t, server, "/eu"+chatPath, chatBody, "Idempotency-Key", "a")
	post(t, server, "/eu"+chatPath, chatBody, "Idempotency-Key", "a")
	post(t, server, "/us"+claudePath, claudeBody, "Idempotency-Key", "b", "X-Sim-Fault", "529;times=1")
	post(t, server, "/us"+claudePath, claudeBody, "Idempotency-Key", "b", "X-Sim-Fault", "529;times=1")
	post(t, server, "/us"+claudePath, claudeStream, "Idempotency-Key", "c", "X-Sim-Fault", "cut")
	post(t, server, "/us"+claudePath, "{}", "Idempotency-Key", "d")
	post(t, server, "/us"+claudePath, claudeBody)
	post(t, server, "/us"+claudePath, claudeBody)
	want := simulate.Stats{
		Total: simulate.Counts{Started: 8, Finished: 5, Refused: 2, CutOff: 1},
		Calls: []simulate.Row{
			{Instance: "eu", Dialect: "openai", Model: "gpt-4o-mini", Counts: simulate.Counts{Started: 2, Finished: 2}, Outcomes: map[string]int64{"ok": 2}},
			{Instance: "us", Dialect: "anthropic", Model: "", Counts: simulate.Counts{Started: 1, Refused: 1}, Outcomes: map[string]int64{"invalid": 1}},
			{
				Instance: "us", Dialect: "anthropic", Model: "claude-haiku-4-5", Counts: simulate.Counts{Started: 5, Finished: 3, Refused: 1, CutOff: 1},
				Outcomes: map[string]int64{"ok": 3, "529": 1, "cut": 1},
			},
		},
		Keys: simulate.Keys{Distinct: 4, Repeated: 2, RepeatedFinished: 1},
	}
	eventually(t, func() bool { return sim.Stats().Total.InFlight == 0 })
	if diff := cmp.Diff(want, sim.Stats()); diff != "" {
		t.Errorf("stats (-want +got):\n%s", diff)
	}
	admin(t, server, http.MethodPost, "reset", "")
	if got := sim.Stats(); got.Total.Started != 0 || got.Keys != (simulate.Keys{}) {
		t.Errorf("after a reset: %+v", got)
	}
}

func TestFullKeySetSaysSo(t *testing.T) {
	t.Parallel()
	sim, server := start(t, simulate.Config{TrackKeys: 2})
	for _, key := range []string{"a", "b", "c", "a", "c"} {
		post(t, server, chatPath, chatBody, "Idempotency-Key", key)
	}
	want := simulate.Keys{Distinct: 2, Repeated: 1, RepeatedFinished: 1, Untracked: 2}
	if diff := cmp.Diff(want, sim.Stats().Keys); diff != "" {
		t.Errorf("keys (-want +got):\n%s", diff)
	}
}

func TestSameCallsGetTheSameAnswersOnEveryRun(t *testing.T) {
	t.Parallel()
	run := func(seed uint64) []string {
		_, server := start(t, simulate.Config{Seed: seed, Instances: map[string]simulate.Behaviour{"default": {
			Faults: map[string]simulate.Fault{"429": {Share: 0.3}, "500": {Share: 0.2}},
		}}})
		var got []string
		for i := range 40 {
			r := post(t, server, claudePath, claudeBody, "Idempotency-Key", strings.Repeat("k", 1+i%10))
			got = append(got, r.header.Get("Request-Id")+" "+r.body)
		}
		return got
	}
	first := run(1)
	if diff := cmp.Diff(first, run(1)); diff != "" {
		t.Errorf("the same seed (-first +second):\n%s", diff)
	}
	if cmp.Equal(first, run(2)) {
		t.Error("another seed gave the same answers")
	}
	kinds := map[string]int{}
	for _, r := range first {
		for _, kind := range []string{"rate_limit_error", "api_error", "end_turn"} {
			if strings.Contains(r, kind) {
				kinds[kind]++
			}
		}
	}
	if len(kinds) != 3 {
		t.Errorf("of 40 calls, a third limited and a fifth failing: %v", kinds)
	}
}

func TestWrongRequestsAreRefusedAsTheVendorDoes(t *testing.T) {
	t.Parallel()
	_, server := start(t, simulate.Config{Instances: map[string]simulate.Behaviour{
		"small": {Context: 20, Models: []string{"gpt-4o-mini", "claude-haiku-4-5"}},
	}})
	long := strings.Repeat("word ", 100)
	for name, c := range map[string]struct {
		path, body string
		headers    []string
		status     int
		want       string
	}{
		"openai json":        {chatPath, `{"model":`, nil, 400, `"type":"invalid_request_error"`},
		"openai no model":    {chatPath, `{"messages":[{"role":"user"}]}`, nil, 400, "you must provide a model"},
		"openai no messages": {chatPath, `{"model":"m"}`, nil, 400, `"param":"messages","code":"missing_required_parameter"`},
		"openai type":        {chatPath, `{"model":5,"messages":[]}`, nil, 400, `"param":"model","code":"invalid_type"`},
		"openai no role":     {chatPath, `{"model":"m","messages":[{}]}`, nil, 400, `"param":"messages","code":"invalid_type"`},
		"openai max":         {chatPath, `{"model":"m","max_tokens":0,"messages":[{"role":"user"}]}`, nil, 400, `integer_below_min_value`},
		"openai n":           {chatPath, `{"model":"m","n":2,"messages":[{"role":"user"}]}`, nil, 400, `unsupported_value`},
		"openai tool":        {chatPath, `{"model":"m","tool_choice":"required","messages":[{"role":"user"}]}`, nil, 400, `tool_choice`},
		"openai model":       {"/small" + chatPath, `{"model":"gpt-9","messages":[{"role":"user","content":"hi"}]}`, nil, 404, `"code":"model_not_found"`},
		"openai context":     {"/small" + chatPath, `{"model":"gpt-4o-mini","messages":[{"role":"user","content":"` + long + `"}]}`, nil, 400, `"code":"context_length_exceeded"`},
		"openai auth":        {chatPath, chatBody, []string{"Authorization", ""}, 401, `"code":"invalid_api_key"`},
		"order":              {chatPath, chatBody, []string{"X-Sim-Fault", "oops"}, 400, "there are 429, quota"},
		"option":             {chatPath, chatBody, []string{"X-Sim-Fault", "cut;before=2"}, 400, "no fault option"},
		"option value":       {chatPath, chatBody, []string{"X-Sim-Fault", "cut;after=x"}, 400, "whole number"},
		"latency":            {chatPath, chatBody, []string{"X-Sim-Latency", "5"}, 400, "such as 250ms"},
		"claude json":        {claudePath, `[]`, nil, 400, `"type":"invalid_request_error"`},
		"claude version":     {claudePath, claudeBody, []string{"Anthropic-Version", ""}, 400, "anthropic-version: header is required"},
		"claude max":         {claudePath, `{"model":"m","messages":[{"role":"user"}]}`, nil, 400, "max_tokens: Field required"},
		"claude messages":    {claudePath, `{"model":"m","max_tokens":1}`, nil, 400, "at least one message"},
		"claude no model":    {claudePath, `{"max_tokens":1,"messages":[{"role":"user"}]}`, nil, 400, "model: Field required"},
		"claude model":       {"/small" + claudePath, `{"model":"m","max_tokens":1,"messages":[{"role":"user"}]}`, nil, 404, `"message":"model: m"`},
		"claude context":     {"/small" + claudePath, `{"model":"claude-haiku-4-5","max_tokens":1,"messages":[{"role":"user","content":"` + long + `"}]}`, nil, 400, "prompt is too long: 1"},
		"claude auth":        {claudePath, claudeBody, []string{"X-Api-Key", "", "Authorization", ""}, 401, `"type":"authentication_error","message":"invalid x-api-key"`},
		"claude order":       {claudePath, strings.Replace(claudeBody, "haiku-4-5", "haiku-4-5+fault=", 1), nil, 200, `"model":"claude-haiku-4-5"`},
	} {
		got := post(t, server, c.path, c.body, c.headers...)
		if got.status != c.status || !strings.Contains(got.body, c.want) || !json.Valid([]byte(got.body)) {
			t.Errorf("%s: %d %s, want %d with %s", name, got.status, got.body, c.status, c.want)
		}
		if got.header.Get("X-Request-Id")+got.header.Get("Request-Id") == "" {
			t.Errorf("%s: no request id", name)
		}
	}
}

func TestTooLargeBodyIsRefused(t *testing.T) {
	t.Parallel()
	sim := simulate.New(simulate.Config{}, zap.NewNop())
	r := httptest.NewRequest(http.MethodPost, claudePath, io.LimitReader(zeros{}, 33<<20))
	r.ContentLength = -1
	r.Header.Set("X-Api-Key", "any")
	w := httptest.NewRecorder()
	sim.ServeHTTP(w, r)
	if w.Code != http.StatusRequestEntityTooLarge || !bytes.Contains(w.Body.Bytes(), []byte("request_too_large")) {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}
