package simulate

import (
	"net/http"
	"strconv"
	"strings"
)

// openaiDialect is the chat completions API of OpenAI: error bodies, headers and the order of a stream are those of the OpenAPI
// document at openai/openai-openapi f85dbe2 and of exchanges recorded in 2026.
var openaiDialect = dialect{
	segment: "openai", route: openaiRoute, credential: bearer, sign: openaiSign, refuse: openaiRefuse,
	models: openaiModels, model: openaiModel,
}

func openaiRoute(path string) endpoint {
	rest, ok := strings.CutPrefix(path, "/v1")
	if !ok {
		return endpoint{}
	}
	return openaiPath(rest, openaiChat{})
}

// openaiPath tells what a path of OpenAI's API, without its version, is for. Others' copies of the API have a form of
// their own for chats.
func openaiPath(path string, chat format) endpoint {
	switch path {
	case "/chat/completions":
		return endpoint{format: chat}
	case "/responses":
		return endpoint{format: openaiResponses{}}
	case "/embeddings":
		return endpoint{format: openaiEmbeddings{}}
	case "/images/generations", "/images/edits":
		return endpoint{format: openaiImages{}}
	case "/audio/speech":
		return endpoint{format: openaiSpeech{}}
	case "/audio/transcriptions", "/audio/translations":
		return endpoint{format: openaiTranscripts{}}
	case "/moderations":
		return endpoint{format: openaiModerations{}}
	}
	return modelPath(path, "/models")
}

// modelPath is a list of models at path, and each of them below it.
func modelPath(path, models string) endpoint {
	rest, ok := strings.CutPrefix(path, models)
	switch {
	case ok && rest == "":
		return endpoint{list: true}
	case ok && len(rest) > 1 && rest[0] == '/':
		return endpoint{list: true, name: rest[1:]}
	}
	return endpoint{}
}

// bearer is the credential in the header that most vendors take it from.
func bearer(h http.Header) string {
	key, ok := strings.CutPrefix(h.Get("Authorization"), "Bearer ")
	if !ok {
		return ""
	}
	return strings.TrimSpace(key)
}

// Values of headers that do not change. Servers and recorders read them only.
var (
	openaiVersion   = []string{"2020-10-01"}
	openaiOrg       = []string{"sim-org"}
	openaiRequests  = []string{"10000"}
	openaiTokens    = []string{"10000000"}
	openaiRemaining = []string{"9999"}
	openaiLeft      = []string{"9999000"}
	openaiReset     = []string{"6ms"}
	none            = []string{"0"}
	typeJSON        = []string{"application/json"}
	typeEvents      = []string{"text/event-stream; charset=utf-8"}
	noCache         = []string{"no-cache"}
)

func openaiSign(h http.Header, a *answer) {
	openaiCommon(h, a.seed)
	h["Openai-Processing-Ms"] = []string{strconv.FormatInt(a.took.Milliseconds(), 10)}
	h["X-Ratelimit-Limit-Requests"] = openaiRequests
	h["X-Ratelimit-Limit-Tokens"] = openaiTokens
	h["X-Ratelimit-Remaining-Requests"] = openaiRemaining
	h["X-Ratelimit-Remaining-Tokens"] = openaiLeft
	h["X-Ratelimit-Reset-Requests"] = openaiReset
	h["X-Ratelimit-Reset-Tokens"] = openaiReset
}

func openaiCommon(h http.Header, seed uint64) {
	id := append(make([]byte, 0, 28), "req_"...)
	h["X-Request-Id"] = []string{string(appendID(id, hex, 24, seed, drawRequest))}
	h["Openai-Version"] = openaiVersion
	h["Openai-Organization"] = openaiOrg
}

// openaiRefusals are the vendor's status, type, code and words for each refusal. 529 is not one of OpenAI's: it is sent
// as others in front of the API send it.
var openaiRefusals = wordings{
	refusedInvalid:  {400, "invalid_request_error", "", ""},
	refusedAuth:     {401, "invalid_request_error", "invalid_api_key", "Incorrect API key provided. You can find your API key at https://platform.openai.com/account/api-keys."},
	refusedPath:     {404, "invalid_request_error", "unknown_url", "Unknown request URL. Please check the URL for typos, or see the docs at https://platform.openai.com/docs/api-reference/."},
	refusedMethod:   {405, "invalid_request_error", "method_not_supported", "Not allowed to use this method on this path."},
	refusedModel:    {404, "invalid_request_error", "model_not_found", "The model `{model}` does not exist or you do not have access to it."},
	refusedTooLarge: {413, "invalid_request_error", "request_too_large", "The request body is too large."},
	refusedContext: {400, "invalid_request_error", "context_length_exceeded", "This model's maximum context length is {limit} tokens. " +
		"However, your messages resulted in {tokens} tokens. Please reduce the length of the messages."},
	refusedPolicy:      {400, "invalid_request_error", "content_policy_violation", "Your request was rejected as a result of our safety system."},
	refusedRate:        {429, "requests", "rate_limit_exceeded", "Rate limit reached for requests. Please try again later."},
	refusedQuota:       {429, "insufficient_quota", "insufficient_quota", "You exceeded your current quota, please check your plan and billing details."},
	refusedServer:      {500, "server_error", "", "The server had an error while processing your request. Sorry about that!"},
	refusedUnavailable: {503, "service_unavailable_error", "server_is_overloaded", "Our servers are currently overloaded. Please try again later."},
	refusedJob:         {404, "invalid_request_error", "not_found", "No such job."},
	refusedOverloaded:  {529, "service_unavailable_error", "server_is_overloaded", "The site is overloaded. Please try again later."},
}

func openaiRefuse(dst []byte, h http.Header, p problem, seed uint64) (int, []byte) {
	openaiCommon(h, seed)
	switch p.refusal {
	case refusedAuth:
		h["Www-Authenticate"] = []string{`Bearer realm="OpenAI API"`}
	case refusedContext:
		p.param = "messages"
	case refusedRate:
		h["X-Ratelimit-Limit-Requests"] = openaiRequests
		h["X-Ratelimit-Remaining-Requests"] = none
		h["X-Ratelimit-Reset-Requests"] = []string{max(p.retryAfter, 6e6).String()}
	}
	return openaiRefusals.likeOpenAI(dst, p)
}

// likeOpenAI appends an error in OpenAI's form, which many vendors have.
func (w *wordings) likeOpenAI(dst []byte, p problem) (int, []byte) {
	e := w.of(p)
	dst = append(dst, `{"error":{"message":`...)
	dst = appendString(dst, e.message)
	dst = append(dst, `,"type":`...)
	dst = appendNullable(dst, e.kind)
	dst = append(dst, `,"param":`...)
	dst = appendNullable(dst, p.param)
	dst = append(dst, `,"code":`...)
	dst = appendNullable(dst, e.code)
	return e.status, append(dst, "}}\n"...)
}

func appendNullable(dst []byte, s string) []byte {
	if s == "" {
		return append(dst, `null`...)
	}
	return appendString(dst, s)
}

func openaiModels(dst []byte, names []string) []byte {
	return append(appendList(append(dst, `{"object":"list","data":`...), names, openaiModel), '}')
}

func openaiModel(dst []byte, name string) []byte {
	dst = append(dst, `{"id":`...)
	dst = appendString(dst, name)
	return append(dst, `,"object":"model","created":1721172741,"owned_by":"system"}`...)
}
