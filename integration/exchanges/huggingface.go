package main

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"

	"github.com/sira-ai/sira/handlers/provider"
	"github.com/sira-ai/sira/handlers/provider/huggingface"
	"github.com/sira-ai/sira/pipeline/catalog"
	"github.com/sira-ai/sira/schemas"
)

func huggingfaceVendor() vendor {
	return vendor{
		operation: hfOperation,
		build: func(x *exchange, op schemas.Operation, client *http.Client) (provider.Provider, error) {
			settings := catalog.Settings(`{}`)
			if op == schemas.OpEmbed && strings.Contains(x.Request.URL, "/v1/embeddings") {
				settings = catalog.Settings(`{"embeddings":"openai"}`)
			}
			return catalog.New("provider", huggingface.Entry).Build("huggingface", settings, catalog.Env{HTTP: client})
		},
		read:    hfReading,
		request: hfRequest,
	}
}

// hfOperation decides by what was asked and answered: most recordings only say
// that a model was invoked.
func hfOperation(x *exchange) schemas.Operation {
	hfMend(x)
	where := x.Request.URL
	if u, err := url.Parse(where); err == nil {
		where = u.Path
	}
	var asked any
	_ = json.Unmarshal([]byte(x.requestBody()), &asked) // what is no JSON tells nothing
	switch {
	case x.Op == "chat", strings.HasSuffix(where, "/chat/completions"), dig(asked, "messages") != nil, x.Op == opError:
		return schemas.OpChat
	case strings.HasSuffix(where, "/models") && x.Request.Method == http.MethodGet:
		return schemas.OpModels
	case strings.HasSuffix(where, "/embeddings"), strings.Contains(where, "feature-extraction"):
		return schemas.OpEmbed
	case strings.Contains(where, "sentence-similarity"), dig(asked, "inputs", "source_sentence") != nil:
		return schemas.OpRerank
	case strings.Contains(where, "text2text"), strings.Contains(where, "text-generation"), strings.Contains(where, "summarization"):
		return schemas.OpComplete
	case strings.Contains(where, "/pipeline/"), dig(asked, "parameters", "candidate_labels") != nil:
		return ""
	}
	if x.Response.Status < 300 {
		return hfAnswered(x)
	}
	if _, isText := dig(asked, "inputs").(string); isText || asked == nil || dig(asked, "inputs", "text") != nil || list(dig(asked, "inputs")) != nil {
		return schemas.OpComplete
	}
	return ""
}

// hfMend undoes what recorders did to bodies: an envelope of their own, and base64
// without a word of it.
func hfMend(x *exchange) {
	var envelope struct {
		Type    string
		Content json.RawMessage
	}
	if json.Unmarshal([]byte(x.Response.Body), &envelope) == nil && envelope.Type == "json" && len(envelope.Content) > 0 {
		x.Response.Body = string(envelope.Content)
	}
	if x.Response.BodyEncoding != "" || json.Valid([]byte(x.Response.Body)) || x.Stream {
		return
	}
	if b, err := base64.StdEncoding.DecodeString(x.Response.Body); err == nil && json.Valid(b) {
		x.Response.BodyEncoding = "base64"
	}
}

// hfAnswered tells an operation from the answer.
func hfAnswered(x *exchange) schemas.Operation {
	kind := ""
	for k, v := range x.Response.Headers {
		if strings.EqualFold(k, "Content-Type") {
			kind = v
		}
	}
	body := string(x.body())
	switch {
	case strings.HasPrefix(kind, "audio/"):
		return schemas.OpSpeech
	case strings.HasPrefix(kind, "image/"), strings.HasPrefix(http.DetectContentType(x.body()), "image/"):
		return schemas.OpImage
	case x.Stream, strings.HasPrefix(strings.TrimSpace(body), "data:"):
		return schemas.OpComplete
	}
	var said any
	if json.Unmarshal([]byte(body), &said) != nil {
		return ""
	}
	first := said
	for list(first) != nil {
		if len(list(first)) == 0 {
			return ""
		}
		first = list(first)[0]
	}
	switch {
	case hfText(first) != nil:
		return schemas.OpComplete
	case dig(said, "text") != nil:
		return schemas.OpTranscribe
	}
	if _, isNumber := first.(float64); isNumber {
		return schemas.OpEmbed
	}
	return ""
}

func hfText(v any) any {
	for _, name := range []string{"generated_text", "translation_text", "summary_text"} {
		if s := dig(v, name); s != nil {
			return s
		}
	}
	return nil
}

