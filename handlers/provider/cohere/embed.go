package cohere

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"

	"github.com/sira-ai/sira/handlers/provider"
	"github.com/sira-ai/sira/handlers/provider/wire"
	"github.com/sira-ai/sira/schemas"
	"github.com/sira-ai/sira/schemas/jsontext"
)

// maxInputs is how many inputs the API takes at once.
const maxInputs = 96

// tasks are the API's words for what vectors are for. It insists on one.
var tasks = map[string]string{
	"": "search_document", "document": "search_document", "query": "search_query",
	"classification": "classification", "clustering": "clustering", "similarity": "clustering",
}

// embed returns the JSON of an embed request.
func embed(call provider.Call, old bool) ([]byte, error) {
	spec := call.Request.Embed
	if len(spec.Inputs) > maxInputs {
		return nil, wire.Invalid("embed.inputs", fmt.Sprintf("has %d entries: this provider takes %d at once", len(spec.Inputs), maxInputs))
	}
	task, known := tasks[spec.Task]
	if !known {
		return nil, wire.Invalid("embed.task", "is not query, document, classification, clustering or similarity")
	}
	encoding := spec.Encoding
	switch encoding {
	case "", "float":
		encoding = "float"
	case "int8", "uint8", "binary", "ubinary", "base64":
	default:
		return nil, wire.Unsupported("embed.encoding", "is not float, int8, uint8, binary or ubinary")
	}
	b := append(make([]byte, 0, 256), '{')
	b = jsontext.AppendString(jsontext.AppendField(b, "model"), call.Model)
	b, pictures, err := inputs(b, spec.Inputs, old)
	if err != nil {
		return nil, err
	}
	if pictures {
		task = "image"
	}
	b = jsontext.AppendString(jsontext.AppendField(b, "input_type"), task)
	b = jsontext.AppendStrings(jsontext.AppendField(b, "embedding_types"), []string{encoding})
	b = jsontext.AppendIntField(b, "output_dimension", spec.Dimensions)
	switch spec.Truncate {
	case "":
	case "none":
		b = jsontext.AppendStringField(b, "truncate", "NONE")
	case "start":
		b = jsontext.AppendStringField(b, "truncate", "START")
	case "end":
		b = jsontext.AppendStringField(b, "truncate", "END")
	default:
		return nil, wire.Invalid("embed.truncate", "is not none, start or end")
	}
	return extended(append(b, '}'), call.Request, "model", "texts", "images", "inputs")
}

// inputs appends texts, pictures or, where there are both, a list of mixed
// inputs, and reports whether all are pictures.
func inputs(b []byte, parts []schemas.Part, old bool) ([]byte, bool, error) {
	texts := 0
	for i := range parts {
		switch parts[i].Kind {
		case schemas.PartText:
			texts++
		case schemas.PartImage:
			if m := parts[i].Media; len(m.Data) == 0 || m.MIME == "" {
				return nil, false, wire.Unsupported(fmt.Sprintf("embed.inputs[%d]", i), "is a picture by reference or without a mime type: give its data and type")
			}
		default:
			return nil, false, wire.Unsupported(fmt.Sprintf("embed.inputs[%d]", i), "is neither text nor a picture")
		}
	}
	switch {
	case texts == len(parts):
		b = append(jsontext.AppendField(b, "texts"), '[')
		for i := range parts {
			b = jsontext.AppendString(jsontext.AppendItem(b), parts[i].Text)
		}
	case texts == 0:
		b = append(jsontext.AppendField(b, "images"), '[')
		for i := range parts {
			m := parts[i].Media
			b = jsontext.AppendBase64(jsontext.AppendItem(b), "data:"+plain(m.MIME)+";base64,", m.Data)
		}
	case old:
		return nil, false, wire.Unsupported("embed.inputs", "has texts and pictures, which version 1 of the API does not take together")
	default:
		b = append(jsontext.AppendField(b, "inputs"), '[')
		for i := range parts {
			b = append(jsontext.AppendItem(b), `{"content":[`...)
			if parts[i].Kind == schemas.PartText {
				b = jsontext.AppendString(append(b, `{"type":"text","text":`...), parts[i].Text)
				b = append(b, '}')
			} else {
				b, _ = image(b, parts[i].Media) // it has data and a type
			}
			b = append(b, `]}`...)
		}
	}
	return append(b, ']'), texts == 0, nil
}

