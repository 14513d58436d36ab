package simulate

import (
	"net/http"
	"strconv"
	"strings"
	"time"
)

// anthropicDialect is the Messages API of Anthropic, version 2023-06-01: error bodies, headers and the order of a stream are
// those of the vendor's API reference and of exchanges recorded in 2026.
var anthropicDialect = dialect{
	segment: "anthropic", route: anthropicRoute, credential: anthropicCredential, sign: anthropicSign, refuse: anthropicRefuse,
	models: anthropicModels, model: anthropicModel,
}

// anthropicChat is the vendor's form of a conversation.
type anthropicChat struct {
	counting bool // only the length of the prompt is asked for
}

func (f anthropicChat) piece(dst []byte, a *answer, p piece) []byte {
	switch p.kind {
	case pieceOpen:
		return f.open(dst, a)
	case pieceDelta:
		return f.delta(dst, a, p.i)
	case pieceFinish:
		return f.finish(dst, a)
	case pieceEnd:
		return f.end(dst)
	}
	return f.broken(dst, a)
}

func anthropicRoute(path string) endpoint {
	switch path {
	case "/v1/messages":
		return endpoint{format: anthropicChat{}}
	case "/v1/messages/count_tokens":
		return endpoint{format: anthropicCount{anthropicChat{counting: true}}}
	}
	return modelPath(path, "/v1/models")
}

// anthropicCount tells the length of a prompt.
type anthropicCount struct{ anthropicChat }

func (f anthropicCount) parse(h http.Header, body []byte) (request, *problem) {
	q, wrong := f.anthropicChat.parse(h, body)
	q.stream = false
	return q, wrong
}

func (anthropicCount) whole(dst []byte, a *answer) []byte {
	return append(strconv.AppendInt(append(dst, `{"input_tokens":`...), int64(a.prompt), 10), '}')
}

func anthropicCredential(h http.Header) string {
	if key := h.Get("X-Api-Key"); key != "" {
		return key
	}
	token, _ := strings.CutPrefix(h.Get("Authorization"), "Bearer ")
	return strings.TrimSpace(token)
}

func (f anthropicChat) parse(h http.Header, body []byte) (request, *problem) {
	q := request{maxTokens: -1}
	if h.Get("Anthropic-Version") == "" {
		return q, invalid("", "anthropic-version: header is required")
	}
	s := scanner{b: body}
	var (
		key      []byte
		problem  *problem
		messages int
		bytes    int
		tools    toolSet
	)
	mind := func(ok bool, param, want string) {
		if !ok && problem == nil && s.err == nil {
			problem = invalid("", param+": Input should be "+want)
		}
	}
	for s.object(); s.field(&key); {
		start := s.i
		var ok bool
		switch string(key) {
		case "model":
			q.model, ok = s.text()
			mind(ok, "model", "a valid string")
		case "stream":
			q.stream, ok = s.boolean()
			mind(ok, "stream", "a valid boolean")
		case "max_tokens":
			q.maxTokens, ok = s.integer()
			mind(ok, "max_tokens", "a valid integer")
			mind(!ok || q.maxTokens >= 0, "max_tokens", "greater than or equal to 0")
		case "system":
			s.skip()
			bytes += s.i - start
		case "messages":
			messages = s.messages()
			mind(messages >= 0, "messages", "a valid list of messages with a role")
			bytes += s.i - start
		case "tools":
			bytes += s.tools(&tools)
		case "tool_choice":
			s.toolChoice(&tools)
		default:
			s.skip()
		}
	}
	if err := s.end(); err != nil {
		return q, invalid("", "The request body is not valid JSON: "+err.Error())
	}
	switch {
	case problem != nil:
		return q, problem
	case q.model == "":
		return q, invalid("", "model: Field required")
	case q.maxTokens < 0 && !f.counting:
		return q, invalid("", "max_tokens: Field required")
	case messages == 0:
		return q, invalid("", "messages: at least one message is required")
	}
	q.prompt = promptTokens(bytes)
	q.tool = tools.forced()
	if tools.required && q.tool == "" {
		return q, invalid("", "tool_choice: Tool not found in provided tools")
	}
	return q, nil
}

// Values of headers that do not change. Servers and recorders read them only.
var (
	anthropicRequests  = []string{"4000"}
	anthropicRemaining = []string{"3999"}
	anthropicTokens    = []string{"400000"}
	anthropicLeft      = []string{"399000"}
)

