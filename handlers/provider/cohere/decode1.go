package cohere

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"slices"

	"github.com/sira-ai/sira/handlers/provider/wire"
	"github.com/sira-ai/sira/schemas"
	"github.com/sira-ai/sira/schemas/jsontext"
)

// reply is an answer or an event of version 1: of chat, or of generate, which
// has generations in place of text.
type reply struct {
	typ       string // event_type
	index     int
	id, text  string
	finish    string
	calls     []toolCall
	citations [][]byte
	several   []generation
	meta      []byte
	tokens    tokenCount
	fault     wire.ErrorBody
	response  []byte // the whole answer, at the end of a stream
	kept      map[string]json.RawMessage
}

type generation struct {
	index        int
	text, finish string
	likely       []byte
}

// tokenCount is how the answers of 2023 counted.
type tokenCount struct{ prompt, response int64 }

// keeps reports what has no place in the schemas and goes into Ext.
func keeps(name string) bool {
	return name == "documents" || name == "search_queries" || name == "search_results"
}

func (o *reply) parse(body []byte) error {
	c := jsontext.NewCursor(body)
	if c.Object() {
		for c.Key() {
			o.field(&c, string(c.Name()))
		}
	}
	return c.End()
}

func (o *reply) field(c *jsontext.Cursor, name string) {
	switch name {
	case "event_type":
		o.typ = c.Text()
	case "index":
		o.index = c.Int()
	case "generation_id":
		o.id = c.Text()
	case "id", "response_id": // the id of chat is the generation's, where both are there
		if s := c.Text(); o.id == "" {
			o.id = s
		}
	case "text":
		o.text = c.Text()
	case "finish_reason":
		o.finish = c.Text()
	case "meta":
		o.meta = c.Raw()
	case "token_count":
		o.tokens.parse(c)
	case "citations":
		each(c, func(c *jsontext.Cursor) { o.citations = append(o.citations, c.Raw()) })
	case "tool_calls":
		each(c, func(c *jsontext.Cursor) {
			var t toolCall
			t.function(c)
			o.calls = append(o.calls, t)
		})
	case "generations":
		each(c, o.generation)
	case "response":
		o.response = c.Raw()
	case "message", "err", "error":
		if raw := c.Raw(); given(raw) {
			o.fault.Message = wire.ParseError(raw).Message
		}
	default:
		if raw := c.Raw(); keeps(name) && given(raw) {
			if o.kept == nil {
				o.kept = make(map[string]json.RawMessage)
			}
			o.kept[name] = bytes.Clone(raw)
		}
	}
}

func (o *reply) generation(c *jsontext.Cursor) {
	g := generation{index: -1}
	if c.Object() {
		for c.Key() {
			switch string(c.Name()) {
			case "index":
				g.index = c.Int()
			case "text":
				g.text = c.Text()
			case "finish_reason":
				g.finish = c.Text()
			case "token_likelihoods":
				g.likely = c.Raw()
			default:
				c.Skip()
			}
		}
	}
	if g.index < len(o.several) || g.index > maxIndex { // not said, or not to be believed
		g.index = len(o.several)
	}
	o.several = append(o.several, g)
}

func (t *tokenCount) parse(c *jsontext.Cursor) {
	if !c.Object() {
		return
	}
	for c.Key() {
		switch string(c.Name()) {
		case "prompt_tokens":
			t.prompt = tally(c)
		case "response_tokens":
			t.response = tally(c)
		default:
			c.Skip()
		}
	}
}

// whole1 reads an answer of version 1 that comes at once.
func (r *reader) whole1(body []byte) (*schemas.Response, error) {
	var o reply
	if err := o.parse(body); err != nil {
		return nil, wire.Malformed("it is not the JSON of an answer", err)
	}
	switch {
	case o.fault.Message != "" && o.text == "" && len(o.several) == 0:
		return nil, r.answer.Broken(r.req, told(o.fault, o.finish, r.secret))
	case o.id == "" && o.finish == "" && len(o.several) == 0:
		return nil, wire.Malformed("it has no text", nil)
	}
	r.answer.Begin(o.id, r.model)
	r.said(&o)
	return r.end1(&o, o.finish)
}

// said takes in what an answer holds.
func (r *reader) said(o *reply) {
	if len(o.several) == 0 {
		r.answer.Open(0)
		r.answer.Text(0, o.text)
	}
	for i := range o.several {
		g := &o.several[i]
		r.answer.Open(g.index)
		r.answer.Text(g.index, g.text)
		if given(g.likely) {
			r.answer.LogProbs(g.index, logProbs(g.likely))
		}
	}
	for _, raw := range o.citations {
		r.cite(raw)
	}
	r.take(&utterance{calls: o.calls})
}

