package simulate

import (
	"net/http"
	"strings"
)

// stabilityDialect is the part of Stability's API that makes pictures at once.
var stabilityDialect = dialect{
	segment: "stability", route: stabilityRoute, credential: bearer, sign: stabilitySign, refuse: stabilityRefuse,
	models: stabilityModels, model: stabilityModel,
}

func stabilityRoute(path string) endpoint {
	for _, what := range []string{"generate", "edit", "control", "upscale"} {
		if name, ok := strings.CutPrefix(path, "/v2beta/stable-image/"+what+"/"); ok && name != "" && !strings.Contains(name, "/") {
			return endpoint{format: stabilityImage{}, name: name}
		}
	}
	switch path {
	case "/v1/engines/list":
		return endpoint{list: true}
	case "/v1/user/balance":
		return endpoint{list: true, fixed: `{"credits":1000}`}
	}
	return endpoint{}
}

// stabilityImage is one picture, in JSON or as it is.
type stabilityImage struct{}

func (stabilityImage) parse(h http.Header, body []byte) (request, *problem) {
	q := request{maxTokens: -1, inputs: 1}
	fields, files, wrong := readForm(h, body)
	if wrong != nil {
		return q, wrong
	}
	if fields["prompt"] == "" && files["image"] == 0 {
		return q, invalid("prompt", "prompt: is required")
	}
	q.model, q.prompt, q.encoding = fields["model"], promptTokens(len(fields["prompt"])), "image/png"
	if strings.Contains(h.Get("Accept"), "json") {
		q.encoding = ""
	}
	return q, nil
}

func (f stabilityImage) whole(dst []byte, a *answer) []byte {
	if a.encoding != "" {
		return append(dst, picture...)
	}
	dst = appendBase64(append(dst, `{"image":`...), picture)
	dst = append(append(append(dst, `,"finish_reason":"`...), a.stabilityEnding()...), '"')
	return append(appendCount(dst, "seed", int(a.text%4294967294)+1), '}')
}

func (a *answer) stabilityEnding() string {
	if a.ending == endingFilter {
		return "CONTENT_FILTERED"
	}
	return "SUCCESS"
}

func (stabilityImage) contentType(a *answer) string {
	if a.encoding != "" {
		return a.encoding
	}
	return "application/json; type=image/png"
}

func stabilitySign(h http.Header, a *answer) {
	h["X-Request-Id"] = []string{string(appendID(nil, hex, 24, a.seed, drawRequest))}
	h["Finish-Reason"] = []string{a.stabilityEnding()}
	h["Seed"] = []string{string(appendNumber(nil, int(a.text%4294967294)+1))}
}

var stabilityRefusals = plainRefusals.but(map[refusal]wording{
	refusedInvalid: {400, "bad_request", "", ""},
	refusedAuth:    {401, "unauthorized", "", "authorization: invalid or missing header value"},
	refusedModel:   {404, "not_found", "", "The specified model was not found."},
	refusedContext: {400, "bad_request", "", "prompt: cannot be longer than 10000 characters"},
	refusedPolicy:  {403, "content_moderation", "", "Your request was flagged by our content moderation system."},
	refusedRate:    {429, "rate_limit_exceeded", "", "You have exceeded the rate limit of 150 requests within a 10 second period, and have been timed out for 60 seconds."},
	refusedQuota:   {402, "payment_required", "", "You lack sufficient credits to make this request."},
	refusedServer:  {500, "internal_error", "", "An unexpected internal error occurred."},
})

func stabilityRefuse(dst []byte, h http.Header, p problem, seed uint64) (int, []byte) {
	e := stabilityRefusals.of(p)
	dst = appendID(append(dst, `{"id":"`...), hex, 24, seed, drawRequest)
	dst = appendString(append(dst, `","name":`...), e.kind)
	return e.status, append(appendString(append(dst, `,"errors":[`...), e.message), "]}"...)
}

func stabilityModels(dst []byte, names []string) []byte {
	return appendList(dst, names, stabilityModel)
}

func stabilityModel(dst []byte, name string) []byte {
	dst = appendString(append(dst, `{"id":`...), name)
	return append(appendString(append(dst, `,"name":`...), name), `,"description":"","type":"PICTURE"}`...)
}
