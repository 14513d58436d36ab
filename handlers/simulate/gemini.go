package simulate

import (
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
)

// geminiDialect is Google's Gemini API, in the form of AI Studio and in that of Vertex AI: the paths of both end alike.
var geminiDialect = dialect{
	segment: "gemini", route: geminiRoute, credential: geminiCredential, sign: func(h http.Header, _ *answer) { geminiCommon(h) },
	refuse: geminiRefuse, models: geminiModels, model: geminiModel,
}

func geminiRoute(path string) endpoint {
	name, verb, ok := strings.Cut(path[strings.LastIndexByte(path, '/')+1:], ":")
	if !ok {
		return modelPath(path, "/v1beta/models")
	}
	switch verb {
	case "generateContent":
		return endpoint{format: geminiChat{}, name: name}
	case "streamGenerateContent":
		return endpoint{format: geminiChat{}, name: name, stream: true}
	case "countTokens":
		return endpoint{format: geminiCount{}, name: name}
	case "embedContent", "batchEmbedContents":
		return endpoint{format: geminiEmbeddings{batch: verb != "embedContent"}, name: name}
	}
	return endpoint{}
}

func geminiCredential(h http.Header) string {
	if key := h.Get("X-Goog-Api-Key"); key != "" {
		return key
	}
	return bearer(h)
}

func geminiCommon(h http.Header) { h["Server"] = []string{"scaffolding on HTTPServer2"} }

// geminiChat is the vendor's form of a conversation.
type geminiChat struct{}

func (geminiChat) parse(_ http.Header, body []byte) (request, *problem) {
	var in struct {
		Contents   []json.RawMessage `json:"contents"`
		System     json.RawMessage   `json:"systemInstruction"`
		Generation struct {
			MaxTokens *int `json:"maxOutputTokens"`
		} `json:"generationConfig"`
		Tools []struct {
			Functions []struct {
				Name string `json:"name"`
			} `json:"functionDeclarations"`
		} `json:"tools"`
		ToolConfig struct {
			Calling struct {
				Mode    string   `json:"mode"`
				Allowed []string `json:"allowedFunctionNames"`
			} `json:"functionCallingConfig"`
		} `json:"toolConfig"`
	}
	q := request{maxTokens: -1}
	if wrong := read(body, &in); wrong != nil {
		return q, wrong
	}
	if len(in.Contents) == 0 {
		return q, invalid("contents", "* GenerateContentRequest.contents: contents is not specified")
	}
	if in.Generation.MaxTokens != nil {
		q.maxTokens = max(*in.Generation.MaxTokens, 0)
	}
	q.prompt = promptTokens(len(body))
	set := toolSet{required: in.ToolConfig.Calling.Mode == "ANY"}
	for _, t := range in.Tools {
		for _, f := range t.Functions {
			set.names = append(set.names, f.Name)
		}
	}
	if len(in.ToolConfig.Calling.Allowed) > 0 {
		set.named = in.ToolConfig.Calling.Allowed[0]
	}
	if q.tool = set.forced(); set.required && q.tool == "" {
		return q, invalid("tool_config", "Function calling config is set without function_declarations.")
	}
	return q, nil
}

var geminiEndings = [...]string{
	endingStop: "STOP", endingLength: "MAX_TOKENS", endingTool: "STOP", endingFilter: "SAFETY",
}

func (geminiChat) whole(dst []byte, a *answer) []byte {
	return a.geminiPart(append(dst, '{'), func(dst []byte) []byte {
		if a.tool == "" {
			return append(a.appendWords(append(dst, `{"text":`...)), '}')
		}
		return a.geminiCall(dst)
	}, true)
}

func (a *answer) geminiCall(dst []byte) []byte {
	dst = appendString(append(dst, `{"functionCall":{"name":`...), a.tool)
	dst = append(dst, `,"args":{`...)
	if a.tokens > 0 {
		dst = a.appendWords(append(dst, `"input":`...))
	}
	return append(dst, "}}}"...)
}

// geminiPart appends a response with one part, behind its brace. The last says why the answer ends.
func (a *answer) geminiPart(dst []byte, part func([]byte) []byte, last bool) []byte {
	dst = append(part(append(dst, `"candidates":[{"content":{"parts":[`...)), `],"role":"model"}`...)
	output := 0
	if last {
		output = a.tokens
		dst = append(append(append(dst, `,"finishReason":"`...), geminiEndings[a.ending]...), '"')
	}
	dst = appendCount(append(dst, `,"index":0}],"usageMetadata":{`...), "promptTokenCount", a.prompt)
	dst = appendCount(dst, "candidatesTokenCount", output)
	dst = appendCount(dst, "totalTokenCount", a.prompt+output)
	if a.cached > 0 {
		dst = appendCount(dst, "cachedContentTokenCount", a.cached)
	}
	dst = appendString(append(dst, `},"modelVersion":`...), a.model)
	dst = appendID(append(dst, `,"responseId":"`...), base62, 22, a.seed, drawID)
	return append(dst, `"}`...)
}

// piece has nothing that opens a stream, and its end is the response with the reason to stop.
func (geminiChat) piece(dst []byte, a *answer, p piece) []byte {
	const begin = "data: {"
	switch p.kind {
	case pieceDelta:
		if a.tool != "" { // calls come whole
			return dst
		}
		dst = a.geminiPart(append(dst, begin...), func(dst []byte) []byte {
			return append(a.appendWordString(append(dst, `{"text":`...), p.i), '}')
		}, false)
	case pieceEnd:
		dst = a.geminiPart(append(dst, begin...), func(dst []byte) []byte {
			if a.tool == "" {
				return append(dst, `{"text":""}`...)
			}
			return a.geminiCall(dst)
		}, true)
	case pieceBroken:
		dst = append(dst, begin+`"error":{"code":503,"message":"The model is overloaded. Please try again later.","status":"UNAVAILABLE"}}`...)
	default:
		return dst
	}
	return append(dst, "\r\n\r\n"...)
}

