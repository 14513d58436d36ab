package gemini

import (
	"bytes"
	"encoding/json"
	"unicode/utf8"

	"github.com/shopspring/decimal"

	"github.com/sira-ai/sira/schemas"
	"github.com/sira-ai/sira/schemas/jsontext"
)

func units(name string, n int64) map[string]decimal.Decimal {
	return map[string]decimal.Decimal{name: decimal.NewFromInt(n)}
}

// text is a string, or the JSON of what is there in its place: old SDKs'
// recordings have the numbers of enums.
type text string

// UnmarshalJSON decodes b.
func (s *text) UnmarshalJSON(b []byte) error {
	c := jsontext.NewCursor(b)
	*s = text(c.Text())
	return nil
}

// feedback takes in what the filter says of the prompt.
func (r *reader) feedback(raw []byte) {
	var f struct {
		Reason  text            `json:"blockReason"`
		Message text            `json:"blockReasonMessage"`
		Ratings json.RawMessage `json:"safetyRatings"`
	}
	if json.Unmarshal(raw, &f) != nil {
		return
	}
	if f.Reason != "" && f.Reason != "BLOCK_REASON_UNSPECIFIED" && f.Reason != "0" {
		r.blocked, r.why = string(f.Reason), string(f.Message)
	}
	r.ratings = append(r.ratings[:0], f.Ratings...)
}

// rate takes in safety ratings.
func (r *reader) rate(source string, raw []byte) {
	if len(raw) == 0 {
		return
	}
	var list []struct {
		Category    text `json:"category"`
		Probability text `json:"probability"`
		Severity    text `json:"severity"`
		Blocked     bool `json:"blocked"`
	}
	if json.Unmarshal(raw, &list) != nil {
		return
	}
	for _, s := range list {
		severity := s.Probability
		if severity == "" {
			severity = s.Severity
		}
		r.answer.Filtered(schemas.Safety{
			Source: source, Category: string(s.Category), Severity: string(severity), Filtered: s.Blocked,
		})
	}
}

// keep holds metadata until the candidate's end; in a stream the fullest counts.
func keep(to *json.RawMessage, raw []byte) {
	if len(raw) > 2 && len(raw) >= len(*to) {
		*to = bytes.Clone(raw)
	}
}

// grounding is what an answer rests on.
type grounding struct {
	Queries []string `json:"webSearchQueries"`
	Chunks  []struct {
		Web       *source `json:"web"`
		Retrieved *source `json:"retrievedContext"`
		Maps      *source `json:"maps"`
		Image     *source `json:"image"`
	} `json:"groundingChunks"`
	Supports []struct {
		Segment segment `json:"segment"`
		Indices []int   `json:"groundingChunkIndices"`
	} `json:"groundingSupports"`
}

type source struct {
	URI      string `json:"uri"`
	Title    string `json:"title"`
	Document string `json:"documentName"`
}

type segment struct {
	Start jsontext.Count `json:"startIndex"` // bytes
	End   jsontext.Count `json:"endIndex"`
	Text  string         `json:"text"`
}

// cite turns a candidate's sources into citations. Without supports each source
// is one of the whole text.
func (r *reader) cite(cand *candidate) {
	var g grounding
	if len(cand.grounding) > 0 && json.Unmarshal(cand.grounding, &g) == nil {
		cand.searches = int64(len(g.Queries))
		cand.extras.Grounding = cand.grounding
	}
	for _, s := range g.Supports {
		for _, i := range s.Indices {
			if i < 0 || i >= len(g.Chunks) {
				continue
			}
			c := g.citation(i)
			c.Start, c.End, c.Text = cand.characters(s.Segment.Start), cand.characters(s.Segment.End), s.Segment.Text
			r.answer.Cite(cand.index, c)
		}
	}
	if len(g.Supports) == 0 {
		for i := range g.Chunks {
			r.answer.Cite(cand.index, g.citation(i))
		}
	}
	r.recite(cand)
}

func (g *grounding) citation(i int) schemas.Citation {
	s := &source{}
	for _, one := range []*source{g.Chunks[i].Web, g.Chunks[i].Retrieved, g.Chunks[i].Maps, g.Chunks[i].Image} {
		if one != nil {
			s = one
		}
	}
	c := schemas.Citation{URL: s.URI, Title: s.Title}
	if s.Document != "" {
		c.Sources = []string{s.Document}
	}
	return c
}

// recite turns citationMetadata, of text that is found elsewhere, into citations.
func (r *reader) recite(cand *candidate) {
	type cited struct {
		Start   jsontext.Count `json:"startIndex"`
		End     jsontext.Count `json:"endIndex"`
		URI     string         `json:"uri"`
		Title   string         `json:"title"`
		License string         `json:"license"`
	}
	var m struct {
		Studio []json.RawMessage `json:"citationSources"`
		Vertex []json.RawMessage `json:"citations"`
	}
	if len(cand.sources) == 0 || json.Unmarshal(cand.sources, &m) != nil {
		return
	}
	for _, raw := range append(m.Studio, m.Vertex...) {
		var c cited
		if json.Unmarshal(raw, &c) == nil {
			r.answer.Cite(cand.index, schemas.Citation{
				Start: cand.characters(c.Start), End: cand.characters(c.End), URL: c.URI, Title: c.Title, Raw: raw,
			})
		}
	}
}

// characters turns a place in bytes into one in characters.
func (cand *candidate) characters(n jsontext.Count) int64 {
	return int64(utf8.RuneCount(cand.text[:min(max(int(n), 0), len(cand.text))]))
}

// keep puts what the schemas have no place for with the message.
func (r *reader) keep(cand *candidate) {
	x := &cand.extras
	if len(x.Parts) == 0 && len(x.Grounding) == 0 && len(x.URLs) == 0 {
		return
	}
	if raw, err := json.Marshal(x); err == nil {
		r.answer.Extra(cand.index, vendor, raw)
	}
}

// probabilities turns logprobsResult into OpenAI's form; nil where it is not as
// agreed.
func probabilities(raw []byte) json.RawMessage {
	type token struct {
		Token string          `json:"token"`
		Log   json.RawMessage `json:"logProbability"`
	}
	type openai struct {
		Token string          `json:"token"`
		Log   json.RawMessage `json:"logprob"`
		Top   []openaiToken   `json:"top_logprobs"`
	}
	var in struct {
		Chosen []token `json:"chosenCandidates"`
		Top    []struct {
			Candidates []token `json:"candidates"`
		} `json:"topCandidates"`
	}
	if json.Unmarshal(raw, &in) != nil || len(in.Chosen) == 0 {
		return nil
	}
	zero := func(n json.RawMessage) json.RawMessage {
		if len(n) == 0 {
			return json.RawMessage("0")
		}
		return n
	}
	out := struct {
		Content []openai `json:"content"`
	}{make([]openai, len(in.Chosen))}
	for i, t := range in.Chosen {
		out.Content[i] = openai{Token: t.Token, Log: zero(t.Log), Top: []openaiToken{}}
		if i < len(in.Top) {
			for _, alt := range in.Top[i].Candidates {
				out.Content[i].Top = append(out.Content[i].Top, openaiToken{alt.Token, zero(alt.Log)})
			}
		}
	}
	b, err := json.Marshal(out)
	if err != nil {
		return nil
	}
	return b
}

type openaiToken struct {
	Token string          `json:"token"`
	Log   json.RawMessage `json:"logprob"`
}
