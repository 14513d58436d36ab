package openai

import (
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"net/http"
	"strconv"

	"github.com/sira-ai/sira/handlers/provider"
	"github.com/sira-ai/sira/handlers/provider/wire"
	"github.com/sira-ai/sira/schemas"
	"github.com/sira-ai/sira/schemas/jsontext"
)

// embedding returns the JSON of a request for vectors.
func (a *Adapter) embedding(call provider.Call) ([]byte, error) {
	e := call.Request.Embed
	if e.Encoding != "" && e.Encoding != "float" {
		return nil, wire.Unsupported("embed.encoding", "is not float: this provider has no other")
	}
	size := 128
	for i := range e.Inputs {
		size += len(e.Inputs[i].Text) + 16
	}
	b := append(make([]byte, 0, size), '{')
	b = jsontext.AppendString(jsontext.AppendField(b, "model"), call.Model)
	b = append(jsontext.AppendField(b, "input"), '[')
	for i := range e.Inputs {
		if e.Inputs[i].Kind != schemas.PartText {
			return nil, wire.Unsupported(fmt.Sprintf("embed.inputs[%d]", i), "is no text: this provider embeds texts only")
		}
		b = jsontext.AppendString(jsontext.AppendItem(b), e.Inputs[i].Text)
	}
	b = append(b, ']')
	b = jsontext.AppendIntField(b, "dimensions", e.Dimensions)
	b = jsontext.AppendStringField(b, "encoding_format", a.config.Embedding)
	if a.config.EndUserField != "" {
		b = jsontext.AppendStringField(b, "user", call.Request.EndUser)
	}
	return a.closed(b, call, "model", "input")
}

// readEmbeddings reads vectors in either form.
func (a *Adapter) readEmbeddings(res *http.Response, req *schemas.Request) (*schemas.Response, error) {
	body, err := a.object(res)
	if err != nil {
		return nil, err
	}
	out := &schemas.Response{}
	u, used := schemas.Usage{}, false
	c := jsontext.NewCursor(body)
	if c.Object() {
		for c.Key() {
			switch string(c.Name()) {
			case "id":
				out.UpstreamID = c.Text()
			case "model":
				out.Model = c.Text()
			case "data":
				out.Embeddings, err = embeddings(&c)
			case "usage":
				if raw := c.Raw(); said(raw) {
					u, used = a.used(raw), true
				}
			default:
				c.Skip()
			}
		}
	}
	if err = errors.Join(err, c.End()); err != nil {
		return nil, wire.Malformed("it is not the JSON of embeddings", err)
	}
	if len(out.Embeddings) == 0 {
		return nil, wire.Malformed("it has no embeddings", nil)
	}
	if !used {
		u = schemas.Usage{InputTokens: tokens(inputBytes(req)), Source: schemas.UsageEstimated}
	}
	out.Usage = u
	e := req.Embed
	out.Warnings = lacking(out.Warnings, "embed.task", e.Task != "")
	out.Warnings = lacking(out.Warnings, "embed.truncate", e.Truncate != "")
	return out, nil
}

func embeddings(c *jsontext.Cursor) ([]schemas.Embedding, error) {
	var all []schemas.Embedding
	if !c.Array() {
		return nil, nil
	}
	for c.Item() {
		e := schemas.Embedding{Index: len(all)}
		if !c.Object() {
			continue
		}
		for c.Key() {
			switch string(c.Name()) {
			case "index":
				e.Index = c.Int()
			case "embedding":
				var err error
				if e.Vector, err = vector(c); err != nil {
					return nil, err
				}
			default:
				c.Skip()
			}
		}
		all = append(all, e)
	}
	return all, nil
}

// vector reads a list of numbers, or base64 of little-endian 32-bit floats.
func vector(c *jsontext.Cursor) ([]float32, error) {
	if c.Kind() == '"' {
		b, err := base64.StdEncoding.DecodeString(c.Text())
		if err != nil || len(b)%4 != 0 {
			return nil, fmt.Errorf("reading a vector of %d bytes: %w", len(b), errors.Join(errVector, err))
		}
		v := make([]float32, len(b)/4)
		for i := range v {
			v[i] = math.Float32frombits(binary.LittleEndian.Uint32(b[4*i:]))
		}
		return v, nil
	}
	v := make([]float32, 0, 1536)
	if !c.Array() {
		return nil, errVector
	}
	for c.Item() {
		f, err := strconv.ParseFloat(string(c.Raw()), 32)
		if err != nil {
			return nil, fmt.Errorf("reading number %d of a vector: %w", len(v), err)
		}
		v = append(v, float32(f))
	}
	return v, nil
}

var errVector = errors.New("neither numbers nor base64 of floats")

// used returns usage as the variant understands it.
func (a *Adapter) used(raw []byte) schemas.Usage {
	u := parseUsage(raw)
	if a.variant.Usage != nil {
		a.variant.Usage(&u, raw)
	}
	return u
}

// inputBytes is the length of what req asks about, for estimates.
func inputBytes(req *schemas.Request) int {
	n := 0
	if req.Embed != nil {
		for i := range req.Embed.Inputs {
			n += len(req.Embed.Inputs[i].Text)
		}
	}
	return n
}

// tokens estimates by the rule of thumb for English: four bytes each.
func tokens(bytes int) int64 { return int64(bytes+3) / 4 }
