package simulate

import (
	"encoding/json"
	"net/http"
	"strconv"
)

// The operations of OpenAI's API that are not conversations.

// openaiEmbeddings are vectors of texts.
type openaiEmbeddings struct{}

func (openaiEmbeddings) parse(_ http.Header, body []byte) (request, *problem) {
	var in struct {
		Model      string `json:"model"`
		Input      *texts `json:"input"`
		Dimensions int    `json:"dimensions"`
		Encoding   string `json:"encoding_format"`
	}
	q := request{maxTokens: -1}
	if wrong := read(body, &in); wrong != nil {
		return q, wrong
	}
	if in.Input == nil || in.Input.n == 0 {
		return q, invalidCode("input", "missing_required_parameter", "Missing required parameter: 'input'.")
	}
	q.model, q.inputs, q.limit, q.encoding, q.prompt = in.Model, in.Input.n, in.Dimensions, in.Encoding, promptTokens(in.Input.bytes)
	return q, nil
}

func (openaiEmbeddings) whole(dst []byte, a *answer) []byte {
	dims := dimensions(a.limit, 1536)
	dst = appendItems(append(dst, `{"object":"list","data":`...), a.inputs, func(dst []byte, i int) []byte {
		dst = appendCount(append(dst, `{"object":"embedding"`...), "index", i)
		dst = append(dst, `,"embedding":`...)
		if a.encoding == "base64" {
			return append(appendPacked(dst, a.text, i, dims), '}')
		}
		return append(appendVector(dst, a.text, i, dims), '}')
	})
	dst = appendString(append(dst, `,"model":`...), a.model)
	dst = appendCount(append(dst, `,"usage":{`...), "prompt_tokens", a.prompt)
	return append(appendCount(dst, "total_tokens", a.prompt), "}}"...)
}

// openaiImages are pictures, new ones or changed ones.
type openaiImages struct{}

func (openaiImages) parse(h http.Header, body []byte) (request, *problem) {
	var in struct {
		Model  string `json:"model"`
		Prompt string `json:"prompt"`
		N      int    `json:"n"`
		Format string `json:"response_format"`
	}
	q := request{maxTokens: -1}
	if fields, _, wrong := readForm(h, body); wrong == nil {
		in.Model, in.Prompt, in.Format = fields["model"], fields["prompt"], fields["response_format"]
		in.N, _ = strconv.Atoi(fields["n"]) // none is one
	} else if wrong := read(body, &in); wrong != nil {
		return q, wrong
	}
	switch {
	case in.Prompt == "":
		return q, invalidCode("prompt", "missing_required_parameter", "Missing required parameter: 'prompt'.")
	case in.N < 0 || in.N > 10:
		return q, invalidCode("n", "integer_out_of_range", "Invalid 'n': expected 1 to 10.")
	case in.Model == "":
		in.Model = "gpt-image-1"
	}
	q.model, q.inputs, q.encoding, q.prompt = in.Model, max(in.N, 1), in.Format, promptTokens(len(in.Prompt))
	return q, nil
}

// pictureTokens is what a picture of 1024 by 1024 pixels counts for.
const pictureTokens = 1056

func (openaiImages) whole(dst []byte, a *answer) []byte {
	dst = appendCount(append(dst, '{'), "created", int(a.created.Unix()))
	dst = appendItems(append(dst, `,"data":`...), a.inputs, func(dst []byte, i int) []byte {
		if a.encoding == "url" {
			return append(appendString(append(dst, `{"url":`...), "https://images.example/"+strconv.Itoa(i)+".png"), '}')
		}
		return append(appendBase64(append(dst, `{"b64_json":`...), picture), '}')
	})
	dst = appendCount(append(dst, `,"usage":{`...), "input_tokens", a.prompt)
	dst = appendCount(dst, "output_tokens", a.inputs*pictureTokens)
	dst = appendCount(dst, "total_tokens", a.prompt+a.inputs*pictureTokens)
	dst = appendCount(append(dst, `,"input_tokens_details":{`...), "text_tokens", a.prompt)
	return append(appendCount(dst, "image_tokens", 0), "}}}"...)
}

// openaiSpeech is a spoken text.
type openaiSpeech struct{}

