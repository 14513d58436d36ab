package main

import (
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/sira-ai/sira/handlers/provider"
	"github.com/sira-ai/sira/handlers/provider/gemini"
	"github.com/sira-ai/sira/handlers/provider/openai"
	"github.com/sira-ai/sira/pipeline/catalog"
	"github.com/sira-ai/sira/schemas"
)

func geminiVendor() vendor {
	return vendor{operation: geminiOperation, build: geminiBuild, read: geminiRead, request: geminiRequest}
}

// geminiOperation goes by the address: the method stands behind its last colon.
func geminiOperation(x *exchange) schemas.Operation {
	if x.Op == opError {
		return schemas.OpChat
	}
	u, err := url.Parse(x.Request.URL)
	if err != nil {
		return ""
	}
	method := u.Path[strings.LastIndexAny(u.Path, ":/")+1:]
	if geminiOpenAI(x) {
		return map[string]schemas.Operation{
			"completions": schemas.OpChat, "embeddings": schemas.OpEmbed, "generations": schemas.OpImage, "models": schemas.OpModels,
		}[method]
	}
	switch method {
	case "generateContent", "streamGenerateContent":
		return schemas.OpChat
	case "countTokens":
		return schemas.OpCountTokens
	case "embedContent", "batchEmbedContents":
		return schemas.OpEmbed
	case "predict":
		return geminiPredict(x)
	case "predictLongRunning", "fetchPredictOperation":
		return schemas.OpVideo
	case "models":
		return schemas.OpModels
	}
	if strings.Contains(u.Path, "/models/") && strings.Contains(u.Path, "/operations/") && x.Request.Method == http.MethodGet {
		return schemas.OpVideo
	}
	return geminiFile(x, u.Path)
}

// geminiPredict tells the models that share a method apart by what they are sent.
func geminiPredict(x *exchange) schemas.Operation {
	var body any
	_ = json.Unmarshal([]byte(x.requestBody()), &body)
	first := dig(body, "instances", 0)
	switch {
	case text(dig(first, "content")) != "":
		return schemas.OpEmbed
	case len(list(dig(first, "referenceImages"))) > 0:
		return schemas.OpImageEdit
	case strings.Contains(x.Model, "imagen"):
		return schemas.OpImage
	}
	return ""
}

func geminiFile(x *exchange, path string) schemas.Operation {
	_, id, found := strings.Cut(path, "/files")
	switch {
	case !found || strings.Contains(id, ":"):
		return ""
	case strings.Contains(path, "/upload/"):
		if strings.TrimSpace(x.Response.Body) == "" { // the start of an upload in pieces
			return ""
		}
		return schemas.OpFileUpload
	case x.Request.Method == http.MethodDelete:
		return schemas.OpFileDelete
	case x.Request.Method == http.MethodGet && strings.Trim(id, "/") == "":
		return schemas.OpFileList
	case x.Request.Method == http.MethodGet:
		return schemas.OpFileGet
	}
	return ""
}

// geminiOpenAI reports whether an exchange is of the vendor's OpenAI-compatible
// API, for which Sira has another adapter.
func geminiOpenAI(x *exchange) bool {
	return strings.Contains(x.Request.URL, "/openai/") || strings.Contains(x.Request.URL, "/endpoints/openapi/")
}

func geminiBuild(x *exchange, _ schemas.Operation, client *http.Client) (provider.Provider, error) {
	env := catalog.Env{HTTP: client}
	if geminiOpenAI(x) {
		c := openai.Defaults
		c.APIKey, c.DoneOptional = "key", true
		return openai.New(c, env)
	}
	c := gemini.Defaults
	c.APIKey = "key"
	if x.Variant == "vertex" {
		c.Project = "project"
	}
	return gemini.New(c, env)
}

func geminiRequest(x *exchange, req *schemas.Request) {
	if req.Speech != nil {
		req.Speech.Voice = "Kore"
	}
	if x.Variant == "vertex" && req.Embed != nil {
		req.Embed.Inputs = req.Embed.Inputs[:1]
	}
}

