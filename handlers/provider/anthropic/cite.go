package anthropic

import (
	"bytes"
	"encoding/json"
	"strings"

	"github.com/sira-ai/sira/schemas"
	"github.com/sira-ai/sira/schemas/jsontext"
)

// cited is a citation as the vendor says it. It is of a whole block of text; the
// places in it are in the source.
type cited struct {
	Kind     text `json:"type"`
	Words    text `json:"cited_text"`
	URL      text `json:"url"`
	Title    text `json:"title"`
	Document text `json:"document_title"`
	File     text `json:"file_id"`
	Source   text `json:"source"` // of a search result: the name that we gave it
}

// cite takes in a citation.
func (r *reader) cite(raw []byte) {
	var c cited
	if len(raw) == 0 || raw[0] != '{' || json.Unmarshal(raw, &c) != nil {
		return
	}
	out := schemas.Citation{Text: string(c.Words), Title: string(c.Title), URL: string(c.URL), Raw: bytes.Clone(raw)}
	if out.Title == "" {
		out.Title = string(c.Document)
	}
	for _, s := range []text{c.File, c.Source} {
		if s != "" {
			out.Sources = append(out.Sources, string(s))
		}
	}
	if strings.Contains(string(c.Source), "://") && out.URL == "" {
		out.URL = string(c.Source)
	}
	r.grow()
	r.answer.Cite(only, out)
}

// cites takes in the citations of a block.
func (r *reader) cites(list json.RawMessage) {
	c := jsontext.NewCursor(list)
	if len(list) == 0 || !c.Array() {
		return
	}
	for c.Item() {
		r.cite(c.Raw())
	}
}

// appendCitations appends those of the citations that this vendor made: it wants
// them back with the text.
func appendCitations(b []byte, list []schemas.Citation) []byte {
	start := len(b)
	for i := range list {
		var c cited
		if json.Unmarshal(list[i].Raw, &c) != nil || !strings.HasSuffix(string(c.Kind), "_location") {
			continue
		}
		if len(b) == start {
			b = append(jsontext.AppendField(b, "citations"), '[')
		}
		b = append(jsontext.AppendItem(b), list[i].Raw...)
	}
	if len(b) > start {
		b = append(b, ']')
	}
	return b
}
