package huggingface

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"strconv"

	"github.com/sira-ai/sira/handlers/provider"
	"github.com/sira-ai/sira/handlers/provider/wire"
	"github.com/sira-ai/sira/schemas"
	"github.com/sira-ai/sira/schemas/jsontext"
)

func (a *Adapter) readGenerate(res *http.Response, call provider.Call, answer *wire.Answer) (*schemas.Response, error) {
	g := generator{adapter: a, req: call.Request, answer: answer, header: res.Header}
	answer.Begin("", call.Model)
	form, body := wire.Open(res, call.Request.Stream)
	switch form {
	case wire.Events:
		return g.stream(body)
	case wire.JSON:
		b, err := wire.ReadAll(body, res.ContentLength)
		if err != nil {
			return nil, err
		}
		return g.whole(b)
	}
	return nil, wire.Malformed("its content type is neither JSON nor an event stream", nil)
}

// generator puts what was generated into an answer.
type generator struct {
	adapter *Adapter
	req     *schemas.Request
	answer  *wire.Answer
	header  http.Header
}

// whole reads an answer that comes at once: an object, or a list of one for each
// text, which may be in a list for each prompt.
func (g *generator) whole(body []byte) (*schemas.Response, error) {
	var all []generated
	c := jsontext.NewCursor(body)
	all = list(all, &c, 0)
	if err := c.End(); err != nil {
		return nil, wire.Malformed("it is not the JSON of a text", err)
	}
	if len(all) == 0 {
		return nil, wire.Malformed("it holds no text", nil)
	}
	var input, output int64 = -1, 0
	var raw []byte
	for i := range all {
		t := &all[i]
		switch {
		case t.refused:
			return nil, g.adapter.told(body)
		case !t.said:
			return nil, wire.Malformed("it holds no text", nil)
		}
		g.answer.Open(i)
		g.answer.Text(i, t.text)
		for j := range t.details.tokens {
			g.logprob(i, &t.details.tokens[j])
		}
		g.answer.Finish(i, finish(t.details.finish))
		input, raw = max(input, t.details.input), t.raw
		if t.details.output < 0 {
			output = -1
		} else if output >= 0 {
			output += t.details.output
		}
	}
	if len(all) > 1 {
		raw = nil
	}
	g.use(input, output, raw)
	return g.end()
}

func list(all []generated, c *jsontext.Cursor, depth int) []generated {
	switch kind := c.Kind(); {
	case kind == '[' && depth < 2:
		c.Array()
		for c.Item() {
			all = list(all, c, depth+1)
		}
	default:
		var t generated
		t.parse(c)
		all = append(all, t)
	}
	return all
}

// stream reads an answer that comes as events, a token each. It is complete with
// the event that repeats the whole text.
func (g *generator) stream(from io.Reader) (*schemas.Response, error) {
	events := wire.NewEventReader(from, 0)
	for {
		ev, err := events.Next()
		if err != nil {
			if errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return nil, g.answer.Interrupted(g.req, err)
		}
		var t generated
		c := jsontext.NewCursor(ev.Data)
		t.parse(&c)
		if err := c.End(); err != nil {
			if ev.Cut {
				return nil, g.answer.Interrupted(g.req, err)
			}
			return nil, g.answer.Broken(g.req, wire.Malformed("an event of it is not JSON as agreed", err))
		}
		if t.refused {
			return nil, g.answer.Broken(g.req, g.adapter.told(ev.Data))
		}
		if t.hasToken && !t.token.special {
			g.answer.Text(only, t.token.text)
			g.logprob(only, &t.token)
		}
		if t.said {
			return g.last(&t)
		}
		if g.answer.Err() != nil {
			return nil, g.answer.Unheard(g.req)
		}
	}
}

const only = 0 // the index of a stream's one choice

func (g *generator) last(t *generated) (*schemas.Response, error) {
	g.answer.Open(only)
	word := t.details.finish
	if word == "" && t.token.special {
		word = "eos_token"
	}
	g.answer.Finish(only, finish(word))
	g.use(t.details.input, t.details.output, t.raw)
	return g.end()
}

func (g *generator) end() (*schemas.Response, error) {
	res := g.answer.Response(g.req)
	if g.answer.Err() != nil {
		return nil, g.answer.Unheard(g.req)
	}
	return res, nil
}

// logprob keeps a token's log probability if it was asked for.
func (g *generator) logprob(choice int, t *token) {
	if s := g.req.Sampling; s == nil || s.LogProbs == nil || len(t.logprob) == 0 {
		return
	}
	b := jsontext.AppendString([]byte(`{"content":[{"token":`), t.text)
	b = append(append(b, `,"logprob":`...), t.logprob...)
	g.answer.LogProbs(choice, append(b, "}]}"...))
}

// finish translates a finish reason. Models outside of TGI give none.
func finish(raw string) schemas.Finish {
	f := schemas.Finish{Raw: raw, Reason: schemas.FinishUnknown}
	switch raw {
	case "eos_token", "stop":
		f.Reason = schemas.FinishStop
	case "stop_sequence":
		f.Reason = schemas.FinishStopSequence
	case "length":
		f.Reason = schemas.FinishLength
	}
	return f
}

// use takes in what was used, by the details or else by the headers. Where only
// the output is said, the input is estimated with it.
func (g *generator) use(input, output int64, raw []byte) {
	if input < 0 {
		input = header(g.header, "X-Prompt-Tokens")
	}
	if output < 0 {
		output = header(g.header, "X-Generated-Tokens")
	}
	if input < 0 && output < 0 {
		return // the answer estimates both
	}
	u := schemas.Usage{InputTokens: input, OutputTokens: output, Source: schemas.UsageReported, Raw: bytes.Clone(raw)}
	if input < 0 || output < 0 {
		u.Source = schemas.UsageEstimated
		u.OutputTokens = max(output, 0)
		if input < 0 {
			n := 0
			for i := range g.req.Messages {
				n += len(g.req.Messages[i].Text())
			}
			u.InputTokens = int64((n + bytesPerToken - 1) / bytesPerToken)
		}
	}
	u.Units = g.adapter.computed(g.header)
	g.answer.Use(u)
}

// bytesPerToken is the usual rule of thumb for English text.
const bytesPerToken = 4

func header(h http.Header, name string) int64 {
	n, err := strconv.ParseInt(h.Get(name), 10, 64)
	if err != nil || n < 0 {
		return -1
	}
	return n
}