func geminiRead(x *exchange, op schemas.Operation) (reading, error) {
	if geminiOpenAI(x) {
		return readOpenAI(x, op)
	}
	body := strings.TrimSpace(string(x.body()))
	if x.Response.Status/100 != 2 {
		var v any
		_ = json.Unmarshal([]byte(body), &v) // HTML and text leave the status only
		if l := list(v); len(l) > 0 {
			v = l[0]
		}
		return refusal(geminiClass(x.Response.Status, dig(v, "error"), x.Variant == "vertex"))
	}
	if op == schemas.OpChat {
		return geminiChat(x, body)
	}
	v, err := parse(body)
	if err != nil {
		return reading{}, err
	}
	if e := dig(v, "error"); e != nil && op != schemas.OpFileGet {
		return refusal(geminiClass(0, e, x.Variant == "vertex"))
	}
	r := unsaid()
	switch op {
	case schemas.OpCountTokens:
		r.Input = number(dig(v, "totalTokens"))
	case schemas.OpEmbed:
		geminiVectors(&r, v)
	case schemas.OpImage, schemas.OpImageEdit:
		r.Media = 0
		for _, p := range list(dig(v, "predictions")) {
			if text(dig(p, "bytesBase64Encoded"))+text(dig(p, "gcsUri")) != "" {
				r.Media++
			}
		}
		if r.Media == 0 {
			return refusal(schemas.ContentFiltered)
		}
	case schemas.OpVideo:
		return geminiFilm(v)
	case schemas.OpModels:
		r.Models = len(list(dig(v, "models"))) + len(list(dig(v, "publisherModels")))
	case schemas.OpFileList:
		r.Files = len(list(dig(v, "files")))
	default:
		r.Files = 1
	}
	return r, nil
}

func geminiVectors(r *reading, v any) {
	r.Vectors = len(list(dig(v, "embeddings")))
	if dig(v, "embedding") != nil {
		r.Vectors++
	}
	r.Input = number(dig(v, "usageMetadata", "promptTokenCount"))
	for _, p := range list(dig(v, "predictions")) {
		r.Vectors++
		if n := number(dig(p, "embeddings", "statistics", "token_count")); n >= 0 {
			r.Input = max(r.Input, 0) + n
		}
	}
}

func geminiFilm(v any) (reading, error) {
	r := unsaid()
	if done, _ := dig(v, "done").(bool); !done {
		r.Job = schemas.JobQueued
		if n := number(dig(v, "metadata", "progressPercent")); n > 0 || strings.HasSuffix(text(dig(v, "metadata", "state")), "RUNNING") {
			r.Job = schemas.JobRunning
		}
		return r, nil
	}
	res := dig(v, "response")
	if inner := dig(res, "generateVideoResponse"); inner != nil {
		res = inner
	}
	r.Job, r.Media = schemas.JobSucceeded, len(list(dig(res, "generatedSamples")))+len(list(dig(res, "videos")))
	if r.Media == 0 {
		if len(list(dig(res, "raiMediaFilteredReasons"))) > 0 || number(dig(res, "raiMediaFilteredCount")) > 0 {
			return refusal(schemas.ContentFiltered)
		}
		return refusal(schemas.MalformedResponse)
	}
	return r, nil
}

// geminiPieces splits an answer into the responses that it comes as: one, a list,
// or events.
func geminiPieces(body string) ([]any, error) {
	if strings.HasPrefix(body, "{") || strings.HasPrefix(body, "[") {
		v, err := parse(body)
		if l, many := v.([]any); many {
			return l, err
		}
		return []any{v}, err
	}
	var pieces []any
	for _, e := range events(body) {
		v, err := parse(e.data)
		if err != nil {
			return nil, err
		}
		pieces = append(pieces, v)
	}
	if at := strings.LastIndex(body, "\n{"); at >= 0 { // an error that is no event
		if v, err := parse(body[at:]); err == nil {
			pieces = append(pieces, v)
		}
	}
	return pieces, nil
}

