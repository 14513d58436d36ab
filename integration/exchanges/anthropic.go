package main

import (
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/sira-ai/sira/handlers/provider"
	"github.com/sira-ai/sira/handlers/provider/anthropic"
	"github.com/sira-ai/sira/handlers/provider/openai"
	"github.com/sira-ai/sira/pipeline/catalog"
	"github.com/sira-ai/sira/schemas"
)

func anthropicVendor() vendor {
	return vendor{operation: anthropicOperation, build: anthropicBuild, read: anthropicRead}
}

// anthropicOperation goes by the address, and by the name where there is none.
func anthropicOperation(x *exchange) schemas.Operation {
	if x.Op == opError {
		return schemas.OpChat
	}
	u, err := url.Parse(x.Request.URL)
	if err != nil {
		return ""
	}
	path := strings.TrimRight(u.Path, "/")
	end := path[strings.LastIndexAny(path, "/:")+1:]
	switch {
	case path == "":
		return named(x, map[string]schemas.Operation{
			"messages": schemas.OpChat, "chat": schemas.OpChat, "count_tokens": schemas.OpCountTokens,
			"complete": schemas.OpComplete, "models": schemas.OpModels,
		})
	case strings.Contains(path, "/batches"):
		return ""
	case strings.HasSuffix(path, "/count_tokens"), strings.HasSuffix(path, "/count-tokens:rawPredict"):
		return schemas.OpCountTokens
	case end == "messages", end == "rawPredict", end == "streamRawPredict", strings.HasSuffix(path, "/chat/completions"):
		return schemas.OpChat
	case end == "complete":
		return schemas.OpComplete
	case end == "models":
		return schemas.OpModels
	case strings.Contains(path, "/files"):
		return fileOperation(x.Request.Method, path)
	}
	return ""
}

// anthropicOpenAI reports whether an exchange is of the vendor's OpenAI-compatible
// API, for which Sira has another adapter.
func anthropicOpenAI(x *exchange) bool { return strings.Contains(x.Request.URL, "/chat/completions") }

func anthropicBuild(x *exchange, _ schemas.Operation, client *http.Client) (provider.Provider, error) {
	framed(x)
	env := catalog.Env{HTTP: client}
	if anthropicOpenAI(x) {
		c := openai.Defaults
		c.APIKey = "key"
		return openai.New(c, env)
	}
	c := anthropic.Defaults
	c.APIKey = "key"
	if strings.Contains(x.Request.URL, "aiplatform") {
		c.Project = "project"
	}
	return anthropic.New(c, env)
}

func anthropicRead(x *exchange, op schemas.Operation) (reading, error) {
	if anthropicOpenAI(x) {
		return readOpenAI(x, op)
	}
	body := strings.TrimSpace(string(opened(x.body())))
	if x.Response.Status/100 != 2 {
		return refusal(anthropicClass(complaintOf(x.Response.Status, body)))
	}
	if !strings.HasPrefix(body, "{") && (op == schemas.OpChat || op == schemas.OpComplete) {
		if op == schemas.OpComplete {
			return anthropicCompletions(body)
		}
		return anthropicStream(body)
	}
	v, err := parse(body)
	if err != nil {
		return unsaid(), err
	}
	if text(dig(v, "type")) == "error" || dig(v, "error") != nil {
		return refusal(anthropicClass(complaintOf(200, body)))
	}
	r := unsaid()
	switch op {
	case schemas.OpChat:
		m := message{reading: unsaid()}
		for _, b := range list(dig(v, "content")) {
			m.begin(b)
		}
		m.stop = text(dig(v, "stop_reason"))
		m.count(dig(v, "usage"))
		if text(dig(v, "type")) != "message" {
			return refusal(schemas.MalformedResponse)
		}
		return m.end()
	case schemas.OpComplete:
		r.Texts = []string{text(dig(v, "completion"))}
		return anthropicEnd(r, text(dig(v, "stop_reason")))
	case schemas.OpCountTokens:
		r.Input = number(dig(v, "input_tokens"))
	case schemas.OpModels:
		r.Models = len(list(dig(v, "data"))) + len(list(dig(v, "publisherModels")))
	case schemas.OpFileList:
		r.Files = len(list(dig(v, "data")))
	default:
		r.Files = 1
	}
	return r, nil
}

// message gathers an answer, whole or in events.
type message struct {
	reading                    reading
	text, thought, stop        string
	calls                      []call
	asks                       bool // has a call that is the requester's to answer
	input, output, read, write int64
	thinking                   int64
	beside, besideOut          int64 // used to shorten the conversation; not in the totals
	counted                    bool
	openCall                   string // arguments in a stream
	open                       bool
}

// begin takes in a block, or the beginning of one.
func (m *message) begin(b any) {
	kind := text(dig(b, "type"))
	switch kind {
	case "text":
		m.text += text(dig(b, "text"))
	case "thinking":
		m.thought += text(dig(b, "thinking"))
	}
	if kind != "tool_use" && kind != "server_tool_use" {
		return
	}
	m.asks = m.asks || kind == "tool_use"
	arguments := "{}"
	if in := dig(b, "input"); in != nil {
		raw, _ := json.Marshal(in)
		arguments = string(raw)
	}
	m.calls = append(m.calls, call{text(dig(b, "name")), arguments})
	m.open, m.openCall = true, ""
}

func (m *message) close() {
	if m.open && m.openCall != "" {
		m.calls[len(m.calls)-1].Arguments = m.openCall
	}
	m.open = false
}

