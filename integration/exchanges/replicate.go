package main

import (
	"encoding/json"
	"net/http"
	"net/url"
	"path"
	"slices"
	"strings"

	"github.com/sira-ai/sira/handlers/provider"
	"github.com/sira-ai/sira/handlers/provider/replicate"
	"github.com/sira-ai/sira/pipeline/catalog"
	"github.com/sira-ai/sira/schemas"
)

func replicateVendor() vendor {
	return vendor{
		operation: replicateOperation,
		build: func(_ *exchange, _ schemas.Operation, client *http.Client) (provider.Provider, error) {
			return catalog.New("provider", replicate.Entry).Build("replicate", nil, catalog.Env{HTTP: client})
		},
		read: replicateReading,
	}
}

// replicateOperation decides by what was made, which the recordings' names don't
// say.
func replicateOperation(x *exchange) schemas.Operation {
	where := x.Request.URL
	if u, err := url.Parse(where); err == nil {
		where = u.Path
	}
	where = strings.Trim(strings.TrimPrefix(where, "/v1"), "/")
	steps := strings.Split(where, "/")
	last := steps[len(steps)-1]
	switch {
	case strings.HasPrefix(x.Op, "trainings"), strings.Contains(where, "/versions"), x.Op == "models.versions":
		return ""
	case steps[0] == "models" && x.Request.Method == http.MethodGet && (len(steps) == 1 || len(steps) == 3):
		return schemas.OpModels
	case strings.HasPrefix(x.Op, "files"):
		return replicateFile(x, steps)
	case last == "predictions" && x.Request.Method == http.MethodGet: // a list of them
		return ""
	case strings.HasPrefix(x.Op, "predictions"), last == "predictions", x.Op == opError, strings.Contains(where, "streams/"):
		return replicateMade(x)
	}
	return ""
}

func replicateFile(x *exchange, steps []string) schemas.Operation {
	switch {
	case steps[len(steps)-1] == "download":
		return ""
	case x.Request.Method == http.MethodPost:
		return schemas.OpFileUpload
	case x.Request.Method == http.MethodDelete:
		return schemas.OpFileDelete
	case len(steps) == 1:
		return schemas.OpFileList
	}
	return schemas.OpFileGet
}

// replicateMade tells an operation from a prediction's output.
func replicateMade(x *exchange) schemas.Operation {
	var body any
	if json.Unmarshal([]byte(x.Response.Body), &body) != nil {
		return schemas.OpChat
	}
	made := dig(body, "output")
	if l := list(made); len(l) > 0 {
		made = l[0]
	}
	address := text(made)
	if !strings.HasPrefix(address, "https://") && !strings.HasPrefix(address, "data:") || strings.ContainsAny(address, " \n") {
		if _, isObject := made.(object); isObject && dig(made, "segments") != nil {
			return schemas.OpTranscribe
		}
		return schemas.OpChat
	}
	switch path.Ext(address) {
	case ".mp4", ".webm", ".mov":
		return schemas.OpVideo
	case ".mp3", ".wav", ".ogg", ".flac":
		return schemas.OpSpeech
	}
	return schemas.OpImage
}

// replicateTold are words in the text of an error, which is all there is. The
// first that is found counts.
var replicateTold = []struct {
	code  schemas.Code
	words []string
}{
	{schemas.ContentFiltered, []string{
		"nsfw", "flagged", "(e005)", "sensitive content", "content policy", "moderation", "safety filter", "safety checker", "safety system",
		"copyright restrictions",
	}},
	{schemas.Internal, []string{"out of memory"}},
	{schemas.ContextLength, []string{
		"context length", "context window", "prompt is too long", "prompt length", "input is too long", "maximum number of tokens",
	}},
	{schemas.QuotaExhausted, []string{"insufficient credit", "spend limit"}},
	{schemas.RateLimited, []string{"throttled", "rate limit"}},
	{schemas.Overloaded, []string{"high demand", "(e003)", "overloaded", "at capacity"}},
	{schemas.Unavailable, []string{"temporarily unavailable", "(e004)"}},
	{schemas.Timeout, []string{"timed out", "timeout"}},
	{schemas.InvalidRequest, []string{"input validation failed", "invalid input", "(e006)"}},
}

// replicateFault returns what a text means, or fallback.
func replicateFault(message string, fallback schemas.Code) schemas.Code {
	message = strings.ToLower(message)
	for _, t := range replicateTold {
		if slices.ContainsFunc(t.words, func(w string) bool { return strings.Contains(message, w) }) {
			return t.code
		}
	}
	return fallback
}