// lines reads a stream of one event on each line.
func (r *reader) lines(lines *wire.LineReader) (*schemas.Response, error) {
	for first := true; ; first = false {
		line, err := lines.Next()
		if err != nil {
			if errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return nil, r.answer.Interrupted(r.req, err)
		}
		if first && !bytes.Contains(line, []byte(`"event_type"`)) {
			return r.whole1(line) // an answer at once, in spite of its content type
		}
		out, ended, err := r.event1(line, line[len(line)-1] != '}')
		if ended || err != nil {
			return out, err
		}
	}
}

// maxIndex bounds the number of generations: the API gives five.
const maxIndex = 127

var errIndex = errors.New("a generation's index is out of range")

// heard notes that a choice of a stream has begun.
func (r *reader) heard(index int, text string) {
	if text != "" && !slices.Contains(r.indices, index) {
		r.indices = append(r.indices, index)
	}
}

// event1 takes in one event of version 1 and reports whether the answer has
// ended.
func (r *reader) event1(data []byte, cut bool) (*schemas.Response, bool, error) {
	var e reply
	if err := e.parse(data); err != nil {
		return nil, true, r.spoilt(err, cut)
	}
	r.answer.Begin(e.id, r.model)
	switch e.typ {
	case "text-generation":
		if e.index < 0 || e.index > maxIndex {
			return nil, true, r.spoilt(errIndex, false)
		}
		r.answer.Text(e.index, e.text)
		r.heard(e.index, e.text)
	case "tool-calls-chunk": // the arguments come once more, whole
		r.answer.Text(0, e.text)
		r.heard(0, e.text)
	case "tool-calls-generation":
		if len(r.indices) > 0 {
			e.text = ""
		}
		r.said(&e)
		r.heard(0, "calls")
	case "citation-generation":
		r.said(&e)
	case "stream-end":
		out, err := r.ended1(&e)
		return out, true, err
	default:
		if e.fault.Message != "" {
			return nil, true, r.answer.Broken(r.req, told(e.fault, e.finish, r.secret))
		}
	}
	if r.answer.Err() != nil {
		return nil, true, r.answer.Unheard(r.req)
	}
	return nil, false, nil
}

// ended1 ends a stream. Its last event holds the whole answer once more, which
// counts for what did not come in pieces.
func (r *reader) ended1(e *reply) (*schemas.Response, error) {
	var o reply
	if given(e.response) {
		if err := o.parse(e.response); err != nil {
			return nil, r.spoilt(err, false)
		}
	}
	r.answer.Begin(o.id, r.model)
	if e.fault.Message != "" {
		o.fault = e.fault
	}
	if len(r.indices) == 0 {
		r.said(&o)
	}
	reason := e.finish
	if reason == "" {
		reason = o.finish
	}
	return r.end1(&o, reason)
}

// end1 returns the answer, or says that there is none. reason counts for the
// generations that have none of their own.
func (r *reader) end1(o *reply, reason string) (*schemas.Response, error) {
	r.use1(o)
	f, answered := finish(reason)
	if len(o.several) > 0 && reason == "" {
		f, answered = finish(o.several[0].finish)
	}
	if !answered {
		return nil, r.answer.Broken(r.req, told(o.fault, f.Raw, r.secret))
	}
	if len(o.kept) > 0 {
		if b, err := json.Marshal(o.kept); err == nil {
			r.answer.Extra(0, vendor, b)
		}
	}
	for i := range o.several {
		own, _ := finish(o.several[i].finish)
		if o.several[i].finish == "" {
			own = f
		}
		r.answer.Finish(o.several[i].index, own)
	}
	for _, i := range r.indices { // what the end of the stream did not repeat
		r.answer.Finish(i, f)
	}
	if len(o.several) == 0 {
		r.answer.Finish(0, f)
	}
	return r.respond()
}

// use1 takes in usage and warnings.
func (r *reader) use1(o *reply) {
	if u, counted := usage(o.meta); counted {
		r.answer.Use(u)
	} else if o.tokens != (tokenCount{}) {
		r.answer.Use(schemas.Usage{
			InputTokens: o.tokens.prompt, OutputTokens: o.tokens.response, Source: schemas.UsageReported, Raw: u.Raw,
		})
	}
	c := jsontext.NewCursor(o.meta)
	if !c.Object() {
		return
	}
	for c.Key() {
		if string(c.Name()) != "warnings" {
			c.Skip()
			continue
		}
		each(&c, func(c *jsontext.Cursor) { r.warnings = append(r.warnings, c.Text()) })
	}
}
