package together

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"

	"github.com/shopspring/decimal"

	"github.com/sira-ai/sira/handlers/provider"
	"github.com/sira-ai/sira/handlers/provider/wire"
	"github.com/sira-ai/sira/schemas"
	"github.com/sira-ai/sira/schemas/jsontext"
)

// rerank returns the JSON of a rerank request. Documents with fields are sent as
// objects if any of them has some: the API takes one kind or the other.
func rerank(call provider.Call) ([]byte, error) {
	spec := call.Request.Rerank
	if spec.MaxTokens != nil {
		return nil, wire.Unsupported("rerank.max_tokens_per_document", "is not known to this provider")
	}
	objects := slices.ContainsFunc(spec.Documents, func(d schemas.Document) bool { return d.Title != "" || len(d.Data) > 0 })
	b := append(make([]byte, 0, 512), '{')
	b = jsontext.AppendString(jsontext.AppendField(b, "model"), call.Model)
	b = jsontext.AppendString(jsontext.AppendField(b, "query"), spec.Query)
	b = append(jsontext.AppendField(b, "documents"), '[')
	for i := range spec.Documents {
		b = jsontext.AppendItem(b)
		if !objects {
			b = jsontext.AppendString(b, spec.Documents[i].Text)
			continue
		}
		raw, err := json.Marshal(written(&spec.Documents[i]))
		if err != nil {
			return nil, fmt.Errorf("writing document %d: %w", i, err)
		}
		b = append(b, raw...)
	}
	b = append(b, ']')
	b = jsontext.AppendIntField(b, "top_n", spec.TopN)
	return extended(append(b, '}'), call.Request, "model", "query", "documents")
}

func written(d *schemas.Document) map[string]string {
	fields := make(map[string]string, len(d.Data)+2)
	maps.Copy(fields, d.Data)
	if d.Title != "" {
		fields["title"] = d.Title
	}
	if d.Text != "" {
		fields["text"] = d.Text
	}
	return fields
}

// ranks reads a ranking. Documents are the request's own: the vendor only
// repeats them.
func (a *adapter) ranks(res *http.Response, call provider.Call) (*schemas.Response, error) {
	if form, _ := wire.Open(res, false); form != wire.JSON {
		return nil, wire.Malformed("its content type is not JSON", nil)
	}
	body, err := wire.ReadAll(res.Body, res.ContentLength)
	if err != nil {
		return nil, err
	}
	spec := call.Request.Rerank
	out := &schemas.Response{Model: call.Model}
	seen := false
	var usage, refused []byte
	c := jsontext.NewCursor(body)
	if c.Object() {
		for c.Key() {
			switch string(c.Name()) {
			case "id":
				out.UpstreamID = c.Text()
			case "model":
				out.Model = c.Text()
			case "usage":
				usage = c.Raw()
			case "error":
				refused = c.Raw()
			case "results":
				if seen = c.Array(); seen {
					for c.Item() {
						out.Ranks = append(out.Ranks, rank(&c, spec))
					}
				}
			default:
				c.Skip()
			}
		}
	}
	switch {
	case c.End() != nil:
		return nil, wire.Malformed("it is not the JSON of a ranking", c.End())
	case !seen && len(refused) > 0 && string(refused) != "null":
		f := wire.Told(wire.ParseError(body), a.secret)
		f.Code, f.Phase = schemas.Internal, schemas.PhaseBody
		return nil, f
	case !seen:
		return nil, wire.Malformed("it has no results", nil)
	}
	out.Usage = ranked(usage, spec)
	return out, nil
}

func rank(c *jsontext.Cursor, spec *schemas.RerankSpec) schemas.Rank {
	r := schemas.Rank{Index: -1}
	if c.Object() {
		for c.Key() {
			switch string(c.Name()) {
			case "index":
				r.Index = c.Int()
			case "relevance_score":
				_ = json.Unmarshal(c.Raw(), &r.Score) // what is no number is 0
			default:
				c.Skip()
			}
		}
	}
	if spec.ReturnDocuments && r.Index >= 0 && r.Index < len(spec.Documents) {
		r.Document = &spec.Documents[r.Index]
	}
	return r
}

// ranked reads usage, which is by token, or estimates it.
func ranked(raw []byte, spec *schemas.RerankSpec) schemas.Usage {
	u := schemas.Usage{Source: schemas.UsageReported, Raw: slices.Clone(raw), Units: map[string]decimal.Decimal{"requests": decimal.NewFromInt(1)}}
	counted := false
	c := jsontext.NewCursor(raw)
	if c.Object() {
		for c.Key() {
			switch string(c.Name()) {
			case "prompt_tokens":
				u.InputTokens, counted = c.Count(), true
			case "completion_tokens":
				u.OutputTokens = c.Count()
			default:
				c.Skip()
			}
		}
	}
	if !counted {
		const perToken = 4 // bytes
		n := len(spec.Query)
		for i := range spec.Documents {
			n += len(spec.Documents[i].Text)
		}
		u.InputTokens, u.Source = int64(n+perToken-1)/perToken, schemas.UsageEstimated
	}
	return u
}
