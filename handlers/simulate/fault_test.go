package simulate_test

import (
	"bufio"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sira-ai/sira/handlers/simulate"
	"github.com/sira-ai/sira/pipeline/catalog"
)

type secret = catalog.Secret

func eventually(t *testing.T, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(5 * time.Second); !ok(); {
		if time.Now().After(deadline) {
			t.Fatal("did not come about in 5s")
		}
		select {
		case <-t.Context().Done():
		case <-time.After(time.Millisecond):
		}
	}
}

// vendors are the calls that every fault is tried on.
var vendors = []struct {
	name, path, whole, stream, terminator, word string
}{
	{"openai", chatPath, chatBody, chatStream, "data: [DONE]", `"content":"`},
	{"anthropic", claudePath, claudeBody, claudeStream, "event: message_stop", `"text_delta"`},
}

func TestErrorStatusFaults(t *testing.T) {
	t.Parallel()
	_, server := start(t, simulate.Config{})
	for fault, want := range map[string]struct {
		status            int
		openai, anthropic string
	}{
		"429":                 {429, `"code":"rate_limit_exceeded"`, `"type":"rate_limit_error"`},
		"429;retry-after=3":   {429, `"type":"requests"`, `"type":"rate_limit_error"`},
		"quota":               {429, `"code":"insufficient_quota"`, `"error_code":"enforced_spend_limit_reached"`},
		"500":                 {500, `"type":"server_error"`, `"type":"api_error"`},
		"503;retry-after=3":   {503, `"code":"server_is_overloaded"`, `"type":"api_error"`},
		"529":                 {529, `"code":"server_is_overloaded"`, `"type":"overloaded_error"`},
		"auth":                {401, `"code":"invalid_api_key"`, `"type":"authentication_error"`},
		"context":             {400, `"code":"context_length_exceeded"`, `prompt is too long: `},
		"policy":              {400, `"code":"content_policy_violation"`, `content filtering policy`},
		"stream-error;after=": {400, `whole number`, `whole number`},
	} {
		for _, v := range vendors {
			for _, body := range []string{v.whole, v.stream} {
				got := post(t, server, v.path, body, "X-Sim-Fault", fault)
				text := want.openai
				if v.name == "anthropic" {
					text = want.anthropic
				}
				if got.status != want.status || !strings.Contains(got.body, text) || !json.Valid([]byte(got.body)) {
					t.Errorf("%s %s: %d %s, want %d with %s", v.name, fault, got.status, got.body, want.status, text)
				}
				wantAfter := ""
				if strings.Contains(fault, "retry-after") {
					wantAfter = "3"
				}
				if after := got.header.Get("Retry-After"); after != wantAfter {
					t.Errorf("%s %s: Retry-After %q, want %q", v.name, fault, after, wantAfter)
				}
			}
		}
	}
}

func TestFaultBehindTheModelsName(t *testing.T) {
	t.Parallel()
	_, server := start(t, simulate.Config{Instances: map[string]simulate.Behaviour{"default": {Models: []string{"gpt-4o-mini"}}}})
	body := strings.Replace(chatBody, "gpt-4o-mini", "gpt-4o-mini+fault=429;retry-after=3;times=1", 1)
	if got := post(t, server, chatPath, body); got.status != 429 || got.header.Get("Retry-After") != "3" {
		t.Errorf("first: %d %s", got.status, got.body)
	}
	if got := post(t, server, chatPath, body); got.status != 200 || !strings.Contains(got.body, `"model":"gpt-4o-mini",`) {
		t.Errorf("second: %d %s", got.status, got.body)
	}
}

func TestFaultsOfWholeAnswers(t *testing.T) {
	t.Parallel()
	_, server := start(t, simulate.Config{Instances: map[string]simulate.Behaviour{"default": {MaxSilence: simulate.Duration(20 * time.Millisecond)}}})
	for _, v := range vendors {
		for fault, holds := range map[string]func(r reply) bool{
			"reset":             func(r reply) bool { return errors.Is(r.err, syscall.ECONNRESET) },
			"silence":           func(r reply) bool { return r.status == 0 && errors.Is(r.err, io.EOF) },
			"cut":               func(r reply) bool { return r.status == 200 && errors.Is(r.err, io.ErrUnexpectedEOF) && r.body != "" },
			"stall":             func(r reply) bool { return r.status == 200 && errors.Is(r.err, io.ErrUnexpectedEOF) && r.body != "" },
			"malformed":         func(r reply) bool { return r.status == 200 && r.err == nil && !json.Valid([]byte(r.body)) },
			"no-end":            func(r reply) bool { return r.status == 200 && r.err == nil && !json.Valid([]byte(r.body)) },
			"stream-error":      func(r reply) bool { return r.status == 500 && r.err == nil && json.Valid([]byte(r.body)) },
			"slow;latency=10ms": func(r reply) bool { return r.status == 200 && r.err == nil && json.Valid([]byte(r.body)) },
			"filter": func(r reply) bool {
				return r.status == 200 && (strings.Contains(r.body, `"finish_reason":"content_filter"`) || strings.Contains(r.body, `"stop_reason":"refusal"`))
			},
		} {
			if got := post(t, server, v.path, v.whole, "X-Sim-Fault", fault); !holds(got) {
				t.Errorf("%s %s: %+v", v.name, fault, got)
			}
		}
	}
}

