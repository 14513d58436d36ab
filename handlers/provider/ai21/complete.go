package ai21

import (
	"bytes"
	"net/http"

	"github.com/sira-ai/sira/handlers/provider"
	"github.com/sira-ai/sira/handlers/provider/wire"
	"github.com/sira-ai/sira/schemas"
	"github.com/sira-ai/sira/schemas/jsontext"
)

// complete returns the JSON of a completion by the older API, that of Jurassic.
func complete(call provider.Call) ([]byte, error) {
	req := call.Request
	if len(req.Tools) > 0 {
		return nil, wire.Unsupported("tools", "are not known to this operation: use chat")
	}
	if o := req.Output; o != nil && o.Format != "" && o.Format != "text" {
		return nil, wire.Unsupported("output.format", "is not known to this operation: use chat")
	}
	var prompt []byte
	for i := range req.Messages {
		for j := range req.Messages[i].Parts {
			p := &req.Messages[i].Parts[j]
			if p.Kind != schemas.PartText {
				return nil, wire.Unsupported("messages", "have parts that are not text, which is all that a completion takes")
			}
			prompt = append(prompt, p.Text...)
		}
	}
	b := append(make([]byte, 0, len(prompt)+256), '{')
	b = jsontext.AppendString(jsontext.AppendField(b, "prompt"), string(prompt))
	b = jsontext.AppendIntField(b, "maxTokens", req.MaxTokens)
	if s := req.Sampling; s != nil {
		b = jsontext.AppendIntField(b, "numResults", s.N)
		b = jsontext.AppendFloatField(b, "temperature", s.Temperature)
		b = jsontext.AppendFloatField(b, "topP", s.TopP)
		b = jsontext.AppendIntField(b, "topKReturn", s.LogProbs)
		b = penalty(b, "frequencyPenalty", s.FrequencyPenalty)
		b = penalty(b, "presencePenalty", s.PresencePenalty)
		if len(s.Stop) > 0 {
			b = jsontext.AppendStrings(jsontext.AppendField(b, "stopSequences"), s.Stop)
		}
	}
	b = append(b, '}')
	if ext := req.Ext[vendor]; len(ext) > 0 {
		return wire.Overlay(b, "ext."+vendor, ext, "prompt")
	}
	return b, nil
}

func penalty(b []byte, name string, scale *float64) []byte {
	if scale == nil {
		return b
	}
	b = append(jsontext.AppendField(b, name), '{')
	return append(jsontext.AppendFloatField(b, "scale", scale), '}')
}

// completed reads the answer to a completion, which comes at once, and passes it
// on as a stream where one was asked for.
func (a *adapter) completed(res *http.Response, call provider.Call, emit provider.Emit) (*schemas.Response, error) {
	if form, _ := wire.Open(res, false); form != wire.JSON {
		return nil, wire.Malformed("its content type is not JSON", nil)
	}
	body, err := wire.ReadAll(res.Body, res.ContentLength)
	if err != nil {
		return nil, err
	}
	var o completion
	if err := o.parse(body); err != nil {
		return nil, wire.Malformed("it is not the JSON of a completion", err)
	}
	answer := wire.NewAnswer(emit)
	if len(o.texts) == 0 {
		if len(o.detail) > 0 {
			f := wire.Told(wire.ParseError(body), a.config.APIKey.Reveal())
			f.Code = schemas.Internal
			return nil, answer.Broken(call.Request, f)
		}
		return nil, wire.Malformed("it has no completions", nil)
	}
	answer.Begin(o.id, call.Model)
	u := schemas.Usage{InputTokens: o.prompt.tokens, Source: schemas.UsageReported}
	counted := o.prompt.tokens > 0
	asked := call.Request.Sampling != nil && call.Request.Sampling.LogProbs != nil
	for i := range o.texts {
		t := &o.texts[i]
		answer.Open(i)
		answer.Text(i, t.text)
		if asked && len(t.likely) > 0 {
			answer.LogProbs(i, append(append([]byte(`{"content":[`), t.likely...), "]}"...))
		}
		answer.Finish(i, t.finish)
		u.OutputTokens += t.tokens
	}
	if counted { // the API bills the tokens that it lists
		answer.Use(u)
	}
	out := answer.Response(call.Request)
	if answer.Err() != nil {
		return nil, answer.Unheard(call.Request)
	}
	out.Warnings = unsaid(call.Request)
	return out, nil
}