func (openaiSpeech) parse(_ http.Header, body []byte) (request, *problem) {
	var in struct {
		Model string          `json:"model"`
		Input string          `json:"input"`
		Voice json.RawMessage `json:"voice"`
	}
	q := request{maxTokens: -1}
	if wrong := read(body, &in); wrong != nil {
		return q, wrong
	}
	if in.Input == "" || len(in.Voice) == 0 {
		return q, invalidCode("input", "missing_required_parameter", "Missing required parameter: 'input' or 'voice'.")
	}
	q.model, q.prompt = in.Model, promptTokens(len(in.Input))
	return q, nil
}

func (openaiSpeech) whole(dst []byte, a *answer) []byte { return appendSound(dst, a.prompt) }

// contentType is that of the only form of sound that the simulator makes, whatever was asked for.
func (openaiSpeech) contentType(*answer) string { return "audio/wav" }

// openaiTranscripts are the words of a recording.
type openaiTranscripts struct{}

func (openaiTranscripts) parse(h http.Header, body []byte) (request, *problem) {
	q := request{maxTokens: -1}
	fields, files, wrong := readForm(h, body)
	if wrong != nil {
		return q, wrong
	}
	_, sent := files["file"]
	if !sent && fields["file"] == "" {
		return q, invalidCode("file", "missing_required_parameter", "Missing required parameter: 'file'.")
	}
	if fields["stream"] == "true" {
		return q, invalidCode("stream", "unsupported_value", "Unsupported value: 'stream': the simulator transcribes at once.")
	}
	q.model, q.encoding, q.prompt = fields["model"], fields["response_format"], promptTokens(files["file"])
	return q, nil
}

func (openaiTranscripts) whole(dst []byte, a *answer) []byte {
	switch a.encoding {
	case "text", "srt", "vtt":
		return append(appendText(dst, a.text, a.tokens), '\n')
	}
	dst = a.appendWords(append(dst, `{"text":`...))
	seconds := max(1, a.tokens/3)
	if a.encoding == "verbose_json" {
		dst = appendCount(append(dst, `,"task":"transcribe","language":"english"`...), "duration", seconds)
		dst = appendCount(append(dst, `,"segments":[{"id":0,"start":0`...), "end", seconds)
		dst = append(a.appendWords(append(dst, `,"text":`...)), "}]"...)
	}
	return append(appendCount(append(dst, `,"usage":{"type":"duration"`...), "seconds", seconds), "}}"...)
}

func (openaiTranscripts) contentType(a *answer) string {
	switch a.encoding {
	case "text", "srt", "vtt":
		return "text/plain; charset=utf-8"
	}
	return typeJSON[0]
}

// openaiModerations are verdicts on texts: all are harmless, but under the fault filter.
type openaiModerations struct{}

func (openaiModerations) parse(h http.Header, body []byte) (request, *problem) {
	var in struct {
		Model string `json:"model"`
	}
	if wrong := read(body, &in); wrong != nil {
		return request{}, wrong
	}
	var all map[string]json.RawMessage
	if wrong := read(body, &all); wrong != nil {
		return request{}, wrong
	}
	var inputs texts
	if wrong := read(all["input"], &inputs); wrong != nil || inputs.n == 0 {
		return request{}, invalidCode("input", "missing_required_parameter", "Missing required parameter: 'input'.")
	}
	if in.Model == "" {
		in.Model = "omni-moderation-latest"
	}
	return request{model: in.Model, maxTokens: -1, inputs: inputs.n, prompt: promptTokens(inputs.bytes)}, nil
}

func (openaiModerations) whole(dst []byte, a *answer) []byte {
	dst = appendID(append(dst, `{"id":"modr-`...), base62, 24, a.seed, drawID)
	dst = appendString(append(dst, `","model":`...), a.model)
	verdict := `{"flagged":false,"categories":{"violence":false,"harassment":false},"category_scores":{"violence":0.0003,"harassment":0.0001}}`
	if a.ending == endingFilter {
		verdict = `{"flagged":true,"categories":{"violence":true,"harassment":false},"category_scores":{"violence":0.97,"harassment":0.0001}}`
	}
	dst = appendItems(append(dst, `,"results":`...), a.inputs, func(dst []byte, _ int) []byte { return append(dst, verdict...) })
	return append(dst, '}')
}
