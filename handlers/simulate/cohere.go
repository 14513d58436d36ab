package simulate

import (
	"encoding/json"
	"net/http"
)

// cohereDialect is version 2 of Cohere's API.
var cohereDialect = dialect{
	segment: "cohere", route: cohereRoute, credential: bearer, sign: func(h http.Header, a *answer) { cohereCommon(h, a.seed) },
	refuse: cohereRefuse, models: cohereModels, model: cohereModel,
}

func cohereRoute(path string) endpoint {
	switch path {
	case "/v2/chat":
		return endpoint{format: cohereChat{}}
	case "/v2/embed":
		return endpoint{format: cohereEmbeddings{}}
	case "/v2/rerank":
		return endpoint{format: ranking{}}
	}
	return modelPath(path, "/v1/models")
}

func cohereCommon(h http.Header, seed uint64) {
	h["X-Debug-Trace-Id"] = []string{string(appendID(nil, hex, 24, seed, drawRequest))}
}

// cohereChat is the vendor's form of a conversation.
type cohereChat struct{}

func (cohereChat) parse(_ http.Header, body []byte) (request, *problem) {
	var in struct {
		Model     string            `json:"model"`
		Messages  []json.RawMessage `json:"messages"`
		Stream    bool              `json:"stream"`
		MaxTokens *int              `json:"max_tokens"`
		Tools     json.RawMessage   `json:"tools"`
		Choice    string            `json:"tool_choice"`
	}
	q := request{maxTokens: -1}
	if wrong := read(body, &in); wrong != nil {
		return q, wrong
	}
	switch {
	case in.Model == "":
		return q, invalid("model", "model is required.")
	case len(in.Messages) == 0:
		return q, invalid("messages", "invalid request: messages must not be empty.")
	case in.MaxTokens != nil:
		q.maxTokens = max(*in.MaxTokens, 0)
	}
	q.model, q.stream, q.prompt = in.Model, in.Stream, promptTokens(len(body))
	if in.Choice != "REQUIRED" {
		return q, nil
	}
	return q, q.choose(in.Tools, json.RawMessage(`"required"`), "tool_choice")
}

var cohereEndings = [...]string{
	endingStop: "COMPLETE", endingLength: "MAX_TOKENS", endingTool: "TOOL_CALL", endingFilter: "ERROR",
}

func (a *answer) cohereUsage(dst []byte) []byte {
	dst = appendCount(append(dst, `{"billed_units":{`...), "input_tokens", a.prompt)
	dst = appendCount(dst, "output_tokens", a.tokens)
	dst = appendCount(append(dst, `},"tokens":{`...), "input_tokens", a.prompt+66) // the vendor adds a preamble that it does not bill
	dst = append(appendCount(dst, "output_tokens", a.tokens), '}')
	return append(appendCount(dst, "cached_tokens", a.cached), '}')
}

func (a *answer) cohereCall(dst []byte) []byte {
	dst = appendID(append(dst, `{"id":"call_`...), base62, 12, a.seed, drawID)
	dst = appendString(append(dst, `","type":"function","function":{"name":`...), a.tool)
	return append(dst, `,"arguments":"`...)
}

func (cohereChat) whole(dst []byte, a *answer) []byte {
	dst = appendID(append(dst, `{"id":"`...), hex, 24, a.seed, drawID)
	dst = append(append(append(dst, `","finish_reason":"`...), cohereEndings[a.ending]...), `","message":{"role":"assistant",`...)
	if a.tool == "" {
		dst = append(a.appendWords(append(dst, `"content":[{"type":"text","text":`...)), `}]`...)
	} else {
		dst = a.arguments(a.cohereCall(append(dst, `"tool_plan":"I will call it.","tool_calls":[`...)))
		dst = append(dst, `"}}]`...)
	}
	return append(a.cohereUsage(append(dst, `},"usage":`...)), '}')
}