func TestFaultsOfStreams(t *testing.T) {
	t.Parallel()
	_, server := start(t, simulate.Config{Instances: map[string]simulate.Behaviour{"default": {
		MaxSilence: simulate.Duration(20 * time.Millisecond), Tokens: simulate.Tokens{Min: 8, Max: 8}, TokensPerSecond: 1000,
	}}})
	for _, v := range vendors {
		// The opening of OpenAI's stream holds an empty content.
		opening := 0
		if v.name == "openai" {
			opening = 1
		}
		for _, c := range []struct {
			fault           string
			words           int
			ends, cut, json bool
			has             string
		}{
			{fault: "slow;latency=10ms", words: 8, ends: true, json: true},
			{fault: "cut;after=3", words: 3, cut: true, json: true},
			{fault: "cut;after=0", words: 0, cut: true, json: true},
			{fault: "cut;after=99", words: 8, cut: true, json: true},
			{fault: "stall", words: 2, cut: true, json: true},
			{fault: "malformed", words: 8, ends: true},
			{fault: "no-end", words: 8, json: true},
			{fault: "filter;after=4", words: 4, ends: true, json: true},
			{fault: "stream-error;after=5", words: 5, json: true, has: `"error":{`},
		} {
			got := post(t, server, v.path, v.stream, "X-Sim-Fault", c.fault)
			if words := strings.Count(got.body, v.word) - opening; got.status != 200 || words != c.words {
				t.Errorf("%s %s: status %d with %d words, want %d:\n%s", v.name, c.fault, got.status, words, c.words, got.body)
			}
			if ends := strings.Contains(got.body, v.terminator); ends != c.ends {
				t.Errorf("%s %s: ends properly: %t", v.name, c.fault, ends)
			}
			if cut := errors.Is(got.err, io.ErrUnexpectedEOF); cut != c.cut {
				t.Errorf("%s %s: error %v", v.name, c.fault, got.err)
			}
			if whole := eventsAreJSON(got.body); whole != c.json {
				t.Errorf("%s %s: all events are JSON: %t", v.name, c.fault, whole)
			}
			if !strings.Contains(got.body, c.has) {
				t.Errorf("%s %s: no %s in:\n%s", v.name, c.fault, c.has, got.body)
			}
		}
		for _, fault := range []string{"reset", "silence"} {
			if got := post(t, server, v.path, v.stream, "X-Sim-Fault", fault); got.status != 0 || got.err == nil {
				t.Errorf("%s %s: %+v", v.name, fault, got)
			}
		}
	}
}

func eventsAreJSON(body string) bool {
	for line := range strings.Lines(body) {
		data, ok := strings.CutPrefix(strings.TrimSpace(line), "data: ")
		if ok && data != "[DONE]" && !json.Valid([]byte(data)) {
			return false
		}
	}
	return true
}

func TestCallerWhoLeavesEndsASilentCall(t *testing.T) {
	t.Parallel()
	sim, server := start(t, simulate.Config{})
	for _, fault := range []string{"silence", "stall"} {
		sim.Reset()
		client := &http.Client{Timeout: 50 * time.Millisecond, Transport: server.Client().Transport}
		resp, err := client.Do(request(t, server.URL+chatPath, chatStream, "X-Sim-Fault", fault))
		if err == nil {
			_, err = io.Copy(io.Discard, resp.Body)
			_ = resp.Body.Close()
		}
		if !os.IsTimeout(err) {
			t.Errorf("%s: %v, want a timeout", fault, err)
		}
		eventually(t, func() bool { return sim.Stats().Total.CutOff == 1 && sim.Stats().Total.InFlight == 0 })
	}
}

func TestSlowStreamOpensInTime(t *testing.T) {
	t.Parallel()
	_, server := start(t, simulate.Config{})
	resp, err := server.Client().Do(request(t, server.URL+chatPath, chatStream, "X-Sim-Fault", "slow;latency=1h"))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	line, err := bufio.NewReader(resp.Body).ReadString('\n')
	if err != nil || !strings.Contains(line, `"role":"assistant"`) {
		t.Errorf("the opening: %q, %v", line, err)
	}
}

func TestModelsAreListed(t *testing.T) {
	t.Parallel()
	_, server := start(t, simulate.Config{Instances: map[string]simulate.Behaviour{
		"default": {Models: []string{"m1", "m2"}}, "down": {Down: true},
	}})
	for path, want := range map[string]string{
		"/openai/v1/models":          `{"object":"list","data":[{"id":"m1","object":"model"`,
		"/openai/v1/models/m2":       `{"id":"m2"`,
		"/openai/v1/models/m3":       `"code":"model_not_found"`,
		"/anthropic/v1/models":       `"has_more":false,"first_id":"m1","last_id":"m2"`,
		"/anthropic/v1/models/m1":    `"type":"model","id":"m1"`,
		"/anthropic/v1/models/m3":    `"type":"not_found_error"`,
		"/down/openai/v1/models":     `"code":"server_is_overloaded"`,
		"/anthropic/v1/messages":     "Method Not Allowed",
		"/openai/v1/models/org/name": "org/name",
	} {
		r := httptest.NewRequest(http.MethodGet, path, nil)
		r.Header.Set("Authorization", "Bearer any")
		w := httptest.NewRecorder()
		server.Config.Handler.ServeHTTP(w, r)
		if !strings.Contains(w.Body.String(), want) || !json.Valid(w.Body.Bytes()) {
			t.Errorf("%s: %s, want %s", path, w.Body, want)
		}
	}
	w := httptest.NewRecorder()
	server.Config.Handler.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/openai/v1/models", nil))
	if w.Code != http.StatusUnauthorized {
		t.Errorf("without a key: %d", w.Code)
	}
}
