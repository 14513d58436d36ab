package openai

import (
	"bytes"
	"cmp"
	"fmt"

	"github.com/sira-ai/sira/handlers/provider/wire"
	"github.com/sira-ai/sira/schemas"
	"github.com/sira-ai/sira/schemas/jsontext"
)

// open begins an item, of which little is known yet.
func (t *talk) open(place int, o *output) {
	if t.items[place] != nil {
		return
	}
	i := t.begin(place, o.kind)
	if o.kind == "function_call" || o.kind == "custom_tool_call" {
		t.call(i, o)
	}
}

// call begins a tool call. Its answer refers to call_id.
func (t *talk) call(i *item, o *output) {
	id := o.callID
	if id == "" {
		id = o.id
	}
	if id == "" {
		id = fmt.Sprintf("call_%d", len(t.items)-1)
	}
	t.asks = true
	i.part = t.answer.ToolCall(0, id, o.name)
	if o.kind == "custom_tool_call" {
		t.answer.ToolType(0, i.part, "custom")
	}
}

// close completes an item with what has not come in pieces.
func (t *talk) close(place int, o *output) error {
	i := t.begin(place, o.kind)
	if i.done {
		return nil
	}
	i.done = true
	switch o.kind {
	case "message":
		t.contents(o.content, i)
	case "reasoning":
		if i.text == 0 {
			t.thoughts(place, o)
		}
		t.answer.Signature(0, o.encrypted, false)
		if o.id != "" {
			t.answer.Identify(0, o.id)
		}
	case "function_call", "custom_tool_call":
		if i.part < 0 {
			t.call(i, o)
		}
		if i.text == 0 {
			t.answer.Arguments(0, i.part, o.arguments)
		}
	case "image_generation_call":
		return t.painting(o)
	case computerCall, localShellCall, "shell_call", "apply_patch_call", "mcp_approval_request":
		t.asks = true // the requester is to do it
		t.answer.ServerCall(0, cmp.Or(o.callID, o.id), o.kind, string(o.raw))
	default:
		if o.kind == "web_search_call" && (!said(o.action) || bytes.Contains(o.action, []byte(`"search"`))) {
			t.searches++
		}
		t.answer.ServerCall(0, o.id, o.kind, string(o.raw))
	}
	return nil
}

// contents takes in of a message what has not come as pieces.
func (t *talk) contents(raw []byte, i *item) {
	whole := i.text == 0
	c := jsontext.NewCursor(raw)
	if !c.Array() {
		return
	}
	for n := 0; c.Item(); n++ {
		if whole {
			t.part(i, n)
		}
		var text, refusal string
		var annotations, probs []byte
		if c.Object() {
			for c.Key() {
				switch string(c.Name()) {
				case "text":
					text = c.Text()
				case "refusal":
					refusal = c.Text()
				case "annotations":
					annotations = c.Raw()
				case "logprobs":
					probs = c.Raw()
				default:
					c.Skip()
				}
			}
		}
		if whole {
			t.answer.Text(0, text)
			t.refuse(refusal)
			t.logProbs(probs)
		}
		if said(annotations) && !i.cited {
			cite(t.answer, 0, annotations)
		}
	}
}

// thoughts takes in reasoning that came at once.
func (t *talk) thoughts(place int, o *output) {
	n := 0
	for _, raw := range [][]byte{o.summary, o.content} {
		c := jsontext.NewCursor(raw)
		if !c.Array() {
			continue
		}
		for c.Item() {
			if !c.Object() {
				continue
			}
			for c.Key() {
				if string(c.Name()) == "text" {
					t.think(place, n, c.Text())
				} else {
					c.Skip()
				}
			}
			n++
		}
	}
}

// painting takes in a picture that the model made on the way.
func (t *talk) painting(o *output) error {
	if o.result == "" {
		return nil
	}
	m := pictureAt("data:image/" + o.format + ";base64," + o.result)
	if len(m.Data) == 0 {
		return wire.Malformed("its image is not base64", nil)
	}
	t.answer.Media(0, schemas.PartImage, m)
	return nil
}
