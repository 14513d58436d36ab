package simulate

import (
	"encoding/json"
	"net/http"
	"strings"
)

// huggingfaceDialect is the router of Hugging Face, and its own back end for vectors.
var huggingfaceDialect = dialect{
	segment: "huggingface", route: huggingfaceRoute, credential: bearer, sign: openaiSign, refuse: huggingfaceRefuse,
	models: openaiModels, model: openaiModel,
}

func huggingfaceRoute(path string) endpoint {
	if path == "/v1/chat/completions" {
		return endpoint{format: openaiChat{}}
	}
	if name, ok := strings.CutPrefix(path, "/hf-inference/models/"); ok {
		if name, ok = strings.CutSuffix(name, "/pipeline/feature-extraction"); ok && name != "" {
			return endpoint{format: featureExtraction{}, name: name}
		}
		return endpoint{}
	}
	return modelPath(path, "/v1/models")
}

// featureExtraction is vectors without anything around them: one for a text, a list for a list.
type featureExtraction struct{}

func (featureExtraction) parse(_ http.Header, body []byte) (request, *problem) {
	var in struct {
		Inputs json.RawMessage `json:"inputs"`
	}
	q := request{maxTokens: -1}
	if wrong := read(body, &in); wrong != nil {
		return q, wrong
	}
	var inputs texts
	if len(in.Inputs) == 0 || read(in.Inputs, &inputs) != nil || inputs.n == 0 {
		return q, invalid("inputs", "inputs: field required")
	}
	q.inputs, q.prompt = inputs.n, promptTokens(inputs.bytes)
	if in.Inputs[0] != '[' {
		q.kind = "one"
	}
	return q, nil
}

func (featureExtraction) whole(dst []byte, a *answer) []byte {
	const dims = 384
	if a.kind == "one" {
		return appendVector(dst, a.text, 0, dims)
	}
	return appendItems(dst, a.inputs, func(dst []byte, i int) []byte { return appendVector(dst, a.text, i, dims) })
}

var huggingfaceRefusals = plainRefusals.but(map[refusal]wording{
	refusedAuth:    {401, "", "", "Invalid username or password."},
	refusedModel:   {400, "invalid_request_error", "model_not_supported", "The requested model '{model}' is not supported by any provider you have enabled."},
	refusedContext: {400, "", "context_length_exceeded", "This model's maximum context length is {limit} tokens. However, you requested {tokens} tokens."},
	refusedRate:    {429, "", "", "You have reached your rate limit."},
	refusedQuota:   {402, "", "", "You have exceeded your monthly included credits for Inference Providers."},
})

// huggingfaceRefuse answers as the router does, which has the words in a text, or in an object where there is a code.
func huggingfaceRefuse(dst []byte, _ http.Header, p problem, _ uint64) (int, []byte) {
	e := huggingfaceRefusals.of(p)
	if e.code != "" {
		return huggingfaceRefusals.likeOpenAI(dst, p)
	}
	return e.status, append(appendString(append(dst, `{"error":`...), e.message), '}')
}