// geminiSaid is what one candidate says.
type geminiSaid struct {
	index           int64
	text, reasoning string
	calls           []call
	finish          string
}

func geminiChat(x *exchange, body string) (reading, error) {
	pieces, err := geminiPieces(body)
	if err != nil {
		return reading{}, err
	}
	var said []*geminiSaid
	var usage any
	blocked := false
	for _, p := range pieces {
		if e := dig(p, "error"); e != nil {
			return refusal(geminiClass(0, e, x.Variant == "vertex"))
		}
		blocked = blocked || dig(p, "promptFeedback", "blockReason") != nil
		if u, _ := dig(p, "usageMetadata").(object); number(u["totalTokenCount"]) >= 0 || number(u["promptTokenCount"]) >= 0 {
			usage = u
		}
		for n, c := range list(dig(p, "candidates")) {
			said = geminiCandidate(said, int64(n), c)
		}
	}
	switch {
	case len(said) == 0 && blocked:
		return refusal(schemas.ContentFiltered)
	case len(said) == 0 && (!x.Stream || strings.HasPrefix(body, "{") || strings.HasPrefix(body, "[")):
		return refusal(schemas.MalformedResponse)
	case len(said) == 0:
		return refusal(schemas.StreamInterrupted)
	}
	slices.SortFunc(said, func(a, b *geminiSaid) int { return int(a.index - b.index) })
	r := unsaid()
	r.Calls = []call{}
	for _, s := range said {
		if s.finish == "" && blocked {
			s.finish = "SAFETY"
		}
		if s.finish == "" {
			return refusal(schemas.StreamInterrupted)
		}
		r.Texts = append(r.Texts, s.text)
		r.Reasoning = append(r.Reasoning, s.reasoning)
		r.Calls = append(r.Calls, s.calls...)
		r.Finish = append(r.Finish, geminiFinish(s))
	}
	geminiUsage(&r, usage)
	return r, nil
}

func geminiCandidate(said []*geminiSaid, n int64, c any) []*geminiSaid {
	if i := number(dig(c, "index")); i >= 0 {
		n = i
	}
	at := slices.IndexFunc(said, func(s *geminiSaid) bool { return s.index == n })
	if at < 0 {
		said = append(said, &geminiSaid{index: n})
		at = len(said) - 1
	}
	s := said[at]
	for _, p := range list(dig(c, "content", "parts")) {
		thought, _ := dig(p, "thought").(bool)
		switch f := dig(p, "functionCall"); {
		case f != nil && (text(dig(f, "name")) == "" || dig(f, "partialArgs") != nil) && len(s.calls) > 0:
			last := &s.calls[len(s.calls)-1]
			last.Arguments = geminiPartial(last.Arguments, list(dig(f, "partialArgs")))
		case f != nil:
			args := "{}"
			if a := dig(f, "args"); a != nil {
				b, _ := json.Marshal(a)
				args = string(b)
			}
			s.calls = append(s.calls, call{text(dig(f, "name")), args})
		case thought:
			s.reasoning += text(dig(p, "text"))
		default:
			s.text += text(dig(p, "text"))
		}
	}
	switch f := dig(c, "finishReason").(type) {
	case string:
		if f != "FINISH_REASON_UNSPECIFIED" {
			s.finish = f
		}
	case float64: // an old SDK wrote the enum's numbers
		s.finish = map[float64]string{1: "STOP", 2: "MAX_TOKENS", 3: "SAFETY", 4: "RECITATION", 5: "OTHER"}[f]
	}
	return said
}

// geminiPartial adds pieces to arguments, of which it knows those that are fields
// of the outermost object.
func geminiPartial(args string, pieces []any) string {
	all := object{}
	_ = json.Unmarshal([]byte(args), &all)
	for _, p := range pieces {
		key := strings.Trim(text(dig(p, "jsonPath")), "$.[]'")
		switch v := dig(p, "stringValue"); {
		case v != nil:
			all[key] = text(all[key]) + text(v)
		case dig(p, "numberValue") != nil:
			all[key] = dig(p, "numberValue")
		default:
			all[key] = dig(p, "boolValue")
		}
	}
	b, _ := json.Marshal(all)
	return string(b)
}

