package gemini

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"github.com/sira-ai/sira/handlers/provider"
	"github.com/sira-ai/sira/handlers/provider/wire"
	"github.com/sira-ai/sira/schemas"
	"github.com/sira-ai/sira/schemas/jsontext"
)

// tasks are the vendor's words for what vectors are for.
var tasks = map[string]string{
	"": "", "query": "RETRIEVAL_QUERY", "document": "RETRIEVAL_DOCUMENT", "classification": "CLASSIFICATION",
	"clustering": "CLUSTERING", "similarity": "SEMANTIC_SIMILARITY",
}

// predicted reports whether a model at Vertex AI embeds by predict. The newer
// ones have embedContent only.
func predicted(model string) bool {
	return !strings.Contains(model, "gemini-embedding-2")
}

// embed asks for vectors: AI Studio by batchEmbedContents, Vertex AI by predict
// or, one input at a time, embedContent.
func (a *adapter) embed(ctx context.Context, call provider.Call) (*http.Request, error) {
	e := call.Request.Embed
	task, known := tasks[e.Task]
	if !known {
		task = e.Task // the vendor's own word
	}
	if e.Encoding != "" && e.Encoding != "float" {
		return nil, wire.Unsupported("embed.encoding", "is not float")
	}
	w := writer{a: a, model: call.Model, req: call.Request, b: []byte{'{'}}
	verb := "batchEmbedContents"
	var err error
	switch {
	case !a.vertex:
		err = w.embedBatch(e, task)
	case predicted(call.Model):
		verb = "predict"
		err = w.embedPredict(e, task)
	case len(e.Inputs) > 1:
		return nil, wire.Unsupported("embed.inputs", "has more than one entry: this model takes one at a time")
	default:
		verb = "embedContent"
		err = w.embedOne(&e.Inputs[0], 0)
		w.embedOptions(e, task)
	}
	if err != nil {
		return nil, err
	}
	body := append(w.b, '}')
	if ext := call.Request.Ext[vendor]; len(ext) > 0 {
		if body, err = overlay(body, ext); err != nil {
			return nil, err
		}
	}
	return a.post(ctx, a.method(call.Model, verb), call, body), nil
}

func (w *writer) embedBatch(e *schemas.EmbedSpec, task string) error {
	w.b = append(jsontext.AppendField(w.b, "requests"), '[')
	for i := range e.Inputs {
		w.b = append(jsontext.AppendItem(w.b), '{')
		w.b = jsontext.AppendStringField(w.b, "model", w.a.resource(w.model))
		if err := w.embedOne(&e.Inputs[i], i); err != nil {
			return err
		}
		w.embedOptions(e, task)
		w.b = append(w.b, '}')
	}
	w.b = append(w.b, ']')
	return nil
}

func (w *writer) embedOptions(e *schemas.EmbedSpec, task string) {
	w.b = jsontext.AppendStringField(w.b, "taskType", task)
	w.b = jsontext.AppendIntField(w.b, "outputDimensionality", e.Dimensions)
	if w.a.vertex && e.Truncate != "" {
		w.b = append(jsontext.AppendField(w.b, "autoTruncate"), strconv.FormatBool(e.Truncate != "none")...)
	}
}

// embedOne appends an input as content.
func (w *writer) embedOne(p *schemas.Part, i int) error {
	w.b = append(jsontext.AppendField(w.b, "content"), `{"parts":[`...)
	if why := w.part(p, ""); why != "" {
		return wire.Unsupported(fmt.Sprintf("embed.inputs[%d]", i), why)
	}
	w.b = append(w.b, "]}"...)
	return nil
}

func (w *writer) embedPredict(e *schemas.EmbedSpec, task string) error {
	w.b = append(jsontext.AppendField(w.b, "instances"), '[')
	for i := range e.Inputs {
		if e.Inputs[i].Kind != schemas.PartText {
			return wire.Unsupported(fmt.Sprintf("embed.inputs[%d]", i), "is not text")
		}
		w.b = jsontext.AppendString(append(jsontext.AppendItem(w.b), `{"content":`...), e.Inputs[i].Text)
		w.b = append(jsontext.AppendStringField(w.b, "task_type", task), '}')
	}
	w.b = append(w.b, ']')
	if e.Dimensions != nil || e.Truncate != "" {
		w.b = append(jsontext.AppendField(w.b, "parameters"), '{')
		w.b = jsontext.AppendIntField(w.b, "outputDimensionality", e.Dimensions)
		if e.Truncate != "" {
			w.b = append(jsontext.AppendField(w.b, "autoTruncate"), strconv.FormatBool(e.Truncate != "none")...)
		}
		w.b = append(w.b, '}')
	}
	return nil
}