func (f cohereChat) piece(dst []byte, a *answer, p piece) []byte {
	switch p.kind {
	case pieceOpen:
		dst = appendID(append(dst, "event: message-start\ndata: {\"type\":\"message-start\",\"id\":\""...), hex, 24, a.seed, drawID)
		dst = append(dst, `","delta":{"message":{"role":"assistant","content":[],"tool_plan":"","tool_calls":[],"citations":[]}}}`+"\n\n"...)
		if a.tool == "" {
			dst = append(dst, "event: content-start\ndata: {\"type\":\"content-start\",\"index\":0,\"delta\":{\"message\":{\"content\":{\"type\":\"text\",\"text\":\"\"}}}"...)
		} else {
			dst = append(dst, "event: tool-call-start\ndata: {\"type\":\"tool-call-start\",\"index\":0,\"delta\":{\"message\":{\"tool_calls\":"...)
			dst = append(a.cohereCall(dst), `"}}}}`...)
		}
	case pieceDelta:
		if a.tool == "" {
			dst = append(dst, "event: content-delta\ndata: {\"type\":\"content-delta\",\"index\":0,\"delta\":{\"message\":{\"content\":{\"text\":"...)
			dst = append(a.appendWordString(dst, p.i), `}}}`...)
		} else {
			dst = append(a.appendArgument(append(dst, cohereArguments...), p.i), `"}}}}`...)
		}
	case pieceFinish:
		if a.tool == "" {
			dst = append(dst, "event: content-end\ndata: {\"type\":\"content-end\",\"index\":0"...)
		} else {
			dst = append(a.closeArguments(append(dst, cohereArguments...)), "\"}}}}}\n\n"...)
			dst = append(dst, "event: tool-call-end\ndata: {\"type\":\"tool-call-end\",\"index\":0"...)
		}
	case pieceEnd:
		dst = append(append(append(dst, cohereEnd...), cohereEndings[a.ending]...), `","usage":`...)
		return append(a.cohereUsage(dst), "}}\n\ndata: [DONE]\n\n"...)
	case pieceBroken:
		return append(append(dst, cohereEnd...), `ERROR","error":"the model failed","usage":{}}}`+"\n\ndata: [DONE]\n\n"...)
	}
	return append(dst, "}\n\n"...)
}

const (
	cohereArguments = "event: tool-call-delta\ndata: {\"type\":\"tool-call-delta\",\"index\":0,\"delta\":{\"message\":{\"tool_calls\":{\"function\":{\"arguments\":\""
	cohereEnd       = "event: message-end\ndata: {\"type\":\"message-end\",\"delta\":{\"finish_reason\":\""
)

// cohereEmbeddings are vectors of texts or pictures.
type cohereEmbeddings struct{}

func (cohereEmbeddings) parse(_ http.Header, body []byte) (request, *problem) {
	var in struct {
		Model      string   `json:"model"`
		Type       string   `json:"input_type"`
		Texts      texts    `json:"texts"`
		Images     texts    `json:"images"`
		Inputs     texts    `json:"inputs"`
		Dimensions int      `json:"output_dimension"`
		Forms      []string `json:"embedding_types"`
	}
	q := request{maxTokens: -1}
	if wrong := read(body, &in); wrong != nil {
		return q, wrong
	}
	q.inputs = in.Texts.n + in.Images.n + in.Inputs.n
	switch {
	case in.Model == "":
		return q, invalid("model", "model is required.")
	case in.Type == "":
		return q, invalid("input_type", "invalid request: valid input_type must be provided with the provided model.")
	case q.inputs == 0 || q.inputs > 96:
		return q, invalid("texts", "invalid request: total number of texts must be 1 to 96.")
	}
	q.model, q.limit, q.encoding = in.Model, in.Dimensions, "float"
	if len(in.Forms) > 0 {
		q.encoding = in.Forms[0]
	}
	q.prompt = promptTokens(in.Texts.bytes + in.Inputs.bytes)
	return q, nil
}