// unsaid lists what of a completion was not sent.
func unsaid(req *schemas.Request) []string {
	s := req.Sampling
	if s == nil {
		return nil
	}
	var w []string
	for _, f := range []struct {
		name string
		set  bool
	}{
		{"sampling.top_k", s.TopK != nil},
		{"sampling.min_p", s.MinP != nil},
		{"sampling.seed", s.Seed != nil},
		{"sampling.repetition_penalty", s.RepetitionPenalty != nil},
		{"sampling.logit_bias", len(s.LogitBias) > 0},
	} {
		if f.set {
			w = append(w, f.name+" was not sent: the provider has no such setting")
		}
	}
	return w
}

type completion struct {
	id     string
	prompt said
	texts  []said
	detail []byte // of an error
}

// said is a text with its tokens.
type said struct {
	text   string
	tokens int64
	likely []byte // log probabilities, as the items of a list in OpenAI's form
	finish schemas.Finish
}

func (o *completion) parse(body []byte) error {
	c := jsontext.NewCursor(body)
	if c.Object() {
		for c.Key() {
			switch string(c.Name()) {
			case "id":
				o.id = c.Text()
			case "prompt":
				o.prompt.parse(&c)
			case "completions":
				if c.Array() {
					for c.Item() {
						t := said{finish: schemas.Finish{Reason: schemas.FinishUnknown}}
						t.completion(&c)
						o.texts = append(o.texts, t)
					}
				}
			case "detail":
				o.detail = bytes.Clone(c.Raw())
			default:
				c.Skip()
			}
		}
	}
	return c.End()
}

func (t *said) completion(c *jsontext.Cursor) {
	if !c.Object() {
		return
	}
	for c.Key() {
		switch string(c.Name()) {
		case "data":
			t.parse(c)
		case "finishReason":
			t.ended(c)
		default:
			c.Skip()
		}
	}
}

func (t *said) parse(c *jsontext.Cursor) {
	if !c.Object() {
		return
	}
	for c.Key() {
		switch string(c.Name()) {
		case "text":
			t.text = c.Text()
		case "tokens":
			if c.Array() {
				for c.Item() {
					t.tokens++
					t.token(c)
				}
			}
		default:
			c.Skip()
		}
	}
}

// token takes in the likelihood of one token.
func (t *said) token(c *jsontext.Cursor) {
	if !c.Object() {
		return
	}
	for c.Key() {
		if string(c.Name()) != "generatedToken" || !c.Object() {
			if string(c.Name()) != "generatedToken" {
				c.Skip()
			}
			continue
		}
		var word string
		var likely []byte
		for c.Key() {
			switch string(c.Name()) {
			case "token":
				word = c.Text()
			case "logprob":
				likely = c.Raw()
			default:
				c.Skip()
			}
		}
		if len(t.likely) > 0 {
			t.likely = append(t.likely, ',')
		}
		t.likely = append(t.likely, '{')
		t.likely = jsontext.AppendString(jsontext.AppendField(t.likely, "token"), word)
		t.likely = jsontext.AppendRawField(t.likely, "logprob", likely)
		t.likely = append(t.likely, `,"top_logprobs":[]}`...)
	}
}

// ended reads the reason to finish.
func (t *said) ended(c *jsontext.Cursor) {
	if c.Kind() == '"' {
		t.finish.Raw = c.Text()
	} else if c.Object() {
		for c.Key() {
			switch string(c.Name()) {
			case "reason":
				t.finish.Raw = c.Text()
			case "sequence":
				t.finish.StopSequence = c.Text()
			default:
				c.Skip()
			}
		}
	}
	switch t.finish.Raw {
	case "endoftext":
		t.finish.Reason = schemas.FinishStop
	case "length":
		t.finish.Reason = schemas.FinishLength
	case "stop":
		t.finish.Reason = schemas.FinishStop
		if t.finish.StopSequence != "" {
			t.finish.Reason = schemas.FinishStopSequence
		}
	}
}
