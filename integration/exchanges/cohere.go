package main

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"strings"

	"github.com/sira-ai/sira/handlers/provider"
	"github.com/sira-ai/sira/handlers/provider/cohere"
	"github.com/sira-ai/sira/handlers/provider/openai"
	"github.com/sira-ai/sira/pipeline/catalog"
	"github.com/sira-ai/sira/schemas"
)

// cohereVendor reads Cohere's recordings: of its own API, whose operations are
// named by version and path, and of its copy of OpenAI's, which kind openai
// speaks.
func cohereVendor() vendor {
	return vendor{
		operation: cohereOperation,
		build: func(x *exchange, _ schemas.Operation, client *http.Client) (provider.Provider, error) {
			client = &http.Client{Transport: unwrapped{client.Transport}}
			if compatible(x) {
				c := openai.Defaults
				c.BaseURL, c.APIKey, c.MaxTokensField, c.EndUserField = "http://vendor.test/compatibility/v1", "key", "max_tokens", ""
				return openai.New(c, catalog.Env{HTTP: client})
			}
			c := cohere.Defaults
			c.BaseURL, c.APIKey = "http://vendor.test", "key"
			if strings.HasPrefix(x.Op, "v1.") {
				c.API = "v1"
			}
			return cohere.New(c, catalog.Env{HTTP: client})
		},
		read: readCohere,
		request: func(_ *exchange, req *schemas.Request) {
			if req.Transcribe != nil {
				req.Transcribe.Language = "en"
			}
		},
	}
}

func compatible(x *exchange) bool { return strings.HasPrefix(x.Op, "compatibility.") }

func cohereOperation(x *exchange) schemas.Operation {
	op := strings.TrimPrefix(strings.TrimPrefix(x.Op, "compatibility."), "v1.")
	op = strings.TrimPrefix(op, "v2.")
	switch {
	case op == "chat" || op == "chat.completions" || op == opError:
		return schemas.OpChat
	case op == "generate":
		return schemas.OpComplete
	case op == "embed" && !compatible(x), op == "embeddings" && compatible(x):
		return schemas.OpEmbed
	case op == "rerank":
		return schemas.OpRerank
	case op == "tokenize":
		return schemas.OpCountTokens
	case op == "audio.transcriptions" && !compatible(x):
		return schemas.OpTranscribe
	case (op == "models" || strings.HasPrefix(op, "models.")) && !compatible(x):
		return schemas.OpModels
	}
	return ""
}

// unwrapped takes answers out of the envelope {"type":"json","content":…} that
// one of the recorders put some of them in.
type unwrapped struct{ http.RoundTripper }

// RoundTrip implements [http.RoundTripper].
func (u unwrapped) RoundTrip(req *http.Request) (*http.Response, error) {
	res, err := u.RoundTripper.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	body, err := io.ReadAll(res.Body)
	if err != nil {
		return nil, err
	}
	res.Body = io.NopCloser(bytes.NewReader(opened(body)))
	return res, nil
}

func opened(body []byte) []byte {
	var envelope struct {
		Type    string          `json:"type"`
		Content json.RawMessage `json:"content"`
	}
	if json.Unmarshal(body, &envelope) == nil && envelope.Type == "json" && len(envelope.Content) > 0 {
		return envelope.Content
	}
	return body
}

func readCohere(x *exchange, op schemas.Operation) (reading, error) {
	body := string(opened(x.body()))
	if x.Response.Status >= 300 {
		return refusal(cohereClass(x.Response.Status, body))
	}
	whole := strings.HasPrefix(strings.TrimSpace(body), "{") && !strings.Contains(body, `"event_type"`)
	switch {
	case compatible(x):
		return readCohereCopy(x, op, body)
	case whole && x.Stream: // in spite of what was asked for
	case op == schemas.OpChat && x.Stream && !strings.HasPrefix(x.Op, "v1."):
		return readCohereStream(body)
	case (op == schemas.OpChat || op == schemas.OpComplete) && x.Stream:
		return readCohereLines(body)
	}
	v, err := parse(body)
	if err != nil {
		return unsaid(), err
	}
	r := unsaid()
	r.Input, r.Output = billed(dig(v, "meta"))
	if text(dig(v, "message")) != "" { // an error with the status of a success
		return refusal(cohereTold(text(dig(v, "message"))))
	}
	switch op {
	case schemas.OpChat, schemas.OpComplete:
		if strings.HasPrefix(x.Op, "v1.") {
			return readCohereOld(v, text(dig(v, "finish_reason")))
		}
		return readCohereChat(v)
	case schemas.OpEmbed:
		r.Output, r.Vectors = -1, 0
		if n := number(dig(v, "meta", "billed_units", "image_tokens")); n > 0 {
			r.Input = max(r.Input, 0) + n
		}
		if plain := list(dig(v, "embeddings")); plain != nil {
			r.Vectors = len(plain)
		}
		byType, _ := dig(v, "embeddings").(object)
		for _, vectors := range byType {
			r.Vectors += len(list(vectors))
		}
	case schemas.OpRerank:
		r.Input, r.Output, r.Ranks = -1, -1, len(list(dig(v, "results")))
	case schemas.OpCountTokens:
		r.Input, r.Output = int64(len(list(dig(v, "tokens")))), -1
	case schemas.OpTranscribe:
		words := text(dig(v, "text"))
		r.Transcript = &words
	case schemas.OpModels:
		r.Models = 1
		if all, ok := dig(v, "models").([]any); ok {
			r.Models = len(all)
		}
	}
	return r, nil
}

