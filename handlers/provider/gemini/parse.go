package gemini

import (
	"bytes"
	"encoding/base64"

	"github.com/sira-ai/sira/schemas"
	"github.com/sira-ai/sira/schemas/jsontext"
)

// part is one part of a candidate's content. Slices share memory with what was
// read.
type part struct {
	text, signature string
	thought         bool
	call            *call
	inline          *blob
	file            *blob
	own             []byte // the fields of the vendor's own kinds, without braces
}

// call is a wish to call a function.
type call struct {
	id, name string
	args     []byte
	pieces   []byte // of the arguments
	more     bool   // more of them will come
}

// blob is media by value or by reference.
type blob struct {
	mime string
	data []byte // JSON text: base64 or an address
}

// plain reports whether the part is text and nothing else.
func (p *part) plain() bool {
	return p.signature == "" && p.call == nil && p.inline == nil && p.file == nil && len(p.own) == 0
}

// parse reads a part. Names are in camel case, and in snake case behind some
// proxies.
func (p *part) parse(c *jsontext.Cursor) {
	if !c.Object() {
		return
	}
	for c.Key() {
		switch string(c.Name()) {
		case "text":
			p.text = c.Text()
		case "thought":
			p.thought = string(c.Raw()) == "true"
		case "thoughtSignature", "thought_signature":
			p.signature = c.Text()
		case "functionCall", "function_call":
			p.call = new(call)
			p.call.parse(c)
		case "inlineData", "inline_data":
			p.inline = new(blob)
			p.inline.parse(c)
		case "fileData", "file_data":
			p.file = new(blob)
			p.file.parse(c)
		case "videoMetadata", "partMetadata", "mediaResolution", "video_metadata":
			c.Skip()
		default:
			p.keep(c)
		}
	}
}

// keep appends a field of a kind that the schemas don't have.
func (p *part) keep(c *jsontext.Cursor) {
	name := string(c.Name())
	raw := c.Raw()
	if len(raw) == 0 || string(raw) == "null" {
		return
	}
	if len(p.own) > 0 {
		p.own = append(p.own, ',')
	}
	p.own = append(jsontext.AppendString(p.own, name), ':')
	p.own = append(p.own, raw...)
}

func (f *call) parse(c *jsontext.Cursor) {
	if !c.Object() {
		return
	}
	for c.Key() {
		switch string(c.Name()) {
		case "id":
			f.id = c.Text()
		case "name":
			f.name = c.Text()
		case "args":
			f.args = c.Raw()
		case "partialArgs", "partial_args":
			f.pieces = c.Raw()
		case "willContinue", "will_continue":
			f.more = string(c.Raw()) == "true"
		default:
			c.Skip()
		}
	}
}

func (m *blob) parse(c *jsontext.Cursor) {
	if !c.Object() {
		return
	}
	for c.Key() {
		switch string(c.Name()) {
		case "mimeType", "mime_type":
			m.mime = c.Text()
		case "data", "fileUri", "file_uri":
			m.data = c.Raw()
		default:
			c.Skip()
		}
	}
}

// bytes returns the data of an inline blob, and whether it is base64.
func (m *blob) bytes() ([]byte, bool) {
	s := bytes.Trim(m.data, `"`)
	if bytes.IndexByte(s, '\\') >= 0 {
		s = bytes.ReplaceAll(s, []byte(`\/`), []byte("/"))
	}
	for _, e := range []*base64.Encoding{base64.StdEncoding, base64.URLEncoding, base64.RawStdEncoding, base64.RawURLEncoding} {
		out := make([]byte, e.DecodedLen(len(s)))
		if n, err := e.Decode(out, s); err == nil {
			return out[:n], true
		}
	}
	return nil, false
}

func (m *blob) address() string {
	c := jsontext.NewCursor(m.data)
	return c.Text()
}

// usage is what the vendor counts.
type usage struct {
	prompt, cached, tools        int64
	candidates, thoughts         int64
	tier                         string
	counted                      bool // a number was said
	input, cache, output, prefix []modal
}

// modal is the part of a count that is of one modality.
type modal struct {
	kind   string
	tokens int64
}

func (u *usage) parse(raw []byte) {
	c := jsontext.NewCursor(raw)
	if !c.Object() {
		return
	}
	for c.Key() {
		switch string(c.Name()) {
		case "promptTokenCount":
			u.count(&c, &u.prompt)
		case "cachedContentTokenCount":
			u.count(&c, &u.cached)
		case "toolUsePromptTokenCount":
			u.count(&c, &u.tools)
		case "candidatesTokenCount", "responseTokenCount":
			u.count(&c, &u.candidates)
		case "thoughtsTokenCount":
			u.count(&c, &u.thoughts)
		case "totalTokenCount":
			u.count(&c, new(int64)) // the others' sum
		case "promptTokensDetails", "promptTokenDetails":
			u.input = modals(&c)
		case "cacheTokensDetails":
			u.cache = modals(&c)
		case "candidatesTokensDetails", "responseTokensDetails":
			u.output = modals(&c)
		case "toolUsePromptTokensDetails":
			u.prefix = modals(&c)
		case "serviceTier", "trafficType":
			if s := c.Text(); s != "" && s != "TRAFFIC_TYPE_UNSPECIFIED" {
				u.tier = s
			}
		default:
			c.Skip()
		}
	}
}

func (u *usage) count(c *jsontext.Cursor, to *int64) {
	u.counted = true
	*to = c.Count()
}

func modals(c *jsontext.Cursor) []modal {
	var all []modal
	if !c.Array() {
		return nil
	}
	for c.Item() {
		var m modal
		if c.Object() {
			for c.Key() {
				switch string(c.Name()) {
				case "modality":
					m.kind = c.Text()
				case "tokenCount":
					m.tokens = c.Count()
				default:
					c.Skip()
				}
			}
		}
		all = append(all, m)
	}
	return all
}

// modalities are the kinds that some models price apart. Old SDKs' recordings
// have the numbers of the enum (google.ai.generativelanguage Modality).
var modalities = map[string]string{
	"IMAGE": "image", "VIDEO": "video", "AUDIO": "audio", "DOCUMENT": "document",
	"2": "image", "3": "video", "4": "audio", "5": "document",
}

// schema returns the usage in our terms: input includes what tools brought into
// the prompt, output includes thoughts.
func (u *usage) schema(raw []byte) schemas.Usage {
	s := schemas.Usage{
		InputTokens:     u.prompt + u.tools,
		CacheReadTokens: u.cached,
		OutputTokens:    u.candidates + u.thoughts,
		ReasoningTokens: u.thoughts,
		Source:          schemas.UsageReported,
		Tier:            u.tier,
		Raw:             bytes.Clone(raw),
	}
	if !u.counted {
		return schemas.Usage{Source: schemas.UsageNone}
	}
	add := func(key string, n int64) {
		if n <= 0 {
			return
		}
		if s.Details == nil {
			s.Details = make(map[string]int64)
		}
		s.Details[key] += n
	}
	add("input.tool_prompt", u.tools)
	for _, side := range []struct {
		name string
		list []modal
	}{{"input.", u.input}, {"input.", u.prefix}, {"cache_read.", u.cache}, {"output.", u.output}} {
		for _, m := range side.list {
			if kind, apart := modalities[m.kind]; apart {
				add(side.name+kind, m.tokens)
			}
		}
	}
	return s
}