// geminiCount tells the length of a prompt.
type geminiCount struct{}

func (geminiCount) parse(_ http.Header, body []byte) (request, *problem) {
	var in map[string]json.RawMessage
	wrong := read(body, &in)
	return request{maxTokens: -1, prompt: promptTokens(len(body))}, wrong
}

func (geminiCount) whole(dst []byte, a *answer) []byte {
	return append(appendCount(append(dst, '{'), "totalTokens", a.prompt), '}')
}

// geminiEmbeddings are vectors of one content or of many.
type geminiEmbeddings struct{ batch bool }

func (f geminiEmbeddings) parse(_ http.Header, body []byte) (request, *problem) {
	type one struct {
		Content    json.RawMessage `json:"content"`
		Dimensions int             `json:"outputDimensionality"`
	}
	var in struct {
		one
		Requests []one `json:"requests"`
	}
	q := request{maxTokens: -1, prompt: promptTokens(len(body))}
	if wrong := read(body, &in); wrong != nil {
		return q, wrong
	}
	if !f.batch {
		in.Requests = []one{in.one}
	}
	for _, r := range in.Requests {
		if len(r.Content) == 0 {
			return q, invalid("content", "* EmbedContentRequest.content: contents is not specified")
		}
		q.limit = r.Dimensions
	}
	if q.inputs = len(in.Requests); q.inputs == 0 {
		return q, invalid("requests", "* BatchEmbedContentsRequest.requests: requests is not specified")
	}
	return q, nil
}

func (f geminiEmbeddings) whole(dst []byte, a *answer) []byte {
	dims := dimensions(a.limit, 768)
	if !f.batch {
		return append(appendVector(append(dst, `{"embedding":{"values":`...), a.text, 0, dims), "}}"...)
	}
	dst = appendItems(append(dst, `{"embeddings":`...), a.inputs, func(dst []byte, i int) []byte {
		return append(appendVector(append(dst, `{"values":`...), a.text, i, dims), '}')
	})
	return append(dst, '}')
}

// geminiRefusals are the vendor's words. What its filter says of a prompt is no error but an answer without candidates.
var geminiRefusals = plainRefusals.but(map[refusal]wording{
	refusedInvalid: {400, "INVALID_ARGUMENT", "", ""},
	refusedAuth:    {400, "INVALID_ARGUMENT", "API_KEY_INVALID", "API key not valid. Please pass a valid API key."},
	refusedModel:   {404, "NOT_FOUND", "", "models/{model} is not found for API version v1beta, or is not supported for generateContent."},
	refusedContext: {400, "INVALID_ARGUMENT", "", "The input token count ({tokens}) exceeds the maximum number of tokens allowed ({limit})."},
	refusedPolicy:  {200, "", "", ""},
	refusedRate:    {429, "RESOURCE_EXHAUSTED", "GenerateRequestsPerMinutePerProjectPerModel", "You exceeded your current quota."},
	refusedQuota:   {429, "RESOURCE_EXHAUSTED", "GenerateRequestsPerDayPerProjectPerModel", "You exceeded your current quota, please check your plan and billing details."},
	refusedServer:  {500, "INTERNAL", "", "An internal error has occurred."},
})

func geminiRefuse(dst []byte, h http.Header, p problem, seed uint64) (int, []byte) {
	geminiCommon(h)
	e := geminiRefusals.of(p)
	if p.refusal == refusedPolicy {
		dst = append(dst, `{"promptFeedback":{"blockReason":"PROHIBITED_CONTENT"},"usageMetadata":{`...)
		dst = appendCount(appendCount(dst, "promptTokenCount", p.tokens), "totalTokenCount", p.tokens)
		dst = appendID(append(dst, `},"responseId":"`...), base62, 22, seed, drawID)
		return e.status, append(dst, `"}`...)
	}
	dst = appendCount(append(dst, `{"error":{`...), "code", e.status)
	dst = appendString(append(dst, `,"message":`...), e.message)
	dst = appendString(append(dst, `,"status":`...), e.kind)
	switch p.refusal {
	case refusedAuth:
		dst = appendString(append(dst, `,"details":[{"@type":"type.googleapis.com/google.rpc.ErrorInfo","reason":`...), e.code)
		dst = append(dst, `,"domain":"googleapis.com"}]`...)
	case refusedRate, refusedQuota:
		dst = appendString(append(dst, `,"details":[{"@type":"type.googleapis.com/google.rpc.QuotaFailure","violations":[{"quotaId":`...), e.code)
		dst = append(dst, `}]}`...)
		if p.retryAfter > 0 {
			dst = append(dst, `,{"@type":"type.googleapis.com/google.rpc.RetryInfo","retryDelay":"`...)
			dst = append(strconv.AppendInt(dst, seconds(p.retryAfter), 10), `s"}`...)
		}
		dst = append(dst, ']')
	}
	return e.status, append(dst, "}}"...)
}

func geminiModels(dst []byte, names []string) []byte {
	return append(appendList(append(dst, `{"models":`...), names, geminiModel), '}')
}

func geminiModel(dst []byte, name string) []byte {
	dst = appendString(append(dst, `{"name":`...), "models/"+name)
	dst = appendString(append(dst, `,"displayName":`...), name)
	return append(dst, `,"inputTokenLimit":1048576,"outputTokenLimit":65536,"supportedGenerationMethods":["generateContent","countTokens"]}`...)
}
