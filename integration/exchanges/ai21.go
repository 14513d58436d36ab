package main

import (
	"net/http"
	"strings"

	"github.com/sira-ai/sira/handlers/provider"
	"github.com/sira-ai/sira/handlers/provider/ai21"
	"github.com/sira-ai/sira/pipeline/catalog"
	"github.com/sira-ai/sira/schemas"
)

// ai21Vendor reads AI21's recordings: completions of the older models, whose
// operations are named by model, and chats.
func ai21Vendor() vendor {
	return vendor{
		operation: func(x *exchange) schemas.Operation {
			switch {
			case strings.HasSuffix(x.Op, ".complete") || x.Op == "complete":
				return schemas.OpComplete
			case x.Op == opError || x.Op == "chat" || strings.HasSuffix(x.Op, "chat.completions"):
				return schemas.OpChat
			case x.Op == "models":
				return schemas.OpModels
			}
			return ""
		},
		build: func(_ *exchange, _ schemas.Operation, client *http.Client) (provider.Provider, error) {
			c := ai21.Defaults
			c.BaseURL, c.APIKey = "http://vendor.test/studio/v1", "key"
			return ai21.New(c, catalog.Env{HTTP: client})
		},
		read: readAI21,
	}
}

func readAI21(x *exchange, op schemas.Operation) (reading, error) {
	body := string(x.body())
	if x.Response.Status >= 300 {
		return refusal(ai21Class(x.Response.Status, body))
	}
	if op == schemas.OpChat && strings.HasPrefix(strings.TrimSpace(body), "data:") {
		return readAI21Stream(body)
	}
	v, err := parse(body)
	if err != nil {
		return unsaid(), err
	}
	switch op {
	case schemas.OpChat:
		return readAI21Chat(v)
	case schemas.OpModels:
		r := unsaid()
		r.Models = len(list(dig(v, "data")))
		return r, nil
	}
	r := unsaid()
	for _, c := range list(dig(v, "completions")) {
		r.Texts = append(r.Texts, text(dig(c, "data", "text")))
		r.Finish = append(r.Finish, ai21Finish(c))
		r.Output = max(r.Output, 0) + int64(len(list(dig(c, "data", "tokens"))))
	}
	r.Input = int64(len(list(dig(v, "prompt", "tokens"))))
	if r.Input == 0 { // not told
		r.Input, r.Output = -1, -1
	}
	return r, nil
}

// ai21Finish reads the reason to finish of a completion.
func ai21Finish(c any) schemas.FinishReason {
	switch text(dig(c, "finishReason", "reason")) {
	case "endoftext":
		return schemas.FinishStop
	case "length":
		return schemas.FinishLength
	case "stop":
		if text(dig(c, "finishReason", "sequence")) != "" {
			return schemas.FinishStopSequence
		}
		return schemas.FinishStop
	}
	return schemas.FinishUnknown
}

var ai21Reasons = map[string]schemas.FinishReason{
	"stop": schemas.FinishStop, "length": schemas.FinishLength, "tool_calls": schemas.FinishToolCalls,
}

func readAI21Chat(v any) (reading, error) {
	r := unsaid()
	r.Calls = []call{}
	for _, c := range list(dig(v, "choices")) {
		r.Texts = append(r.Texts, text(dig(c, "message", "content")))
		calls := list(dig(c, "message", "tool_calls"))
		for _, tc := range calls {
			r.Calls = append(r.Calls, call{text(dig(tc, "function", "name")), text(dig(tc, "function", "arguments"))})
		}
		f, known := ai21Reasons[text(dig(c, "finish_reason"))]
		switch {
		case !known:
			f = schemas.FinishUnknown
		case f == schemas.FinishStop && len(calls) > 0:
			f = schemas.FinishToolCalls
		}
		r.Finish = append(r.Finish, f)
	}
	r.Input, r.Output = number(dig(v, "usage", "prompt_tokens")), number(dig(v, "usage", "completion_tokens"))
	return r, nil
}

func readAI21Stream(body string) (reading, error) {
	r := unsaid()
	done := false
	for _, e := range events(body) {
		if strings.TrimSpace(e.data) == "[DONE]" {
			done = true
			break
		}
		v, err := parse(e.data)
		if err != nil {
			return r, err
		}
		for _, c := range list(dig(v, "choices")) {
			at := int(max(number(dig(c, "index")), 0))
			for len(r.Texts) <= at {
				r.Texts, r.Finish = append(r.Texts, ""), append(r.Finish, "")
			}
			r.Texts[at] += text(dig(c, "delta", "content"))
			if f := text(dig(c, "finish_reason")); f != "" {
				if r.Finish[at] = ai21Reasons[f]; r.Finish[at] == "" {
					r.Finish[at] = schemas.FinishUnknown
				}
			}
		}
		if n := number(dig(v, "usage", "prompt_tokens")); n >= 0 {
			r.Input, r.Output = n, number(dig(v, "usage", "completion_tokens"))
		}
	}
	for _, f := range r.Finish {
		done = done && f != ""
	}
	if !done || len(r.Finish) == 0 {
		return refusal(schemas.StreamInterrupted)
	}
	return r, nil
}

// ai21Class says what a refusal means (CANONICAL.md section 7.2).
func ai21Class(status int, body string) schemas.Code {
	said := strings.ToLower(body)
	switch {
	case status == 400 && strings.Contains(said, "missing authentication"):
		return schemas.Auth
	case status == 403 && strings.Contains(said, "trial"):
		return schemas.QuotaExhausted
	case (status == 400 || status == 422) && (strings.Contains(said, "too long") || strings.Contains(said, "context")):
		return schemas.ContextLength
	case status == 503 && strings.Contains(said, "overload"):
		return schemas.Overloaded
	}
	if code, known := map[int]schemas.Code{
		400: schemas.InvalidRequest, 401: schemas.Auth, 402: schemas.QuotaExhausted, 403: schemas.Permission, 404: schemas.NotFound,
		405: schemas.InvalidRequest, 408: schemas.Timeout, 413: schemas.PayloadTooLarge, 422: schemas.InvalidRequest, 424: schemas.Internal,
		429: schemas.RateLimited, 502: schemas.Unavailable, 503: schemas.Unavailable, 504: schemas.Timeout, 529: schemas.Overloaded,
	}[status]; known {
		return code
	}
	if status >= 500 {
		return schemas.Internal
	}
	return schemas.InvalidRequest
}