// hfRequest asks for as many things as the recording answers.
func hfRequest(x *exchange, req *schemas.Request) {
	var said any
	_ = json.Unmarshal(x.body(), &said) // refusals answer nothing
	n := len(list(said))
	switch req.Operation() {
	case schemas.OpRerank:
		if n > 0 {
			req.Rerank.Documents = make([]schemas.Document, n)
		}
	case schemas.OpEmbed:
		if d := list(dig(said, "data")); d != nil {
			said, n = d, len(d)
		} else if list(dig(said, 0)) == nil || hfAskedOne(x) {
			n = 1
		}
		for len(req.Embed.Inputs) < n {
			req.Embed.Inputs = append(req.Embed.Inputs, req.Embed.Inputs[0])
		}
	}
}

func hfAskedOne(x *exchange) bool {
	var asked any
	_ = json.Unmarshal([]byte(x.requestBody()), &asked)
	_, isText := dig(asked, "inputs").(string)
	return isText || asked == nil
}

func hfReading(x *exchange, op schemas.Operation) (reading, error) {
	body := string(x.body())
	if x.Response.Status >= 300 {
		return refusal(hfRefusal(x.Response.Status, body))
	}
	r := unsaid()
	switch op {
	case schemas.OpImage, schemas.OpSpeech:
		r.Media = 1
		return r, nil
	case schemas.OpChat:
		return hfChat(x, body)
	}
	if strings.HasPrefix(strings.TrimSpace(body), "data:") {
		return hfTokens(body)
	}
	said, err := parse(body)
	if err != nil {
		return r, err
	}
	if dig(said, "error") != nil {
		return refusal(hfRefusal(200, body))
	}
	switch op {
	case schemas.OpModels:
		r.Models = len(list(dig(said, "data")))
	case schemas.OpRerank:
		r.Ranks = len(list(said))
	case schemas.OpTranscribe:
		t := text(dig(said, "text"))
		r.Transcript = &t
	case schemas.OpEmbed:
		r.Vectors = 1
		switch {
		case dig(said, "data") != nil:
			r.Vectors = len(list(dig(said, "data")))
			if n := number(dig(said, "usage", "prompt_tokens")); n >= 0 {
				r.Input = n
			}
		case list(dig(said, 0)) != nil && !hfAskedOne(x):
			r.Vectors = len(list(said))
		}
	case schemas.OpComplete:
		hfTexts(&r, said)
	}
	return r, nil
}

func hfTexts(r *reading, said any) {
	if nested := list(said); nested != nil {
		for _, v := range nested {
			hfTexts(r, v)
		}
		return
	}
	r.Texts = append(r.Texts, text(hfText(said)))
	r.Finish = append(r.Finish, hfFinish(dig(said, "details", "finish_reason")))
	if n := number(dig(said, "details", "generated_tokens")); n >= 0 {
		r.Output = max(r.Output, 0) + n
	}
}

func hfFinish(said any) schemas.FinishReason {
	switch text(said) {
	case "length":
		return schemas.FinishLength
	case "eos_token", "stop", "eos":
		return schemas.FinishStop
	case "stop_sequence":
		return schemas.FinishStopSequence
	case "tool_calls", "function_call":
		return schemas.FinishToolCalls
	case "content_filter":
		return schemas.FinishContentFilter
	}
	return schemas.FinishUnknown
}

// hfTokens reads TGI's stream of tokens.
func hfTokens(body string) (reading, error) {
	r := unsaid()
	var said strings.Builder
	for _, e := range events(body) {
		v, err := parse(e.data)
		switch {
		case err != nil:
			return r, err
		case dig(v, "error") != nil:
			return refusal(hfRefusal(200, e.data))
		}
		special := dig(v, "token", "special") == true
		if !special {
			said.WriteString(text(dig(v, "token", "text")))
		}
		if dig(v, "generated_text") == nil {
			continue
		}
		r.Texts = []string{said.String()}
		r.Finish = []schemas.FinishReason{hfFinish(dig(v, "details", "finish_reason"))}
		if special && dig(v, "details", "finish_reason") == nil {
			r.Finish[0] = schemas.FinishStop
		}
		if n := number(dig(v, "details", "generated_tokens")); n >= 0 {
			r.Output = n
		}
		return r, nil
	}
	return refusal(schemas.StreamInterrupted)
}
