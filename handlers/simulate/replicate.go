package simulate

import (
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// replicateDialect is Replicate's API, where all work is a job. Models with "image", "flux", "sd" or "diffusion" in their
// names make pictures, all others texts.
var replicateDialect = dialect{
	segment: "replicate", route: replicateRoute, credential: replicateCredential, sign: func(h http.Header, _ *answer) { replicateCommon(h) },
	refuse: replicateRefuse, models: replicateModels, model: replicateModel,
}

func replicateRoute(path string) endpoint {
	rest, ok := strings.CutPrefix(path, "/v1")
	switch {
	case !ok:
		return endpoint{}
	case rest == "/predictions":
		return endpoint{format: prediction{}, job: jobCreate}
	case rest == "/account": // what clients ask to see whether the key is good
		return endpoint{list: true, fixed: `{"type":"organization","username":"simulator","name":"Simulator"}`}
	}
	for _, prefix := range []string{"/models/", "/deployments/"} {
		if model, ok := strings.CutPrefix(rest, prefix); ok {
			if name, ok := strings.CutSuffix(model, "/predictions"); ok && name != "" {
				return endpoint{format: prediction{}, job: jobCreate, name: name}
			}
			return modelPath(rest, "/models")
		}
	}
	if id, ok := strings.CutPrefix(rest, "/streams/"); ok && id != "" {
		return endpoint{format: predictionStream{}, job: jobFollow, name: id, stream: true}
	}
	id, ok := strings.CutPrefix(rest, "/predictions/")
	if name, cancel := strings.CutSuffix(id, "/cancel"); ok && cancel {
		return endpoint{format: predictionAgain{}, job: jobCancel, name: name}
	}
	if !ok || id == "" {
		return modelPath(rest, "/models")
	}
	return endpoint{format: predictionAgain{}, job: jobPoll, name: id}
}

func replicateCredential(h http.Header) string {
	if token, ok := strings.CutPrefix(h.Get("Authorization"), "Token "); ok {
		return strings.TrimSpace(token)
	}
	return bearer(h)
}

func replicateCommon(h http.Header) {
	h["Ratelimit-Remaining"] = []string{"599"}
	h["Ratelimit-Reset"] = []string{"1"}
}

// prediction begins a job.
type prediction struct{}

func (prediction) parse(_ http.Header, body []byte) (request, *problem) {
	var in struct {
		Version string                     `json:"version"`
		Input   map[string]json.RawMessage `json:"input"`
	}
	q := request{maxTokens: -1}
	if wrong := read(body, &in); wrong != nil {
		return q, wrong
	}
	if in.Input == nil {
		return q, invalid("input", "- input is required\n")
	}
	for _, name := range []string{"max_tokens", "max_new_tokens", "max_completion_tokens"} {
		if n, err := strconv.Atoi(string(in.Input[name])); err == nil && n > 0 {
			q.maxTokens = n
		}
	}
	var outputs int
	if json.Unmarshal(in.Input["num_outputs"], &outputs) != nil || outputs < 1 || outputs > 8 {
		outputs = 1
	}
	q.model, q.inputs, q.prompt = in.Version, outputs, promptTokens(length(in.Input))
	return q, nil
}

func (prediction) whole(dst []byte, a *answer) []byte { return a.prediction(dst) }

// predictionAgain is a job at a later time.
type predictionAgain struct{}

func (predictionAgain) parse(http.Header, []byte) (request, *problem) {
	return request{maxTokens: -1}, nil
}

func (predictionAgain) whole(dst []byte, a *answer) []byte { return a.prediction(dst) }

var replicateStates = [...]string{
	jobQueued: "starting", jobRunning: "processing", jobSucceeded: "succeeded", jobFailed: "failed", jobCancelled: "canceled",
}

// pictorial reports whether the answer is pictures.
func (a *answer) pictorial() bool {
	name := strings.ToLower(a.model)
	for _, word := range []string{"image", "flux", "sd", "diffusion"} {
		if strings.Contains(name, word) {
			return true
		}
	}
	return false
}

func (a *answer) prediction(dst []byte) []byte {
	j := a.job
	dst = appendString(append(dst, `{"id":`...), j.id)
	dst = appendString(append(dst, `,"model":`...), a.model)
	dst = append(dst, `,"version":"hidden","input":{},"logs":"","data_removed":false,"output":`...)
	switch {
	case j.state != jobSucceeded:
		dst = append(dst, `null`...)
	case a.pictorial():
		dst = appendItems(dst, a.inputs, func(dst []byte, i int) []byte {
			return appendString(dst, "https://replicate.delivery/sim/"+j.id+"/"+strconv.Itoa(i)+".png")
		})
	default:
		dst = appendItems(dst, a.tokens, a.appendWordString)
	}
	dst = appendNullable(append(dst, `,"error":`...), j.why)
	dst = append(append(append(dst, `,"status":"`...), replicateStates[j.state]...), `","created_at":`...)
	dst = appendTime(dst, j.created)
	dst = appendTime(append(dst, `,"completed_at":`...), j.completed)
	if j.state.done() {
		dst = strconv.AppendFloat(append(dst, `,"metrics":{"predict_time":`...), j.ran.Seconds(), 'f', 3, 64)
		if !a.pictorial() {
			dst = appendCount(appendCount(dst, "input_token_count", a.prompt), "output_token_count", a.tokens)
		}
		dst = append(dst, '}')
	}
	base := a.base + "/v1/predictions/" + j.id
	dst = appendString(append(dst, `,"urls":{"get":`...), base)
	dst = appendString(append(dst, `,"cancel":`...), base+"/cancel")
	if !a.pictorial() {
		dst = appendString(append(dst, `,"stream":`...), a.base+"/v1/streams/"+j.id)
	}
	return append(dst, "}}"...)
}

// appendTime appends a time as a JSON string, or null for none.
func appendTime(dst []byte, t time.Time) []byte {
	if t.IsZero() {
		return append(dst, `null`...)
	}
	return append(t.UTC().AppendFormat(append(dst, '"'), "2006-01-02T15:04:05.000Z"), '"')
}

// predictionStream is what a job says while it runs. Its data is text and not JSON.
type predictionStream struct{ predictionAgain }

func (predictionStream) piece(dst []byte, a *answer, p piece) []byte {
	switch p.kind {
	case pieceOpen:
		return append(dst, ": hi\n\n"...)
	case pieceDelta:
		return append(appendWord(append(dst, "event: output\ndata: "...), a.text, p.i), "\n\n"...)
	case pieceEnd:
		return append(dst, "event: done\ndata: {}\n\n"...)
	case pieceBroken:
		return append(dst, "event: error\ndata: {\"detail\":\"Prediction failed: the model crashed.\"}\n\nevent: done\ndata: {\"reason\":\"error\"}\n\n"...)
	}
	return dst
}

var replicateRefusals = plainRefusals.but(map[refusal]wording{
	refusedInvalid: {422, "Input validation failed", "", ""},
	refusedAuth:    {401, "Unauthenticated", "", "You did not pass a valid authentication token"},
	refusedModel:   {404, "Not Found", "", "The model {model} could not be found."},
	refusedJob:     {404, "Not Found", "", "Prediction not found"},
	refusedContext: {422, "Input validation failed", "", "The prompt has {tokens} tokens, which exceeds the context length of {limit}."},
	refusedRate:    {429, "", "", "Request was throttled. Your rate limit resets in ~1s."},
	refusedQuota:   {402, "Insufficient credit", "", "You have insufficient credit to run this model."},
})

func replicateRefuse(dst []byte, h http.Header, p problem, _ uint64) (int, []byte) {
	replicateCommon(h)
	e := replicateRefusals.of(p)
	dst = appendString(append(dst, `{"title":`...), e.kind)
	dst = appendString(append(dst, `,"detail":`...), e.message)
	return e.status, append(appendCount(dst, "status", e.status), '}')
}

func replicateModels(dst []byte, names []string) []byte {
	return append(appendList(append(dst, `{"type":"organization","username":"simulator","next":null,"previous":null,"results":`...), names, replicateModel), '}')
}

func replicateModel(dst []byte, name string) []byte {
	owner, short, _ := strings.Cut(name, "/")
	dst = appendString(append(dst, `{"owner":`...), owner)
	return append(appendString(append(dst, `,"name":`...), short), `,"visibility":"public"}`...)
}
