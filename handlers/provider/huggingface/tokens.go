package huggingface

import (
	"github.com/sira-ai/sira/schemas/jsontext"
)

// generated is what was generated, or one event of it.
type generated struct {
	text     string
	said     bool // text was there, even if empty
	token    token
	details  details
	raw      []byte // of the details
	refused  bool
	hasToken bool
}

type token struct {
	text    string
	special bool
	logprob []byte
}

type details struct {
	finish        string
	input, output int64 // -1: not said
	tokens        []token
}

// parse reads an object of which the cursor stands before. Slices share memory
// with what was read.
func (g *generated) parse(c *jsontext.Cursor) {
	g.details.input, g.details.output = -1, -1
	if !c.Object() {
		return
	}
	for c.Key() {
		switch string(c.Name()) {
		case "generated_text", "translation_text", "summary_text":
			if c.Kind() == '"' {
				g.said = true
			}
			g.text = c.Text()
		case "token":
			g.hasToken = c.Kind() == '{'
			g.token.parse(c)
		case "details":
			if g.raw = c.Raw(); string(g.raw) == "null" {
				g.raw = nil
			}
			if len(g.raw) > 0 {
				g.details.parse(g.raw)
			}
		case "error":
			g.refused = string(c.Raw()) != "null"
		default:
			c.Skip()
		}
	}
}

func (t *token) parse(c *jsontext.Cursor) {
	if !c.Object() {
		return
	}
	for c.Key() {
		switch string(c.Name()) {
		case "text":
			t.text = c.Text()
		case "special":
			t.special = string(c.Raw()) == "true"
		case "logprob":
			t.logprob = c.Raw()
		default:
			c.Skip()
		}
	}
}

func (d *details) parse(raw []byte) {
	c := jsontext.NewCursor(raw)
	if !c.Object() {
		return
	}
	for c.Key() {
		switch string(c.Name()) {
		case "finish_reason":
			d.finish = c.Text()
		case "generated_tokens":
			d.output = c.Count()
		case "input_length":
			d.input = c.Count()
		case "prefill": // the tokens of the prompt, if they were asked for
			if n := items(&c); n > 0 && d.input < 0 {
				d.input = n
			}
		case "tokens":
			if c.Array() {
				for c.Item() {
					var t token
					t.parse(&c)
					d.tokens = append(d.tokens, t)
				}
			}
		default:
			c.Skip()
		}
	}
}

func items(c *jsontext.Cursor) int64 {
	var n int64
	if c.Array() {
		for c.Item() {
			c.Skip()
			n++
		}
	}
	return n
}