// billed returns the tokens that a usage or meta object says are billed.
func billed(usage any) (in, out int64) {
	from := "billed_units"
	if dig(usage, from) == nil {
		from = "tokens"
	}
	in, out = number(dig(usage, from, "input_tokens")), number(dig(usage, from, "output_tokens"))
	if in < 0 && out >= 0 {
		in = 0
	}
	return in, out
}

var cohereReasons = map[string]schemas.FinishReason{
	"COMPLETE": schemas.FinishStop, "MAX_TOKENS": schemas.FinishLength, "STOP_SEQUENCE": schemas.FinishStopSequence,
	"TOOL_CALL": schemas.FinishToolCalls, "ERROR_TOXIC": schemas.FinishContentFilter, "ERROR_LIMIT": schemas.FinishContextWindow,
	"USER_CANCEL": schemas.FinishCancelled,
}

// cohereEnd completes r with the reason to finish, or makes it the reading of a
// failure.
func cohereEnd(r reading, reason string) (reading, error) {
	switch reason {
	case "ERROR":
		return refusal(schemas.Internal)
	case "TIMEOUT":
		return refusal(schemas.Timeout)
	}
	f, known := cohereReasons[reason]
	if !known {
		f = schemas.FinishUnknown
	}
	if f == schemas.FinishStop && len(r.Calls) > 0 {
		f = schemas.FinishToolCalls
	}
	for range r.Texts {
		r.Finish = append(r.Finish, f)
	}
	return r, nil
}

func readCohereChat(v any) (reading, error) {
	r := unsaid()
	r.Texts, r.Reasoning, r.Calls = []string{text(dig(v, "message", "content"))}, []string{text(dig(v, "message", "tool_plan"))}, []call{}
	for _, part := range list(dig(v, "message", "content")) {
		r.Texts[0] += text(dig(part, "text"))
		r.Reasoning[0] += text(dig(part, "thinking"))
	}
	for _, c := range list(dig(v, "message", "tool_calls")) {
		r.Calls = append(r.Calls, call{text(dig(c, "function", "name")), text(dig(c, "function", "arguments"))})
	}
	r.Input, r.Output = billed(dig(v, "usage"))
	r.Thought = number(dig(v, "usage", "tokens", "reasoning_tokens"))
	return cohereEnd(r, text(dig(v, "finish_reason")))
}

func readCohereStream(body string) (reading, error) {
	r := unsaid()
	r.Texts, r.Reasoning, r.Calls = []string{""}, []string{""}, []call{}
	for _, e := range events(body) {
		if strings.TrimSpace(e.data) == "[DONE]" {
			break
		}
		v, err := parse(e.data)
		if err != nil {
			return r, err
		}
		m := dig(v, "delta", "message")
		r.Texts[0] += text(dig(m, "content", "text"))
		r.Reasoning[0] += text(dig(m, "content", "thinking")) + text(dig(m, "tool_plan"))
		switch text(dig(v, "type")) {
		case "tool-call-start":
			f := dig(m, "tool_calls", "function")
			r.Calls = append(r.Calls, call{text(dig(f, "name")), text(dig(f, "arguments"))})
		case "tool-call-delta":
			at := int(number(dig(v, "index")))
			if at < 0 || at >= len(r.Calls) {
				at = len(r.Calls) - 1
			}
			r.Calls[at].Arguments += text(dig(m, "tool_calls", "function", "arguments"))
		case "message-end":
			r.Input, r.Output = billed(dig(v, "delta", "usage"))
			r.Thought = number(dig(v, "delta", "usage", "tokens", "reasoning_tokens"))
			if fault := text(dig(v, "delta", "error")); fault != "" && text(dig(v, "delta", "finish_reason")) == "ERROR" {
				return refusal(cohereTold(fault))
			}
			return cohereEnd(r, text(dig(v, "delta", "finish_reason")))
		}
	}
	return refusal(schemas.StreamInterrupted)
}