func anthropicSign(h http.Header, a *answer) {
	anthropicCommon(h, a.seed)
	reset := []string{a.created.UTC().Add(time.Second).Format(time.RFC3339)}
	h["Anthropic-Ratelimit-Requests-Limit"] = anthropicRequests
	h["Anthropic-Ratelimit-Requests-Remaining"] = anthropicRemaining
	h["Anthropic-Ratelimit-Requests-Reset"] = reset
	h["Anthropic-Ratelimit-Tokens-Limit"] = anthropicTokens
	h["Anthropic-Ratelimit-Tokens-Remaining"] = anthropicLeft
	h["Anthropic-Ratelimit-Tokens-Reset"] = reset
	h["Anthropic-Ratelimit-Input-Tokens-Limit"] = anthropicTokens
	h["Anthropic-Ratelimit-Input-Tokens-Remaining"] = anthropicLeft
	h["Anthropic-Ratelimit-Input-Tokens-Reset"] = reset
	h["Anthropic-Ratelimit-Output-Tokens-Limit"] = anthropicTokens
	h["Anthropic-Ratelimit-Output-Tokens-Remaining"] = anthropicLeft
	h["Anthropic-Ratelimit-Output-Tokens-Reset"] = reset
}

var anthropicOrg = []string{"00000000-0000-4000-8000-000000000000"}

func anthropicCommon(h http.Header, seed uint64) {
	h["Request-Id"] = []string{string(appendRequestID(nil, seed))}
	h["Anthropic-Organization-Id"] = anthropicOrg
}

func appendRequestID(dst []byte, seed uint64) []byte {
	dst = append(dst, "req_011C"...)
	return appendID(dst, base62, 20, seed, drawRequest)
}

var anthropicEndings = [...]string{
	endingStop: "end_turn", endingLength: "max_tokens", endingTool: "tool_use", endingFilter: "refusal",
}

func (anthropicChat) whole(dst []byte, a *answer) []byte {
	dst = append(dst, `{"model":`...)
	dst = appendString(dst, a.model)
	dst = append(dst, `,"id":"msg_01`...)
	dst = appendID(dst, base62, 22, a.seed, drawID)
	dst = append(dst, `","type":"message","role":"assistant","content":[`...)
	switch {
	case a.tool != "":
		dst = a.appendToolUse(dst)
		for i := range a.tokens {
			if i == 0 {
				dst = append(dst, `"input":"`...)
			}
			dst = appendWord(dst, a.text, i)
		}
		if a.tokens > 0 {
			dst = append(dst, '"')
		}
		dst = append(dst, `}}`...)
	case a.tokens > 0:
		dst = append(dst, `{"type":"text","text":"`...)
		dst = appendText(dst, a.text, a.tokens)
		dst = append(dst, `"}`...)
	}
	dst = append(dst, `],`...)
	dst = a.appendStop(dst)
	dst = append(dst, `,"usage":`...)
	dst = a.appendAnthropicUsage(dst, a.tokens)
	return append(dst, `}`...)
}

// appendToolUse appends a block up to the opening brace of its input.
func (a *answer) appendToolUse(dst []byte) []byte {
	dst = append(dst, `{"type":"tool_use","id":"toolu_01`...)
	dst = appendID(dst, base62, 22, a.seed, drawID)
	dst = append(dst, `","name":`...)
	dst = appendString(dst, a.tool)
	return append(dst, `,"input":{`...)
}

func (a *answer) appendStop(dst []byte) []byte {
	dst = append(dst, `"stop_reason":"`...)
	dst = append(dst, anthropicEndings[a.ending]...)
	dst = append(dst, `","stop_sequence":null`...)
	if a.ending == endingFilter {
		dst = append(dst, `,"stop_details":{"type":"refusal","category":"general_harms","explanation":null}`...)
	}
	return dst
}

func (a *answer) appendAnthropicUsage(dst []byte, output int) []byte {
	dst = append(dst, `{"input_tokens":`...)
	dst = strconv.AppendInt(dst, int64(a.prompt-a.cached), 10)
	dst = append(dst, `,"cache_creation_input_tokens":0,"cache_read_input_tokens":`...)
	dst = strconv.AppendInt(dst, int64(a.cached), 10)
	dst = append(dst, `,"cache_creation":{"ephemeral_5m_input_tokens":0,"ephemeral_1h_input_tokens":0},"output_tokens":`...)
	dst = strconv.AppendInt(dst, int64(output), 10)
	return append(dst, `,"service_tier":"standard"}`...)
}

func (anthropicChat) open(dst []byte, a *answer) []byte {
	dst = append(dst, "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"model\":"...)
	dst = appendString(dst, a.model)
	dst = append(dst, `,"id":"msg_01`...)
	dst = appendID(dst, base62, 22, a.seed, drawID)
	dst = append(dst, `","type":"message","role":"assistant","content":[],"stop_reason":null,"stop_sequence":null,"usage":`...)
	dst = a.appendAnthropicUsage(dst, 1)
	dst = append(dst, "}}\n\n"...)
	if a.tool == "" && a.tokens == 0 {
		return dst // an answer without tokens has no block
	}
	dst = append(dst, "event: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":0,\"content_block\":"...)
	if a.tool == "" {
		dst = append(dst, `{"type":"text","text":""}`...)
	} else {
		dst = append(a.appendToolUse(dst), `}}`...)
	}
	return append(dst, "}\n\nevent: ping\ndata: {\"type\": \"ping\"}\n\n"...)
}

const (
	anthropicText  = "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\""
	anthropicInput = "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"input_json_delta\",\"partial_json\":\""
	anthropicClose = "\"}}\n\n"
)

