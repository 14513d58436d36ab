package main

import (
	"net/http"
	"strings"

	"github.com/sira-ai/sira/handlers/provider"
	"github.com/sira-ai/sira/handlers/provider/together"
	"github.com/sira-ai/sira/pipeline/catalog"
	"github.com/sira-ai/sira/schemas"
)

// togetherVendor reads Together's recordings: OpenAI's forms, with reasoning
// apart or between <think> and </think>.
func togetherVendor() vendor {
	return vendor{
		operation: togetherOperation,
		build: func(_ *exchange, _ schemas.Operation, client *http.Client) (provider.Provider, error) {
			c := together.Defaults
			c.BaseURL, c.APIKey = "http://vendor.test/v1", "key"
			return together.New(c, catalog.Env{HTTP: client})
		},
		read: readTogether,
		request: func(x *exchange, req *schemas.Request) {
			if req.Transcribe != nil && strings.Contains(x.Op, "translat") {
				req.Transcribe.Translate = true
			}
		},
	}
}

func togetherOperation(x *exchange) schemas.Operation {
	switch x.Op {
	case "chat", "chat.completions", opError:
		return schemas.OpChat
	case "completions":
		return schemas.OpComplete
	case "embeddings", "embed":
		return schemas.OpEmbed
	case "rerank":
		return schemas.OpRerank
	case "images.generate", "images.generations", "images":
		return schemas.OpImage
	case "audio.speech":
		return schemas.OpSpeech
	case "audio.transcriptions", "audio.translations", "audio.transcribe", "audio.translate":
		return schemas.OpTranscribe
	case "videos", "videos.create", "videos.get":
		return schemas.OpVideo
	case "models", "models.list":
		return schemas.OpModels
	case "files", "files.list":
		switch {
		case x.Request.Method == http.MethodPost:
			return schemas.OpFileUpload
		case x.Request.Method == http.MethodDelete:
			return schemas.OpFileDelete
		case strings.HasSuffix(strings.TrimRight(strings.Split(x.Request.URL, "?")[0], "/"), "/files"):
			return schemas.OpFileList
		}
		return schemas.OpFileGet
	case "files.upload":
		return schemas.OpFileUpload
	}
	return ""
}

func readTogether(x *exchange, op schemas.Operation) (reading, error) {
	body := string(x.body())
	if x.Response.Status >= 300 {
		return refusal(togetherClass(x.Response.Status, body))
	}
	r := unsaid()
	switch {
	case op == schemas.OpSpeech:
		r.Media = 1
		return r, nil
	case (op == schemas.OpChat || op == schemas.OpComplete) && strings.Contains(body, "data:") && !strings.HasPrefix(strings.TrimSpace(body), "{"):
		return readTogetherStream(body)
	}
	v, err := parse(body)
	if err != nil {
		return r, err
	}
	switch op {
	case schemas.OpChat, schemas.OpComplete:
		if fault := dig(v, "error"); fault != nil {
			return refusal(togetherTold(fault))
		}
		var t togetherAnswer
		t.take(v, "message")
		return t.reading()
	case schemas.OpEmbed:
		r.Vectors = len(list(dig(v, "data")))
		r.Input = number(dig(v, "usage", "prompt_tokens"))
	case schemas.OpRerank:
		r.Ranks = len(list(dig(v, "results")))
		r.Input = number(dig(v, "usage", "prompt_tokens"))
	case schemas.OpImage:
		r.Media = len(list(dig(v, "data")))
	case schemas.OpTranscribe:
		words := text(dig(v, "text"))
		r.Transcript = &words
	case schemas.OpVideo:
		switch text(dig(v, "status")) {
		case "failed":
			return refusal(schemas.Internal)
		case "completed":
			r.Job, r.Media = schemas.JobSucceeded, 1
		case "queued":
			r.Job = schemas.JobQueued
		default:
			r.Job = schemas.JobRunning
		}
	case schemas.OpModels:
		r.Models = max(len(list(v)), len(list(dig(v, "data"))))
	case schemas.OpFileList:
		r.Files = len(list(dig(v, "data")))
	default:
		r.Files = 1
	}
	return r, nil
}

func readTogetherStream(body string) (reading, error) {
	var t togetherAnswer
	done := false
	for _, e := range events(body) {
		if strings.TrimSpace(e.data) == "[DONE]" {
			done = true
			break
		}
		v, err := parse(e.data)
		if err != nil {
			return unsaid(), err
		}
		if fault := dig(v, "error"); fault != nil {
			return refusal(togetherTold(fault))
		}
		t.take(v, "delta")
	}
	for _, c := range t.choices {
		done = done && c.finish != ""
	}
	if !done || len(t.choices) == 0 {
		return refusal(schemas.StreamInterrupted)
	}
	return t.reading()
}

// togetherAnswer adds up an answer and its pieces.
type togetherAnswer struct {
	choices []*togetherChoice
	usage   any
}

type togetherChoice struct {
	text, thought, finish string
	calls                 []call
	indices               []int64 // of the calls, as the vendor counts
	ids                   []string
}

