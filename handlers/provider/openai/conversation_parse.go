package openai

import "github.com/sira-ai/sira/schemas/jsontext"

// reply is a response object. Its slices share the memory of what was parsed.
type reply struct {
	id, model, tier    string
	status, incomplete string
	output, usage      []byte
	tools              []byte // usage of tools that the vendor ran
	failure, filters   []byte
	refused            bool // it is an error with the status of a success
}

func (r *reply) parse(c *jsontext.Cursor) {
	if !c.Object() {
		return
	}
	object := ""
	for c.Key() {
		switch string(c.Name()) {
		case "id":
			r.id = c.Text()
		case "object":
			object = c.Text()
		case "model":
			r.model = c.Text()
		case "service_tier":
			r.tier = c.Text()
		case "status":
			r.status = c.Text()
		case "incomplete_details":
			if c.Object() {
				for c.Key() {
					if string(c.Name()) == "reason" {
						r.incomplete = c.Text()
					} else {
						c.Skip()
					}
				}
			}
		case "output":
			r.output = c.Raw()
		case "usage":
			r.usage = c.Raw()
		case "tool_usage":
			r.tools = c.Raw()
		case "error":
			r.failure = c.Raw()
		case "content_filters":
			r.filters = c.Raw()
		default:
			c.Skip()
		}
	}
	r.refused = object == "error" || said(r.failure) && r.status == "" && r.output == nil
}

// event is an event of a stream.
type event struct {
	kind, delta      string
	place            int // of the item in the output
	content, summary int // of the piece in the item
	item, annotation []byte
	logprobs         []byte
	response         reply
	failed           bool
}

// eventReader reads events, of which most are pieces of one text.
type eventReader struct {
	stencil stencil
	last    event // the piece that the stencil is of
	hole    int   // of its text
}

// parse reads data into e, which is empty.
func (r *eventReader) parse(e *event, data []byte) error {
	if values, ok := r.stencil.fit(data); ok {
		e.kind, e.place, e.content, e.summary = r.last.kind, r.last.place, r.last.content, r.last.summary
		c := jsontext.NewCursor(values[r.hole])
		e.delta = c.Text()
		return nil
	}
	var spans [maxHoles]span
	holes, hole := 0, -1
	c := jsontext.NewCursor(data)
	if c.Object() {
		for c.Key() {
			name := string(c.Name())
			c.Kind()
			from := c.Offset()
			e.field(&c, name)
			switch name {
			case "delta":
				hole = holes
				fallthrough
			case "sequence_number", "obfuscation":
				if holes < maxHoles {
					spans[holes] = span{from, c.Offset()}
					holes++
				}
			}
		}
	}
	if err := c.End(); err != nil {
		return err
	}
	if hole >= 0 && hole < maxHoles && e.delta != "" && e.kind != "" && !said(e.logprobs) && !e.failed {
		r.last = event{kind: e.kind, place: e.place, content: e.content, summary: e.summary}
		r.hole = hole
		r.stencil.cut(data, spans[:holes]...)
	}
	return nil
}

func (e *event) field(c *jsontext.Cursor, name string) {
	switch name {
	case "type":
		e.kind = c.Text()
	case "delta":
		e.delta = c.Text()
	case "output_index":
		e.place = c.Int()
	case "content_index":
		e.content = c.Int()
	case "summary_index":
		e.summary = c.Int()
	case "item":
		e.item = c.Raw()
	case "annotation":
		e.annotation = c.Raw()
	case "logprobs":
		e.logprobs = c.Raw()
	case "response":
		e.response.parse(c)
	case "error":
		e.failed = said(c.Raw())
	default:
		c.Skip()
	}
}

// output is an item of the output.
type output struct {
	kind, id, callID  string
	name, arguments   string
	content, summary  []byte
	encrypted, result string
	format            string // of a picture
	action            []byte // of a tool that the vendor runs
	raw               []byte
}

func (o *output) read(raw []byte) {
	o.raw, o.format = raw, "png"
	c := jsontext.NewCursor(raw)
	if !c.Object() {
		return
	}
	for c.Key() {
		switch string(c.Name()) {
		case "type":
			o.kind = c.Text()
		case "id":
			o.id = c.Text()
		case "call_id":
			o.callID = c.Text()
		case "name":
			o.name = c.Text()
		case "arguments", "input":
			o.arguments = c.Text()
		case "content":
			o.content = c.Raw()
		case "summary":
			o.summary = c.Raw()
		case "encrypted_content":
			o.encrypted = c.Text()
		case "result":
			o.result = c.Text()
		case "action":
			o.action = c.Raw()
		case "output_format":
			o.format = c.Text()
		default:
			c.Skip()
		}
	}
}