func (anthropicChat) delta(dst []byte, a *answer, i int) []byte {
	if a.tool == "" {
		dst = append(dst, anthropicText...)
		dst = appendWord(dst, a.text, i)
	} else {
		dst = append(dst, anthropicInput...)
		dst = a.appendArgument(dst, i)
	}
	return append(dst, anthropicClose...)
}

func (anthropicChat) finish(dst []byte, a *answer) []byte {
	if a.tool != "" && a.tokens > 0 {
		dst = append(dst, anthropicInput...)
		dst = a.closeArguments(dst)
		dst = append(dst, anthropicClose...)
	}
	if a.tool != "" || a.tokens > 0 {
		dst = append(dst, "event: content_block_stop\ndata: {\"type\":\"content_block_stop\",\"index\":0}\n\n"...)
	}
	dst = append(dst, "event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{"...)
	dst = a.appendStop(dst)
	dst = append(dst, `},"usage":`...)
	dst = a.appendAnthropicUsage(dst, a.tokens)
	return append(dst, "}\n\n"...)
}

func (anthropicChat) end(dst []byte) []byte {
	return append(dst, "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n"...)
}

func (anthropicChat) broken(dst []byte, a *answer) []byte {
	dst = append(dst, "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\",\"message\":\"Overloaded\"},\"request_id\":\""...)
	dst = appendRequestID(dst, a.seed)
	return append(dst, "\"}\n\n"...)
}

// anthropicRefusals are the vendor's status, type and words for each refusal.
var anthropicRefusals = [refusalCount]struct {
	status        int
	kind, message string
}{
	refusedInvalid:     {400, "invalid_request_error", ""},
	refusedAuth:        {401, "authentication_error", "invalid x-api-key"},
	refusedPath:        {404, "not_found_error", "Not Found"},
	refusedMethod:      {405, "invalid_request_error", "Method Not Allowed"},
	refusedModel:       {404, "not_found_error", ""},
	refusedTooLarge:    {413, "request_too_large", "Request exceeds the maximum size"},
	refusedContext:     {400, "invalid_request_error", ""},
	refusedPolicy:      {400, "invalid_request_error", "Output blocked by content filtering policy"},
	refusedRate:        {429, "rate_limit_error", "This request would exceed your organization's rate limit of 4,000 requests per minute."},
	refusedQuota:       {429, "rate_limit_error", "You have reached your organization's monthly spend limit."},
	refusedServer:      {500, "api_error", "Internal server error"},
	refusedUnavailable: {503, "api_error", "Service Unavailable"},
	refusedJob:         {404, "not_found_error", "Not Found"},
	refusedOverloaded:  {529, "overloaded_error", "Overloaded"},
}

func anthropicRefuse(dst []byte, h http.Header, p problem, seed uint64) (int, []byte) {
	e := anthropicRefusals[p.refusal]
	anthropicCommon(h, seed)
	message := e.message
	if p.message != "" {
		message = p.message
	}
	switch p.refusal {
	case refusedInvalid, refusedAuth:
		h["X-Should-Retry"] = []string{"false"}
	case refusedModel:
		message = "model: " + p.model
	case refusedContext:
		message = "prompt is too long: " + strconv.Itoa(p.tokens) + " tokens > " + strconv.Itoa(p.limit) + " maximum"
	case refusedRate:
		h["Anthropic-Ratelimit-Requests-Limit"] = anthropicRequests
		h["Anthropic-Ratelimit-Requests-Remaining"] = none
		h["Anthropic-Ratelimit-Requests-Reset"] = []string{time.Now().UTC().Add(max(p.retryAfter, time.Second)).Format(time.RFC3339)}
	}
	dst = append(dst, `{"type":"error","error":{"type":`...)
	dst = appendString(dst, e.kind)
	dst = append(dst, `,"message":`...)
	dst = appendString(dst, message)
	if p.refusal == refusedQuota {
		dst = append(dst, `,"details":{"error_code":"enforced_spend_limit_reached"}`...)
	}
	dst = append(dst, `},"request_id":"`...)
	dst = appendRequestID(dst, seed)
	return e.status, append(dst, `"}`...)
}

func anthropicModels(dst []byte, names []string) []byte {
	dst = appendList(append(dst, `{"data":`...), names, anthropicModel)
	dst = append(dst, `,"has_more":false,"first_id":`...)
	if len(names) == 0 {
		return append(dst, `null,"last_id":null}`...)
	}
	dst = appendString(dst, names[0])
	dst = append(dst, `,"last_id":`...)
	dst = appendString(dst, names[len(names)-1])
	return append(dst, '}')
}

func anthropicModel(dst []byte, name string) []byte {
	dst = append(dst, `{"type":"model","id":`...)
	dst = appendString(dst, name)
	dst = append(dst, `,"display_name":`...)
	dst = appendString(dst, name)
	return append(dst, `,"created_at":"2025-10-15T00:00:00Z","lifecycle":"active","max_input_tokens":200000,"max_tokens":64000}`...)
}