func (m *message) count(u any) {
	if u == nil {
		return
	}
	m.counted = true
	for _, n := range []struct {
		to   *int64
		path []any
	}{
		{&m.input, []any{"input_tokens"}},
		{&m.output, []any{"output_tokens"}},
		{&m.read, []any{"cache_read_input_tokens"}},
		{&m.write, []any{"cache_creation_input_tokens"}},
		{&m.thinking, []any{"output_tokens_details", "thinking_tokens"}},
	} {
		if v := number(dig(u, n.path...)); v >= 0 {
			*n.to = v
		}
	}
	if steps := list(dig(u, "iterations")); len(steps) > 0 {
		m.beside, m.besideOut = 0, 0
		for _, s := range steps {
			if text(dig(s, "type")) == "compaction" {
				m.beside += max(number(dig(s, "input_tokens")), 0)
				m.besideOut += max(number(dig(s, "output_tokens")), 0)
			}
		}
	}
}

func (m *message) end() (reading, error) {
	r := m.reading
	r.Texts, r.Reasoning, r.Calls = []string{m.text}, []string{m.thought}, append([]call{}, m.calls...)
	if m.counted {
		r.Input, r.Output = m.input+m.read+m.write+m.beside, m.output+m.besideOut
		r.CacheRead, r.CacheWrite, r.Thought = m.read, m.write, m.thinking
	}
	if m.stop == "end_turn" && m.asks {
		m.stop = "tool_use"
	}
	return anthropicEnd(r, m.stop)
}

// anthropicEnd adds the reason to stop, without which an answer is none.
func anthropicEnd(r reading, stop string) (reading, error) {
	if stop == "" {
		return refusal(schemas.StreamInterrupted)
	}
	reason, known := map[string]schemas.FinishReason{
		"end_turn": schemas.FinishStop, "max_tokens": schemas.FinishLength, "tool_use": schemas.FinishToolCalls,
		"stop_sequence": schemas.FinishStopSequence, "refusal": schemas.FinishRefusal,
		"pause_turn": schemas.FinishPause, "compaction": schemas.FinishPause,
		"model_context_window_exceeded": schemas.FinishContextWindow,
	}[stop]
	if !known {
		reason = schemas.FinishUnknown
	}
	r.Finish = []schemas.FinishReason{reason}
	return r, nil
}

func anthropicStream(body string) (reading, error) {
	m := message{reading: unsaid()}
	for _, e := range events(body) {
		v, err := parse(e.data)
		if err != nil {
			return unsaid(), err
		}
		switch kind := text(dig(v, "type")); {
		case kind == "error" || dig(v, "error") != nil:
			return refusal(anthropicClass(complaintOf(200, e.data)))
		case kind == "message_start":
			m.count(dig(v, "message", "usage"))
		case kind == "content_block_start":
			m.begin(dig(v, "content_block"))
		case kind == "content_block_delta":
			m.text += text(dig(v, "delta", "text"))
			m.thought += text(dig(v, "delta", "thinking"))
			m.openCall += text(dig(v, "delta", "partial_json"))
		case kind == "content_block_stop":
			m.close()
		case kind == "message_delta":
			if s := text(dig(v, "delta", "stop_reason")); s != "" {
				m.stop = s
			}
			m.count(dig(v, "usage"))
		case kind == "message_stop":
			return m.end()
		}
	}
	return refusal(schemas.StreamInterrupted)
}

func anthropicCompletions(body string) (reading, error) {
	r, stop := unsaid(), ""
	var said strings.Builder
	for _, e := range events(body) {
		v, err := parse(e.data)
		if err != nil {
			return unsaid(), err
		}
		if text(dig(v, "type")) == "error" || dig(v, "error") != nil {
			return refusal(anthropicClass(complaintOf(200, e.data)))
		}
		said.WriteString(text(dig(v, "completion")))
		if stop = text(dig(v, "stop_reason")); stop != "" {
			break
		}
	}
	r.Texts = []string{said.String()}
	return anthropicEnd(r, stop)
}

// anthropicClass is what an error means, by CANONICAL.md section 7.2.
func anthropicClass(c complaint) schemas.Code {
	is := func(word string) bool { return slices.Contains(c.words, word) }
	switch {
	case strings.Contains(c.body, "enforced_spend_limit_reached"), is("billing_error"),
		c.says("credit balance is too low", "api usage limits", "monthly spend limit"):
		return schemas.QuotaExhausted
	case c.says("prompt is too long", "exceed context limit", "input is too long", "exceeds the context window"):
		return schemas.ContextLength
	case c.says("content filtering policy"):
		return schemas.ContentFiltered
	case is("overloaded_error"), is("api_error") && c.says("overloaded"), is("UNAVAILABLE"):
		return schemas.Overloaded
	case c.says("organization has been disabled"):
		return schemas.Permission
	}
	for word, code := range map[string]schemas.Code{
		"invalid_request_error": schemas.InvalidRequest, "authentication_error": schemas.Auth, "permission_error": schemas.Permission,
		"not_found_error": schemas.NotFound, "conflict_error": schemas.Conflict, "request_too_large": schemas.PayloadTooLarge,
		"rate_limit_error": schemas.RateLimited, "timeout_error": schemas.Timeout, "RESOURCE_EXHAUSTED": schemas.RateLimited,
	} {
		if is(word) {
			return code
		}
	}
	if c.status == http.StatusOK {
		return schemas.Internal
	}
	return classByStatus(c.status)
}
