package simulate

import "net/http"

// ai21Dialect is AI21's API, a copy of OpenAI's form of conversations with errors of its own.
var ai21Dialect = dialect{
	segment: "ai21", route: ai21Route, credential: bearer, sign: openaiSign, refuse: ai21Refuse, models: openaiModels, model: openaiModel,
}

func ai21Route(path string) endpoint {
	if path == "/studio/v1/chat/completions" {
		return endpoint{format: ai21Chat{openaiChat{usageAtEnd: true}}}
	}
	return modelPath(path, "/studio/v1/models")
}

// ai21Chat does not stream when there are tools.
type ai21Chat struct{ openaiChat }

func (f ai21Chat) parse(h http.Header, body []byte) (request, *problem) {
	q, wrong := f.openaiChat.parse(h, body)
	if wrong == nil && q.stream && q.tool != "" {
		wrong = invalid("stream", "Streaming is not supported with tools.")
	}
	return q, wrong
}

var ai21Refusals = plainRefusals.but(map[refusal]wording{
	refusedAuth:    {401, "", "", "Forbidden: Bad or missing API token."},
	refusedContext: {422, "", "", "Prompt is too long: {tokens} tokens, the context length of the model is {limit}."},
	refusedQuota:   {403, "", "", "Trial credit used up."},
})

func ai21Refuse(dst []byte, _ http.Header, p problem, _ uint64) (int, []byte) {
	e := ai21Refusals.of(p)
	return e.status, append(appendString(append(dst, `{"detail":`...), e.message), '}')
}
