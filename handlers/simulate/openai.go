package simulate

import (
	"net/http"
	"strconv"
	"strings"
)

// openai is the chat completions API of OpenAI: error bodies, headers and the order of a stream are those of the OpenAPI
// document at openai/openai-openapi f85dbe2 and of exchanges recorded in 2026.
type openai struct{}

func (openai) segment() string { return "openai" }

func (openai) route(path string) (operation, string) {
	switch path {
	case "/v1/chat/completions":
		return operationChat, ""
	case "/v1/models":
		return operationModels, ""
	}
	if name, ok := strings.CutPrefix(path, "/v1/models/"); ok && name != "" {
		return operationModel, name
	}
	return operationNone, ""
}

func (openai) credential(h http.Header) string {
	key, ok := strings.CutPrefix(h.Get("Authorization"), "Bearer ")
	if !ok {
		return ""
	}
	return strings.TrimSpace(key)
}

func (openai) parse(_ http.Header, body []byte) (request, *problem) {
	q := request{maxTokens: -1}
	s := scanner{b: body}
	var (
		key      []byte
		problem  *problem
		messages int
		bytes    int
		tools    toolSet
		choices  int
	)
	mind := func(ok bool, param, want string) {
		if !ok && problem == nil && s.err == nil {
			problem = invalidCode(param, "invalid_type", "Invalid type for '"+param+"': expected "+want+".")
		}
	}
	for s.object(); s.field(&key); {
		start := s.i
		var ok bool
		switch string(key) {
		case "model":
			q.model, ok = s.text()
			mind(ok, "model", "a string")
		case "stream":
			q.stream, ok = s.boolean()
			mind(ok, "stream", "a boolean")
		case "stream_options":
			if s.peek() != '{' {
				s.skip()
				continue
			}
			for s.object(); s.field(&key); {
				if string(key) != "include_usage" {
					s.skip()
					continue
				}
				q.wantUsage, ok = s.boolean()
				mind(ok, "stream_options.include_usage", "a boolean")
			}
		case "messages":
			messages = s.messages()
			mind(messages >= 0, "messages", "an array of objects with a role")
			bytes += s.i - start
		case "max_tokens", "max_completion_tokens":
			if s.peek() == 'n' {
				s.skip()
				continue
			}
			name := string(key)
			q.maxTokens, ok = s.integer()
			mind(ok, name, "an integer")
			if ok && q.maxTokens < 1 && problem == nil {
				problem = invalidCode(name, "integer_below_min_value", "Invalid '"+name+"': integer below minimum value. Expected a value >= 1.")
			}
		case "n":
			if choices, ok = s.integer(); ok && choices != 1 && problem == nil {
				problem = invalidCode("n", "unsupported_value", "Unsupported value: 'n': the simulator answers one choice.")
			}
		case "tools":
			bytes += s.tools(&tools)
		case "tool_choice":
			s.toolChoice(&tools)
		default:
			s.skip()
		}
	}
	if err := s.end(); err != nil {
		return q, invalid("", "We could not parse the JSON body of your request: "+err.Error()+".")
	}
	switch {
	case problem != nil:
		return q, problem
	case q.model == "":
		return q, invalid("", "you must provide a model parameter")
	case messages == 0:
		return q, invalidCode("messages", "missing_required_parameter", "Missing required parameter: 'messages'.")
	}
	q.prompt = promptTokens(bytes)
	q.tool = tools.forced()
	if tools.required && q.tool == "" {
		return q, invalid("tool_choice", "Invalid value for 'tool_choice': no such tool in 'tools'.")
	}
	return q, nil
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

func (openai) sign(h http.Header, a *answer) {
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

func (openai) whole(dst []byte, a *answer) []byte {
	dst = append(dst, `{"id":"chatcmpl-`...)
	dst = a.appendHead(dst, `chat.completion`)
	dst = append(dst, `"choices":[{"index":0,"message":{"role":"assistant","content":`...)
	if a.tool == "" {
		dst = append(dst, '"')
		dst = appendText(dst, a.text, a.tokens)
		dst = append(dst, '"')
	} else {
		dst = append(dst, `null,"tool_calls":[{"id":"call_`...)
		dst = appendID(dst, base62, 24, a.seed, drawID)
		dst = append(dst, `","type":"function","function":{"name":`...)
		dst = appendString(dst, a.tool)
		dst = append(dst, `,"arguments":"`...)
		for i := range a.tokens {
			dst = a.appendArgument(dst, i)
		}
		dst = a.closeArguments(dst)
		dst = append(dst, `"}}]`...)
	}
	dst = append(dst, `,"refusal":null,"annotations":[]},"logprobs":null,"finish_reason":"`...)
	dst = append(dst, openaiEndings[a.ending]...)
	dst = append(dst, `"}],"usage":`...)
	dst = a.appendOpenAIUsage(dst)
	return append(dst, `}`...)
}

var openaiEndings = [...]string{
	endingStop: "stop", endingLength: "length", endingTool: "tool_calls", endingFilter: "content_filter",
}

// appendHead appends what all of OpenAI's answers begin with, from the identifier's random part on.
func (a *answer) appendHead(dst []byte, object string) []byte {
	dst = appendID(dst, base62, 24, a.seed, drawID)
	dst = append(dst, `","object":"`...)
	dst = append(dst, object...)
	dst = append(dst, `","created":`...)
	dst = strconv.AppendInt(dst, a.created.Unix(), 10)
	dst = append(dst, `,"model":`...)
	dst = appendString(dst, a.model)
	dst = append(dst, `,"service_tier":"default","system_fingerprint":"fp_`...)
	dst = appendID(dst, hex, 10, a.text, drawPrint)
	return append(dst, `",`...)
}

func (a *answer) appendOpenAIUsage(dst []byte) []byte {
	dst = append(dst, `{"prompt_tokens":`...)
	dst = strconv.AppendInt(dst, int64(a.prompt), 10)
	dst = append(dst, `,"completion_tokens":`...)
	dst = strconv.AppendInt(dst, int64(a.tokens), 10)
	dst = append(dst, `,"total_tokens":`...)
	dst = strconv.AppendInt(dst, int64(a.prompt+a.tokens), 10)
	dst = append(dst, `,"prompt_tokens_details":{"cached_tokens":`...)
	dst = strconv.AppendInt(dst, int64(a.cached), 10)
	return append(dst, `,"audio_tokens":0},"completion_tokens_details":{"reasoning_tokens":0,"audio_tokens":0,`+
		`"accepted_prediction_tokens":0,"rejected_prediction_tokens":0}}`...)
}

// appendArgument appends the i-th token of a tool's arguments, escaped for a place inside a JSON string.
func (a *answer) appendArgument(dst []byte, i int) []byte {
	if i == 0 {
		dst = append(dst, `{\"input\":\"`...)
	}
	return appendWord(dst, a.text, i)
}

func (a *answer) closeArguments(dst []byte) []byte {
	if a.tokens == 0 {
		return append(dst, `{}`...)
	}
	return append(dst, `\"}`...)
}

// chunk appends one chunk with one choice. The first delta names the role, the last gives the reason to stop.
func (a *answer) chunk(dst []byte, delta func([]byte) []byte, reason string) []byte {
	dst = append(dst, `data: {"id":"chatcmpl-`...)
	dst = a.appendHead(dst, `chat.completion.chunk`)
	dst = append(dst, `"choices":[{"index":0,"delta":{`...)
	dst = delta(dst)
	dst = append(dst, `},"logprobs":null,"finish_reason":`...)
	dst = append(dst, reason...)
	dst = append(dst, `}]`...)
	if a.wantUsage {
		dst = append(dst, `,"usage":null`...)
	}
	return append(dst, "}\n\n"...)
}

func (openai) open(dst []byte, a *answer) []byte {
	return a.chunk(dst, func(dst []byte) []byte {
		if a.tool == "" {
			return append(dst, `"role":"assistant","content":"","refusal":null`...)
		}
		dst = append(dst, `"role":"assistant","content":null,"tool_calls":[{"index":0,"id":"call_`...)
		dst = appendID(dst, base62, 24, a.seed, drawID)
		dst = append(dst, `","type":"function","function":{"name":`...)
		dst = appendString(dst, a.tool)
		return append(dst, `,"arguments":""}}],"refusal":null`...)
	}, `null`)
}

func (openai) delta(dst []byte, a *answer, i int) []byte {
	return a.chunk(dst, func(dst []byte) []byte {
		if a.tool == "" {
			dst = append(dst, `"content":"`...)
			dst = appendWord(dst, a.text, i)
			return append(dst, '"')
		}
		dst = append(dst, openaiFragment...)
		dst = a.appendArgument(dst, i)
		return append(dst, `"}}]`...)
	}, `null`)
}

const openaiFragment = `"tool_calls":[{"index":0,"function":{"arguments":"`

func (openai) finish(dst []byte, a *answer) []byte {
	if a.tool != "" {
		dst = a.chunk(dst, func(dst []byte) []byte {
			dst = append(dst, openaiFragment...)
			dst = a.closeArguments(dst)
			return append(dst, `"}}]`...)
		}, `null`)
	}
	dst = a.chunk(dst, func(dst []byte) []byte { return dst }, `"`+openaiEndings[a.ending]+`"`)
	if !a.wantUsage {
		return dst
	}
	dst = append(dst, `data: {"id":"chatcmpl-`...)
	dst = a.appendHead(dst, `chat.completion.chunk`)
	dst = append(dst, `"choices":[],"usage":`...)
	dst = a.appendOpenAIUsage(dst)
	return append(dst, "}\n\n"...)
}

func (openai) end(dst []byte) []byte { return append(dst, "data: [DONE]\n\n"...) }

func (openai) broken(dst []byte, _ *answer) []byte {
	return append(dst, `data: {"error":{"message":"The server had an error while processing your request. Sorry about that!",`+
		`"type":"server_error","param":null,"code":"server_error"}}`+"\n\n"...)
}

// openaiRefusals are the vendor's status, type, code and words for each refusal. 529 is not one of OpenAI's: it is sent
// as others in front of the API send it.
var openaiRefusals = [refusalCount]struct {
	status              int
	kind, code, message string
}{
	refusedInvalid:     {400, "invalid_request_error", "", ""},
	refusedAuth:        {401, "invalid_request_error", "invalid_api_key", "Incorrect API key provided. You can find your API key at https://platform.openai.com/account/api-keys."},
	refusedPath:        {404, "invalid_request_error", "unknown_url", "Unknown request URL. Please check the URL for typos, or see the docs at https://platform.openai.com/docs/api-reference/."},
	refusedMethod:      {405, "invalid_request_error", "method_not_supported", "Not allowed to use this method on this path."},
	refusedModel:       {404, "invalid_request_error", "model_not_found", ""},
	refusedTooLarge:    {413, "invalid_request_error", "request_too_large", "The request body is too large."},
	refusedContext:     {400, "invalid_request_error", "context_length_exceeded", ""},
	refusedPolicy:      {400, "invalid_request_error", "content_policy_violation", "Your request was rejected as a result of our safety system."},
	refusedRate:        {429, "requests", "rate_limit_exceeded", "Rate limit reached for requests. Please try again later."},
	refusedQuota:       {429, "insufficient_quota", "insufficient_quota", "You exceeded your current quota, please check your plan and billing details."},
	refusedServer:      {500, "server_error", "", "The server had an error while processing your request. Sorry about that!"},
	refusedUnavailable: {503, "service_unavailable_error", "server_is_overloaded", "Our servers are currently overloaded. Please try again later."},
	refusedOverloaded:  {529, "service_unavailable_error", "server_is_overloaded", "The site is overloaded. Please try again later."},
}

func (openai) refuse(dst []byte, h http.Header, p problem, seed uint64) (int, []byte) {
	e := openaiRefusals[p.refusal]
	openaiCommon(h, seed)
	message, code, param := e.message, e.code, p.param
	if p.message != "" {
		message = p.message
	}
	if p.code != "" {
		code = p.code
	}
	switch p.refusal {
	case refusedAuth:
		h["Www-Authenticate"] = []string{`Bearer realm="OpenAI API"`}
	case refusedModel:
		message = "The model `" + p.model + "` does not exist or you do not have access to it."
	case refusedContext:
		message = "This model's maximum context length is " + strconv.Itoa(p.limit) + " tokens. However, your messages resulted in " +
			strconv.Itoa(p.tokens) + " tokens. Please reduce the length of the messages."
		param = "messages"
	case refusedRate:
		h["X-Ratelimit-Limit-Requests"] = openaiRequests
		h["X-Ratelimit-Remaining-Requests"] = none
		h["X-Ratelimit-Reset-Requests"] = []string{max(p.retryAfter, 6e6).String()}
	}
	dst = append(dst, `{"error":{"message":`...)
	dst = appendString(dst, message)
	dst = append(dst, `,"type":`...)
	dst = appendString(dst, e.kind)
	dst = append(dst, `,"param":`...)
	dst = appendNullable(dst, param)
	dst = append(dst, `,"code":`...)
	dst = appendNullable(dst, code)
	return e.status, append(dst, "}}\n"...)
}

func appendNullable(dst []byte, s string) []byte {
	if s == "" {
		return append(dst, `null`...)
	}
	return appendString(dst, s)
}

func (d openai) models(dst []byte, names []string) []byte {
	dst = append(dst, `{"object":"list","data":[`...)
	for i, name := range names {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = d.model(dst, name)
	}
	return append(dst, `]}`...)
}

func (openai) model(dst []byte, name string) []byte {
	dst = append(dst, `{"id":`...)
	dst = appendString(dst, name)
	return append(dst, `,"object":"model","created":1721172741,"owned_by":"system"}`...)
}