func (t *togetherAnswer) take(v any, key string) {
	for _, c := range list(dig(v, "choices")) {
		at := int(max(number(dig(c, "index")), 0))
		for len(t.choices) <= at {
			t.choices = append(t.choices, new(togetherChoice))
		}
		o := t.choices[at]
		m := dig(c, key)
		if m != nil && dig(m, "content") != nil {
			o.text += text(dig(m, "content"))
		} else {
			o.text += text(dig(c, "text"))
		}
		if thought := text(dig(m, "reasoning")); thought != "" {
			o.thought += thought
		} else {
			o.thought += text(dig(m, "reasoning_content"))
		}
		if o.finish == "" { // some servers say it twice
			o.finish = text(dig(c, "finish_reason"))
		}
		for _, tc := range list(dig(m, "tool_calls")) {
			o.call(tc, key == "message")
		}
	}
	if u := dig(v, "usage"); u != nil {
		t.usage = u
	}
}

// call takes in a tool call or a piece of one, which has the index of the first.
func (o *togetherChoice) call(tc any, whole bool) {
	name, arguments := text(dig(tc, "function", "name")), text(dig(tc, "function", "arguments"))
	index, id := number(dig(tc, "index")), text(dig(tc, "id"))
	at := len(o.calls)
	for i := range o.calls {
		if !whole && o.indices[i] == index && (id == "" || id == o.ids[i] || name == "") {
			at = i
		}
	}
	if at == len(o.calls) {
		o.calls, o.indices, o.ids = append(o.calls, call{Name: name}), append(o.indices, index), append(o.ids, id)
	}
	o.calls[at].Arguments += arguments
}

func (t *togetherAnswer) reading() (reading, error) {
	r := unsaid()
	r.Calls = []call{}
	for _, c := range t.choices {
		rest, found := strings.CutPrefix(strings.TrimLeft(c.text, " \t\r\n"), "<think>")
		if found && c.thought == "" {
			c.thought, c.text, _ = strings.Cut(rest, "</think>")
		}
		r.Texts, r.Reasoning = append(r.Texts, c.text), append(r.Reasoning, c.thought)
		r.Calls = append(r.Calls, c.calls...)
		f := schemas.FinishUnknown
		switch c.finish {
		case "stop", "eos":
			f = schemas.FinishStop
			if len(c.calls) > 0 {
				f = schemas.FinishToolCalls
			}
		case "length":
			f = schemas.FinishLength
		case "tool_calls", "function_call":
			f = schemas.FinishToolCalls
		case "content_filter":
			f = schemas.FinishContentFilter
		case "error":
			return refusal(schemas.Internal)
		}
		r.Finish = append(r.Finish, f)
	}
	r.Input, r.Output = number(dig(t.usage, "prompt_tokens")), number(dig(t.usage, "completion_tokens"))
	r.CacheRead = max(number(dig(t.usage, "cached_tokens")), number(dig(t.usage, "prompt_tokens_details", "cached_tokens")))
	r.Thought = max(number(dig(t.usage, "reasoning_tokens")), number(dig(t.usage, "completion_tokens_details", "reasoning_tokens")))
	return r, nil
}

// togetherTold says what an error means that came with status 200.
func togetherTold(fault any) schemas.Code {
	message := strings.ToLower(text(fault) + text(dig(fault, "message")))
	typ, code := text(dig(fault, "type")), number(dig(fault, "code"))
	switch {
	case code >= 400:
		return togetherClass(int(code), "")
	case strings.Contains(message, "overloaded"), typ == "overloaded_error":
		return schemas.Overloaded
	case strings.Contains(message, "maximum context length"):
		return schemas.ContextLength
	case typ == "invalid_request_error":
		return schemas.InvalidRequest
	case strings.HasPrefix(typ, "rate_limit"):
		return schemas.RateLimited
	case strings.HasPrefix(typ, "service_unavailable"):
		return schemas.Unavailable
	}
	return schemas.Internal
}

// togetherClass says what a refusal means (CANONICAL.md section 7.2).
func togetherClass(status int, body string) schemas.Code {
	v, err := parse(body)
	message := strings.ToLower(text(dig(v, "error", "message")))
	typ, code := text(dig(v, "error", "type")), text(dig(v, "error", "code"))
	told := err == nil && typ+code != ""
	denied := strings.Contains(message, "permission") || strings.Contains(message, "access") || strings.Contains(message, "not allowed")
	long := strings.Contains(message, "maximum context length") || strings.Contains(message, "context window")
	switch {
	case typ == "credit_limit":
		return schemas.QuotaExhausted
	case code == "model_not_available":
		return schemas.NotFound
	case status == 403 && told && denied:
		return schemas.Permission
	case status == 403 && told, status == 400 && long, status == 422 && long:
		return schemas.ContextLength
	case status == 503 && told:
		return schemas.Overloaded
	}
	if code, known := map[int]schemas.Code{
		400: schemas.InvalidRequest, 401: schemas.Auth, 402: schemas.QuotaExhausted, 403: schemas.Permission, 404: schemas.NotFound,
		408: schemas.Timeout, 409: schemas.Conflict, 413: schemas.PayloadTooLarge, 429: schemas.RateLimited, 500: schemas.Internal,
		502: schemas.Unavailable, 503: schemas.Unavailable, 504: schemas.Timeout, 520: schemas.Unavailable, 522: schemas.Unavailable,
		524: schemas.Timeout, 529: schemas.Overloaded,
	}[status]; known {
		return code
	}
	if status >= 500 {
		return schemas.Internal
	}
	return schemas.InvalidRequest
}
