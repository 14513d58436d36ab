package huggingface

import (
	"cmp"
	"encoding/json"
	"net/http"
	"slices"
	"time"

	"github.com/shopspring/decimal"

	"github.com/sira-ai/sira/handlers/provider/wire"
	"github.com/sira-ai/sira/schemas"
	"github.com/sira-ai/sira/schemas/jsontext"
)

// body reads an answer that is JSON, and refuses one that is an error with the
// status of a success.
func (a *Adapter) body(res *http.Response) ([]byte, error) {
	form, from := wire.Open(res, false)
	if form != wire.JSON {
		return nil, wire.Malformed("its content type is not JSON", nil)
	}
	b, err := wire.ReadAll(from, res.ContentLength)
	if err != nil {
		return nil, err
	}
	c := jsontext.NewCursor(b)
	wrong := false
	if c.Kind() == '{' {
		c.Object()
		for c.Key() {
			if string(c.Name()) == "error" {
				wrong = string(c.Raw()) != "null"
			} else {
				c.Skip()
			}
		}
	} else {
		c.Skip()
	}
	switch err := c.End(); {
	case err != nil:
		return nil, wire.Malformed("it is not JSON", err)
	case wrong:
		return nil, a.told(b)
	}
	return b, nil
}

// result returns an answer without tokens: what is billed of it, if anything, is
// the time it took.
func (a *Adapter) result(res *http.Response) *schemas.Response {
	u := schemas.Usage{Source: schemas.UsageEstimated, Units: a.computed(res.Header)}
	if len(u.Units) > 0 {
		u.Source = schemas.UsageReported
	}
	return &schemas.Response{Usage: u}
}

// computed returns the seconds of compute that the vendor's own pipelines are
// billed by. What comes from a cache took none.
func (a *Adapter) computed(h http.Header) map[string]decimal.Decimal {
	d, err := decimal.NewFromString(h.Get("X-Compute-Time"))
	if a.config.Server != serverRouter || err != nil || d.IsNegative() || d.Exponent() < -30 || d.Exponent() > 10 ||
		h.Get("X-Compute-Type") == "cache" {
		return nil
	}
	return map[string]decimal.Decimal{"gpu_seconds": d}
}

// readRanks reads a score for each document, or TEI's list of places.
func (a *Adapter) readRanks(res *http.Response, req *schemas.Request) (*schemas.Response, error) {
	b, err := a.body(res)
	if err != nil {
		return nil, err
	}
	r := req.Rerank
	out := a.result(res)
	var scores []float64
	var places []struct {
		Index int     `json:"index"`
		Score float64 `json:"score"`
	}
	switch {
	case json.Unmarshal(b, &scores) == nil && len(scores) == len(r.Documents):
		for i, s := range scores {
			out.Ranks = append(out.Ranks, schemas.Rank{Index: i, Score: s})
		}
	case json.Unmarshal(b, &places) == nil && len(places) == len(r.Documents):
		seen := make([]bool, len(places))
		for _, p := range places {
			if p.Index < 0 || p.Index >= len(places) || seen[p.Index] {
				return nil, wire.Malformed("it ranks documents that were not given", nil)
			}
			seen[p.Index] = true
			out.Ranks = append(out.Ranks, schemas.Rank{Index: p.Index, Score: p.Score})
		}
	default:
		return nil, wire.Malformed("it is not one score for each document", nil)
	}
	slices.SortStableFunc(out.Ranks, func(x, y schemas.Rank) int { return cmp.Compare(y.Score, x.Score) })
	if n := r.TopN; n != nil && *n >= 0 && *n < int64(len(out.Ranks)) {
		out.Ranks = out.Ranks[:*n]
	}
	if r.ReturnDocuments {
		for i := range out.Ranks {
			d := r.Documents[out.Ranks[i].Index]
			out.Ranks[i].Document = &d
		}
	}
	return out, nil
}

func (a *Adapter) readTranscript(res *http.Response) (*schemas.Response, error) {
	b, err := a.body(res)
	if err != nil {
		return nil, err
	}
	var t struct {
		Text   *string `json:"text"`
		Chunks []struct {
			Text      string     `json:"text"`
			Timestamp []*float64 `json:"timestamp"`
		} `json:"chunks"`
	}
	if err := json.Unmarshal(b, &t); err != nil || t.Text == nil {
		return nil, wire.Malformed("it is no transcript", err)
	}
	out := a.result(res)
	out.Transcript = &schemas.Transcript{Text: *t.Text}
	for _, c := range t.Chunks {
		s := schemas.TranscriptSegment{Text: c.Text}
		if len(c.Timestamp) == 2 && c.Timestamp[0] != nil {
			s.Start, s.End = *c.Timestamp[0], *c.Timestamp[0]
			if c.Timestamp[1] != nil { // open at the end of some recordings
				s.End = *c.Timestamp[1]
			}
		}
		out.Transcript.Segments = append(out.Transcript.Segments, s)
	}
	return out, nil
}

// readModels reads the router's list, or an endpoint's.
func (a *Adapter) readModels(res *http.Response) (*schemas.Response, error) {
	b, err := a.body(res)
	if err != nil {
		return nil, err
	}
	var l struct {
		Data []struct {
			ID           string `json:"id"`
			Created      int64  `json:"created"`
			OwnedBy      string `json:"owned_by"`
			Architecture struct {
				Output []string `json:"output_modalities"`
			} `json:"architecture"`
			Providers []struct {
				Status  string `json:"status"`
				Context int64  `json:"context_length"`
			} `json:"providers"`
		} `json:"data"`
	}
	if err := json.Unmarshal(b, &l); err != nil || l.Data == nil {
		return nil, wire.Malformed("it is no list of models", err)
	}
	out := &schemas.Response{Usage: schemas.Usage{Source: schemas.UsageNone}, Models: make([]schemas.ModelInfo, 0, len(l.Data))}
	for _, d := range l.Data {
		m := schemas.ModelInfo{ID: d.ID, Owner: d.OwnedBy}
		if d.Created > 0 {
			m.CreatedAt = time.Unix(d.Created, 0).UTC()
		}
		for _, p := range d.Providers { // partners differ: the largest is what the model can
			if p.Status != "error" {
				m.ContextTokens = max(m.ContextTokens, p.Context)
			}
		}
		if slices.Contains(d.Architecture.Output, "text") {
			m.Operations = []string{string(schemas.OpChat)}
		}
		out.Models = append(out.Models, m)
	}
	return out, nil
}