func geminiFinish(s *geminiSaid) schemas.FinishReason {
	reason := schemas.FinishUnknown
	switch f := s.finish; {
	case f == "STOP":
		reason = schemas.FinishStop
	case f == "MAX_TOKENS":
		return schemas.FinishLength
	case f == "CONTINUATION":
		return schemas.FinishPause
	case slices.Contains([]string{"SAFETY", "RECITATION", "BLOCKLIST", "PROHIBITED_CONTENT", "SPII", "MODEL_ARMOR"}, f),
		slices.Contains([]string{"IMAGE_SAFETY", "IMAGE_PROHIBITED_CONTENT", "IMAGE_RECITATION"}, f):
		return schemas.FinishContentFilter
	case strings.HasPrefix(f, "MALFORMED_"), strings.HasSuffix(f, "_TOOL_CALL"), strings.HasSuffix(f, "_TOOL_CALLS"),
		slices.Contains([]string{"OTHER", "NO_IMAGE", "IMAGE_OTHER", "MISSING_THOUGHT_SIGNATURE"}, f):
		reason = schemas.FinishError
	}
	if len(s.calls) > 0 && reason != schemas.FinishUnknown {
		return schemas.FinishToolCalls
	}
	return reason
}

// geminiUsage adds up what is counted; numbers that are 0 are left out.
func geminiUsage(r *reading, u any) {
	if u == nil {
		return
	}
	n := func(key string) int64 { return max(number(dig(u, key)), 0) }
	r.Input = n("promptTokenCount") + n("toolUsePromptTokenCount")
	r.Output = n("candidatesTokenCount") + n("thoughtsTokenCount")
	r.CacheRead, r.Thought = n("cachedContentTokenCount"), n("thoughtsTokenCount")
}

// geminiClass is what an error means, by CANONICAL.md section 7.2.
func geminiClass(status int, e any, vertex bool) schemas.Code {
	message := strings.ToLower(text(dig(e, "message")))
	all, _ := json.Marshal(e)
	details := strings.ToLower(string(all))
	has := func(s string) bool { return strings.Contains(details, s) }
	word := text(dig(e, "status"))
	if status == 0 {
		status = int(max(number(dig(e, "code")), 0))
	}
	switch {
	case has("api_key_invalid"), has("api key not valid"), has("api key expired"), word == "UNAUTHENTICATED", status == 401:
		return schemas.Auth
	case strings.Contains(message, "token count") && strings.Contains(message, "exceed"):
		return schemas.ContextLength
	case has("payload size exceeds"), status == 413:
		return schemas.PayloadTooLarge
	case word == "RESOURCE_EXHAUSTED" || status == 429:
		switch {
		case has("perday"), has("per_day"), has("per day"), has("spending cap"), has("credits are depleted"):
			return schemas.QuotaExhausted
		case dig(e, "details") != nil, has("quota"), word == "":
			return schemas.RateLimited
		case vertex, has("try again later"):
			return schemas.Overloaded
		}
		return schemas.RateLimited
	case has("location is not supported"):
		return schemas.Permission
	case word == "FAILED_PRECONDITION" || status == 402:
		return schemas.QuotaExhausted
	case word == "PERMISSION_DENIED" || status == 403:
		return schemas.Permission
	case word == "NOT_FOUND" || status == 404:
		return schemas.NotFound
	case word == "UNAVAILABLE" || status == 529:
		return schemas.Overloaded
	case status == 502, status == 503:
		return schemas.Unavailable
	case word == "DEADLINE_EXCEEDED", status == 504, status == 408:
		return schemas.Timeout
	case word == "CANCELLED":
		return schemas.Cancelled
	case word == "UNIMPLEMENTED":
		return schemas.Unsupported
	case word == "ABORTED", word == "ALREADY_EXISTS", status == 409:
		return schemas.Conflict
	case status >= 400 && status < 500:
		return schemas.InvalidRequest
	}
	return schemas.Internal
}