// replicateRefusal is what an error means, by its status and then by its words.
func replicateRefusal(status int, body string) schemas.Code {
	code, known := replicateStatus[status]
	switch {
	case !known && status < 500:
		code = schemas.InvalidRequest
	case !known:
		code = schemas.Internal
	}
	switch told := replicateFault(body, code); {
	case status == 500 || status == 502 || status == 503:
		return told
	case code == schemas.InvalidRequest &&
		slices.Contains([]schemas.Code{schemas.ContentFiltered, schemas.ContextLength, schemas.QuotaExhausted}, told):
		return told
	}
	return code
}

// replicateStatus is what a status means (CANONICAL.md section 7.2).
var replicateStatus = map[int]schemas.Code{
	400: schemas.InvalidRequest, 422: schemas.InvalidRequest, 401: schemas.Auth, 402: schemas.QuotaExhausted,
	403: schemas.Permission, 404: schemas.NotFound, 405: schemas.InvalidRequest, 409: schemas.Conflict, 410: schemas.NotFound,
	413: schemas.PayloadTooLarge, 429: schemas.RateLimited, 500: schemas.Internal,
	502: schemas.Unavailable, 503: schemas.Unavailable, 504: schemas.Timeout,
}

func replicateReading(x *exchange, op schemas.Operation) (reading, error) {
	if s := x.Response.Status; s >= 300 {
		return refusal(replicateRefusal(s, x.Response.Body))
	}
	r := unsaid()
	if op == schemas.OpFileDelete {
		r.Files = 1
		return r, nil
	}
	if strings.Contains(x.Response.Body, "event: ") {
		return replicateStream(x)
	}
	body, err := parse(x.Response.Body)
	if err != nil {
		return r, err
	}
	found := 1
	if l, is := dig(body, "results").([]any); is {
		found = len(l)
	}
	switch op {
	case schemas.OpModels:
		r.Models = found
		return r, nil
	case schemas.OpFileUpload, schemas.OpFileGet, schemas.OpFileList:
		r.Files = found
		return r, nil
	}
	return replicatePrediction(body, op)
}

func replicatePrediction(body any, op schemas.Operation) (reading, error) {
	r := unsaid()
	switch text(dig(body, "status")) {
	case "starting", "queued":
		r.Job = schemas.JobQueued
		return r, nil
	case "processing", "running":
		r.Job = schemas.JobRunning
		return r, nil
	case "failed":
		return refusal(replicateFault(text(dig(body, "error")), schemas.Internal))
	case "canceled", "cancelled":
		return refusal(schemas.Cancelled)
	case "aborted":
		return refusal(schemas.Timeout)
	case "succeeded":
	default:
		return r, errUnreadable
	}
	made := dig(body, "output")
	if made == nil {
		if dig(body, "data_removed") == true {
			return refusal(schemas.Expired)
		}
		return refusal(schemas.MalformedResponse)
	}
	if n := number(dig(body, "metrics", "input_token_count")); n >= 0 {
		r.Input = n
	}
	if n := number(dig(body, "metrics", "output_token_count")); n >= 0 {
		r.Output = n
	}
	switch op {
	case schemas.OpChat:
		if said, plain := replicateText(made); plain {
			r.Texts = []string{said}
		}
		r.Finish = []schemas.FinishReason{schemas.FinishStop}
	case schemas.OpTranscribe:
		if said, is := dig(made, "text").(string); is {
			r.Transcript = &said
		}
	default:
		r.Media = max(1, len(list(made)))
	}
	return r, nil
}

// replicateText joins the pieces of a text; plain is false for what is none.
func replicateText(made any) (said string, plain bool) {
	if s, is := made.(string); is {
		return s, true
	}
	pieces, is := made.([]any)
	var b strings.Builder
	for _, p := range pieces {
		s, isText := p.(string)
		is = is && isText
		b.WriteString(s)
	}
	return b.String(), is
}

func replicateStream(x *exchange) (reading, error) {
	r := unsaid()
	var said strings.Builder
	for _, e := range events(x.Response.Body) {
		switch e.name {
		case "output":
			said.WriteString(e.data)
		case "error":
			var body any
			if json.Unmarshal([]byte(e.data), &body) == nil && text(dig(body, "detail")) != "" {
				return refusal(replicateFault(text(dig(body, "detail")), schemas.Internal))
			}
			return refusal(replicateFault(e.data, schemas.Internal))
		case "done":
			switch {
			case strings.Contains(e.data, "cancel"):
				return refusal(schemas.Cancelled)
			case strings.Contains(e.data, "error"):
				return refusal(schemas.Internal)
			}
			r.Texts, r.Finish = []string{said.String()}, []schemas.FinishReason{schemas.FinishStop}
			return r, nil
		}
	}
	return refusal(schemas.StreamInterrupted)
}