// vectors reads embeddings: by type in an object, or as the plain list of version
// 1.
func vectors(c *jsontext.Cursor) []schemas.Embedding {
	if c.Kind() == '[' {
		return typed(c, nil, "float")
	}
	var all []schemas.Embedding
	if c.Object() {
		for c.Key() {
			all = typed(c, all, string(c.Name()))
		}
	}
	return all
}

// typed appends the vectors of one type. Those of types that we don't know are
// left out.
func typed(c *jsontext.Cursor, all []schemas.Embedding, typ string) []schemas.Embedding {
	if !c.Array() {
		return all
	}
	for i := 0; c.Item(); i++ {
		e := schemas.Embedding{Index: i}
		switch {
		case c.Kind() == '"':
			e.Vector = unpacked(c.Text())
		case typ == "float":
			e.Vector = floats(c)
		case c.Kind() == '[':
			e.Packed, e.Encoding = packed(c), typ
		default:
			c.Skip()
			continue
		}
		all = append(all, e)
	}
	return all
}

func floats(c *jsontext.Cursor) []float32 {
	if !c.Array() {
		return nil
	}
	v := make([]float32, 0, 1024)
	for c.Item() {
		f, _ := strconv.ParseFloat(string(c.Raw()), 32)
		v = append(v, float32(f))
	}
	return v
}

// packed reads numbers of one byte each, with a sign or without.
func packed(c *jsontext.Cursor) []byte {
	if !c.Array() {
		return nil
	}
	v := make([]byte, 0, 1024)
	for c.Item() {
		v = append(v, byte(c.Int()))
	}
	return v
}

// unpacked reads a vector in base64: floats of four bytes, the lowest first.
func unpacked(s string) []float32 {
	raw, err := base64.StdEncoding.DecodeString(s)
	if err != nil {
		return nil
	}
	v := make([]float32, 0, len(raw)/4)
	for ; len(raw) >= 4; raw = raw[4:] {
		v = append(v, math.Float32frombits(binary.LittleEndian.Uint32(raw)))
	}
	return v
}

// rerank returns the JSON of a rerank request.
func rerank(call provider.Call, old bool) ([]byte, error) {
	spec := call.Request.Rerank
	b := append(make([]byte, 0, 512), '{')
	b = jsontext.AppendString(jsontext.AppendField(b, "model"), call.Model)
	b = jsontext.AppendString(jsontext.AppendField(b, "query"), spec.Query)
	b = append(jsontext.AppendField(b, "documents"), '[')
	for i := range spec.Documents {
		b = jsontext.AppendString(jsontext.AppendItem(b), written(&spec.Documents[i]))
	}
	b = append(b, ']')
	b = jsontext.AppendIntField(b, "top_n", spec.TopN)
	if old {
		if spec.MaxTokens != nil {
			return nil, wire.Unsupported("rerank.max_tokens_per_document", "is not known to version 1 of the API")
		}
	} else {
		b = jsontext.AppendIntField(b, "max_tokens_per_doc", spec.MaxTokens)
	}
	return extended(append(b, '}'), call.Request, "model", "query", "documents")
}

// written returns a document as one text. Fields become lines of YAML, as the
// vendor advises.
func written(d *schemas.Document) string {
	if d.Title == "" && len(d.Data) == 0 {
		return d.Text
	}
	var b bytes.Buffer
	line := func(k, v string) {
		if v != "" {
			fmt.Fprintf(&b, "%s: %s\n", k, v)
		}
	}
	line("title", d.Title)
	line("text", d.Text)
	for _, k := range slices.Sorted(maps.Keys(d.Data)) {
		line(k, d.Data[k])
	}
	return b.String()
}

// ranks reads the results of a ranking of docs.
func ranks(c *jsontext.Cursor, docs []schemas.Document, with bool) []schemas.Rank {
	var all []schemas.Rank
	each(c, func(c *jsontext.Cursor) {
		r := schemas.Rank{Index: -1}
		if c.Object() {
			for c.Key() {
				switch string(c.Name()) {
				case "index":
					r.Index = c.Int()
				case "relevance_score":
					r.Score = number(c.Raw())
				default:
					c.Skip()
				}
			}
		}
		if with && r.Index >= 0 && r.Index < len(docs) {
			r.Document = &docs[r.Index]
		}
		all = append(all, r)
	})
	return all
}