func (cohereEmbeddings) whole(dst []byte, a *answer) []byte {
	dims := dimensions(a.limit, 1536)
	dst = appendID(append(dst, `{"id":"`...), hex, 24, a.seed, drawID)
	dst = appendString(append(dst, `","embeddings":{`...), a.encoding)
	dst = appendItems(append(dst, ':'), a.inputs, func(dst []byte, i int) []byte {
		switch a.encoding {
		case "int8", "uint8", "binary", "ubinary":
			return a.appendBytes(dst, i, dims)
		case "base64":
			return appendPacked(dst, a.text, i, dims)
		}
		return appendVector(dst, a.text, i, dims)
	})
	dst = appendCount(append(dst, `},"meta":{"api_version":{"version":"2"},"billed_units":{`...), "input_tokens", a.prompt)
	return append(dst, "}}}"...)
}

// appendBytes appends the i-th vector as small whole numbers, of which the packed forms have one for eight dimensions.
func (a *answer) appendBytes(dst []byte, i, dims int) []byte {
	if a.encoding == "binary" || a.encoding == "ubinary" {
		dims /= 8
	}
	return appendItems(dst, dims, func(dst []byte, d int) []byte {
		n := int(127 * number(a.text, i, d))
		if a.encoding == "uint8" || a.encoding == "ubinary" {
			n += 128
		}
		return appendNumber(dst, n)
	})
}

// ranking is documents in order, as Cohere and Together ask for it. Together's usage is another.
type ranking struct{ tokens bool }

func (ranking) parse(_ http.Header, body []byte) (request, *problem) {
	var in struct {
		Model     string `json:"model"`
		Query     string `json:"query"`
		Documents texts  `json:"documents"`
		Top       int    `json:"top_n"`
	}
	q := request{maxTokens: -1}
	if wrong := read(body, &in); wrong != nil {
		return q, wrong
	}
	if in.Model == "" || in.Query == "" || in.Documents.n == 0 {
		return q, invalid("query", "invalid request: model, query and documents are required.")
	}
	q.model, q.inputs, q.limit, q.prompt = in.Model, in.Documents.n, in.Top, promptTokens(in.Documents.bytes)
	return q, nil
}

func (f ranking) whole(dst []byte, a *answer) []byte {
	dst = appendID(append(dst, `{"id":"`...), hex, 24, a.seed, drawID)
	dst = a.appendRanks(append(dst, `","results":`...))
	if f.tokens {
		dst = appendString(append(dst, `,"object":"rerank","model":`...), a.model)
		dst = appendCount(append(dst, `,"usage":{`...), "prompt_tokens", a.prompt)
		dst = appendCount(appendCount(dst, "completion_tokens", 0), "total_tokens", a.prompt)
		return append(dst, "}}"...)
	}
	dst = appendCount(append(dst, `,"meta":{"api_version":{"version":"2"},"billed_units":{`...), "search_units", (a.inputs+99)/100)
	return append(dst, "}}}"...)
}

var cohereRefusals = plainRefusals.but(map[refusal]wording{
	refusedAuth:    {401, "", "", "invalid api token"},
	refusedModel:   {404, "", "", "model '{model}' not found, make sure the correct model ID was used and that you have access to the model."},
	refusedContext: {400, "TOO_MANY_TOKENS", "", "too many tokens: total number of tokens in this prompt cannot exceed {limit} - received {tokens}."},
	refusedPolicy:  {498, "", "", "The request was blocked: it contains a deny-listed token."},
	refusedRate:    {429, "", "", "You are past the per minute request limit, please wait and try again later."},
	refusedQuota:   {402, "", "", "You have reached your billing limit."},
	refusedServer:  {500, "", "", "internal server error"},
})

func cohereRefuse(dst []byte, h http.Header, p problem, seed uint64) (int, []byte) {
	cohereCommon(h, seed)
	e := cohereRefusals.of(p)
	dst = appendID(append(dst, `{"id":"`...), hex, 24, seed, drawID)
	dst = appendString(append(dst, `","message":`...), e.message)
	if p.refusal == refusedContext {
		dst = appendString(append(dst, `,"error_type":`...), e.kind)
	}
	return e.status, append(dst, '}')
}

func cohereModels(dst []byte, names []string) []byte {
	return append(appendList(append(dst, `{"models":`...), names, cohereModel), '}')
}

func cohereModel(dst []byte, name string) []byte {
	return append(appendString(append(dst, `{"name":`...), name), `,"endpoints":["chat","embed","rerank"],"context_length":256000}`...)
}
