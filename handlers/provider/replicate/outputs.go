package replicate

import (
	"encoding/json"
	"strings"

	"github.com/sira-ai/sira/handlers/provider/wire"
	"github.com/sira-ai/sira/schemas"
	"github.com/sira-ai/sira/schemas/jsontext"
)

// vectors returns the embeddings of an output: a vector, a list of them, or a
// list of objects with one under embedding, as lists or as the JSON text of one.
func vectors(output []byte, asked int) ([]schemas.Embedding, error) {
	all := vectorsIn(output, 0)
	if len(all) == 0 || len(all) != asked {
		return nil, wire.Malformed("the prediction's output is not one vector for each input", nil)
	}
	return all, nil
}

func vectorsIn(raw []byte, depth int) []schemas.Embedding {
	c := jsontext.NewCursor(raw)
	switch kind := c.Kind(); {
	case depth > 4:
	case kind == '"':
		text := []byte(c.Text())
		if len(text) > 0 && text[0] != '"' && json.Valid(text) {
			return vectorsIn(text, depth+1)
		}
	case kind == '{':
		for _, key := range []string{"embedding", "embeddings", "vector", "vectors", "output"} {
			if v := find(raw, key); len(v) > 0 {
				return vectorsIn(v, depth+1)
			}
		}
	case kind == '[':
		var flat []float32
		if json.Unmarshal(raw, &flat) == nil {
			if len(flat) == 0 {
				return nil
			}
			return []schemas.Embedding{{Vector: flat}}
		}
		var all []schemas.Embedding
		c.Array()
		for c.Item() {
			for _, e := range vectorsIn(c.Raw(), depth+1) {
				e.Index = len(all)
				all = append(all, e)
			}
		}
		return all
	}
	return nil
}

// transcript returns the words of an output: a text, or an object with one and,
// of some models, its segments.
func transcript(output []byte) (*schemas.Transcript, error) {
	var o struct {
		Text          *string         `json:"text"`
		Transcription json.RawMessage `json:"transcription"`
		Language      json.RawMessage `json:"language"`
		Detected      json.RawMessage `json:"detected_language"`
		Segments      []segment       `json:"segments"`
		Chunks        []segment       `json:"chunks"`
	}
	if len(output) == 0 || output[0] != '{' {
		return &schemas.Transcript{Text: strings.Join(texts(output), "")}, nil
	}
	if err := json.Unmarshal(output, &o); err != nil {
		return nil, wire.Malformed("the prediction's output is no transcript", err)
	}
	t := &schemas.Transcript{Language: word(o.Language)}
	if t.Language == "" {
		t.Language = word(o.Detected)
	}
	for _, s := range append(o.Segments, o.Chunks...) {
		t.Segments = append(t.Segments, s.canonical())
	}
	switch {
	case o.Text != nil:
		t.Text = *o.Text
	case word(o.Transcription) != "":
		t.Text = word(o.Transcription)
	case len(t.Segments) == 0:
		return nil, wire.Malformed("the prediction's output is no transcript", nil)
	default:
		for _, s := range t.Segments {
			t.Text += s.Text
		}
	}
	return t, nil
}

type segment struct {
	Start     float64    `json:"start"`
	End       float64    `json:"end"`
	Text      string     `json:"text"`
	Speaker   string     `json:"speaker"`
	Timestamp []*float64 `json:"timestamp"`
}

func (s *segment) canonical() schemas.TranscriptSegment {
	out := schemas.TranscriptSegment{Start: s.Start, End: s.End, Text: s.Text, Speaker: s.Speaker}
	if len(s.Timestamp) == 2 && s.Timestamp[0] != nil {
		out.Start, out.End = *s.Timestamp[0], *s.Timestamp[0]
		if s.Timestamp[1] != nil {
			out.End = *s.Timestamp[1]
		}
	}
	return out
}

func word(raw json.RawMessage) string {
	var s string
	_ = json.Unmarshal(raw, &s) // what is no string is left out
	return s
}