// readCohereOld reads an answer of version 1: text, or generations.
func readCohereOld(v any, reason string) (reading, error) {
	r := unsaid()
	r.Calls = []call{}
	for _, g := range list(dig(v, "generations")) {
		r.Texts = append(r.Texts, text(dig(g, "text")))
		if reason == "" {
			reason = text(dig(g, "finish_reason"))
		}
	}
	if r.Texts == nil {
		r.Texts = []string{text(dig(v, "text"))}
	}
	for _, c := range list(dig(v, "tool_calls")) {
		arguments, err := json.Marshal(dig(c, "parameters"))
		if err != nil {
			return r, err
		}
		r.Calls = append(r.Calls, call{text(dig(c, "name")), string(arguments)})
	}
	if dig(v, "meta", "billed_units") != nil {
		r.Input, r.Output = billed(dig(v, "meta"))
	}
	return cohereEnd(r, reason)
}

// readCohereLines reads a stream of version 1, whose last line holds the whole
// answer. The pieces must add up to it.
func readCohereLines(body string) (reading, error) {
	var pieces strings.Builder
	for line := range strings.Lines(body) {
		line = strings.TrimSpace(strings.TrimPrefix(line, "data:"))
		if !strings.HasPrefix(line, "{") {
			continue
		}
		v, err := parse(line)
		if err != nil {
			return unsaid(), err
		}
		switch text(dig(v, "event_type")) {
		case "text-generation", "tool-calls-chunk":
			pieces.WriteString(text(dig(v, "text")))
		case "stream-error":
			return refusal(cohereTold(text(dig(v, "err"))))
		case "stream-end":
			r, err := readCohereOld(dig(v, "response"), text(dig(v, "finish_reason")))
			if err == nil && len(r.Texts) == 1 && pieces.Len() > 0 {
				r.Texts[0] = pieces.String()
			}
			return r, err
		}
	}
	return refusal(schemas.StreamInterrupted)
}

// readCohereCopy reads an answer of the copy of OpenAI's API.
func readCohereCopy(x *exchange, op schemas.Operation, body string) (reading, error) {
	r := unsaid()
	if op == schemas.OpEmbed {
		v, err := parse(body)
		r.Vectors = len(list(dig(v, "data")))
		return r, err
	}
	r.Texts = []string{""}
	take := func(v any) {
		for _, c := range list(dig(v, "choices")) {
			r.Texts[0] += text(dig(c, "message", "content")) + text(dig(c, "delta", "content"))
			switch text(dig(c, "finish_reason")) {
			case "stop":
				r.Finish = []schemas.FinishReason{schemas.FinishStop}
			case "length":
				r.Finish = []schemas.FinishReason{schemas.FinishLength}
			case "tool_calls":
				r.Finish = []schemas.FinishReason{schemas.FinishToolCalls}
			}
		}
		if n := number(dig(v, "usage", "prompt_tokens")); n >= 0 {
			r.Input, r.Output = n, number(dig(v, "usage", "completion_tokens"))
		}
	}
	if !x.Stream {
		v, err := parse(body)
		take(v)
		return r, err
	}
	for _, e := range events(body) {
		if strings.TrimSpace(e.data) == "[DONE]" {
			break
		}
		v, err := parse(e.data)
		if err != nil {
			return r, err
		}
		take(v)
	}
	if r.Finish == nil {
		return refusal(schemas.StreamInterrupted)
	}
	return r, nil
}

// cohereTold says what an error means that came with status 200.
func cohereTold(message string) schemas.Code {
	if strings.Contains(strings.ToLower(message), "overloaded") {
		return schemas.Overloaded
	}
	return schemas.Internal
}

// cohereClass says what a refusal means (CANONICAL.md section 7.2).
func cohereClass(status int, body string) schemas.Code {
	v, err := parse(body)
	message := text(dig(v, "message"))
	if err != nil {
		message = body
	}
	message = strings.ToLower(message)
	switch {
	case status == 400 && (text(dig(v, "error_type")) == "TOO_MANY_TOKENS" || strings.Contains(message, "too many tokens")):
		return schemas.ContextLength
	case status == 429 && (strings.Contains(message, "month") || strings.Contains(message, "billing")):
		return schemas.QuotaExhausted
	case status == 503 && strings.Contains(message, "overload"):
		return schemas.Overloaded
	}
	if code, known := map[int]schemas.Code{
		400: schemas.InvalidRequest, 401: schemas.Auth, 402: schemas.QuotaExhausted, 403: schemas.Permission, 404: schemas.NotFound,
		408: schemas.Timeout, 413: schemas.PayloadTooLarge, 422: schemas.InvalidRequest, 429: schemas.RateLimited,
		498: schemas.ContentFiltered, 499: schemas.Cancelled, 501: schemas.Unsupported, 500: schemas.Internal,
		502: schemas.Unavailable, 503: schemas.Unavailable, 504: schemas.Timeout,
	}[status]; known {
		return code
	}
	if status >= 500 {
		return schemas.Internal
	}
	return schemas.InvalidRequest
}