// vector is a list of numbers and what is said of it.
type vector struct {
	Values     []float32 `json:"values"`
	Statistics struct {
		Tokens jsontext.Count `json:"token_count"`
	} `json:"statistics"`
}

// embedded reads the answers of all the ways to embed.
func (a *adapter) embedded(res *http.Response, req *schemas.Request) (*schemas.Response, error) {
	var body struct {
		Embedding   *vector  `json:"embedding"`
		Embeddings  []vector `json:"embeddings"`
		Predictions []struct {
			Embeddings vector `json:"embeddings"`
		} `json:"predictions"`
		Metadata struct {
			Characters jsontext.Count `json:"billableCharacterCount"`
		} `json:"metadata"`
		Usage json.RawMessage `json:"usageMetadata"`
	}
	if err := a.object(res, &body); err != nil {
		return nil, err
	}
	vectors := body.Embeddings
	if body.Embedding != nil {
		vectors = append(vectors, *body.Embedding)
	}
	var tokens int64
	for _, p := range body.Predictions {
		vectors = append(vectors, p.Embeddings)
		tokens += int64(p.Embeddings.Statistics.Tokens)
	}
	answer := &schemas.Response{Embeddings: make([]schemas.Embedding, len(vectors))}
	for i, v := range vectors {
		if len(v.Values) == 0 {
			return nil, wire.Malformed("it has a vector without numbers", nil)
		}
		answer.Embeddings[i] = schemas.Embedding{Index: i, Vector: v.Values}
	}
	if len(vectors) == 0 {
		return nil, wire.Malformed("it has no vectors", nil)
	}
	var u usage
	u.parse(body.Usage)
	switch {
	case u.counted:
		answer.Usage = u.schema(body.Usage)
	case len(body.Predictions) > 0:
		answer.Usage = schemas.Usage{InputTokens: tokens, Source: schemas.UsageReported}
	default:
		answer.Usage = estimated(req.Embed.Inputs)
	}
	if n := body.Metadata.Characters; n > 0 {
		answer.Usage.Units = units("characters", int64(n))
	}
	return answer, nil
}

// estimated counts tokens by length: AI Studio does not tell.
func estimated(inputs []schemas.Part) schemas.Usage {
	const bytesPerToken = 4
	n := 0
	for i := range inputs {
		n += len(inputs[i].Text)
	}
	return schemas.Usage{InputTokens: int64((n + bytesPerToken - 1) / bytesPerToken), Source: schemas.UsageEstimated}
}

// counted reads the answer to countTokens.
func (a *adapter) counted(res *http.Response) (*schemas.Response, error) {
	var raw json.RawMessage
	if err := a.object(res, &raw); err != nil {
		return nil, err
	}
	var body struct {
		Total  *jsontext.Count `json:"totalTokens"`
		Cached jsontext.Count  `json:"cachedContentTokenCount"`
		Prompt json.RawMessage `json:"promptTokensDetails"`
	}
	if err := json.Unmarshal(raw, &body); err != nil || body.Total == nil {
		return nil, wire.Malformed("it has no totalTokens", err)
	}
	c := jsontext.NewCursor(body.Prompt)
	u := usage{counted: true, prompt: int64(*body.Total), cached: int64(body.Cached), input: modals(&c)}
	return &schemas.Response{Usage: u.schema(raw)}, nil
}

// object reads a body that is one JSON object into into. An error in it is a
// failure.
func (a *adapter) object(res *http.Response, into any) error {
	form, from := wire.Open(res, false)
	if form != wire.JSON {
		return wire.Malformed("its content type is not JSON", nil)
	}
	body, err := wire.ReadAll(from, res.ContentLength)
	if err != nil {
		return err
	}
	var outer struct {
		Error json.RawMessage `json:"error"`
		Name  string          `json:"name"` // of a job, which has its errors inside
	}
	if err := json.Unmarshal(body, &outer); err != nil {
		return wire.Malformed("it is not the JSON of an object", err)
	}
	if len(outer.Error) > 0 && string(outer.Error) != "null" && outer.Name == "" {
		return a.told(body)
	}
	if err := json.Unmarshal(body, into); err != nil {
		return wire.Malformed("it is not the JSON that was agreed", err)
	}
	return nil
}
