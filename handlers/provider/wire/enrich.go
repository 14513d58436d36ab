package wire

import (
	"encoding/json"

	"github.com/sira-ai/sira/schemas"
)

// Media adds a picture, sound or file to the choice as a part of its own.
func (a *Answer) Media(index int, kind schemas.PartKind, m schemas.Media) {
	c := a.choice(index)
	c.parts = append(c.parts, piece{kind: kind, media: &m})
	at := len(c.parts) - 1
	a.size += len(m.Text)
	if a.emit != nil {
		a.send(schemas.Chunk{Type: schemas.ChunkMedia, Choice: index, PartIndex: at, Media: &m})
	}
}

// MediaPiece appends data to the choice's last part if that is media of this
// kind, else to a new one. The first mime type that is not empty counts.
func (a *Answer) MediaPiece(index int, kind schemas.PartKind, mime string, data []byte) {
	p, at := a.choice(index).part(kind)
	if p.media == nil {
		p.media = &schemas.Media{MIME: mime}
	}
	p.media.Data = append(p.media.Data, data...)
	if a.emit != nil {
		a.send(schemas.Chunk{
			Type: schemas.ChunkMedia, Choice: index, PartIndex: at,
			Media: &schemas.Media{MIME: p.media.MIME, Data: data},
		})
	}
}

// Cite adds a source to the choice's last text, or to a new one.
func (a *Answer) Cite(index int, cite schemas.Citation) {
	p, at := a.choice(index).part(schemas.PartText)
	p.citations = append(p.citations, cite)
	if a.emit != nil {
		a.send(schemas.Chunk{Type: schemas.ChunkCitation, Choice: index, PartIndex: at, Citation: &cite})
	}
}

// LogProbs keeps log probabilities of the choice in OpenAI's form. Pieces of a
// stream are objects with lists under content and refusal, which are joined.
func (a *Answer) LogProbs(index int, raw json.RawMessage) {
	if len(raw) == 0 || string(raw) == "null" {
		return
	}
	c := a.choice(index)
	c.logprobs = joinLogProbs(c.logprobs, raw)
	if a.emit != nil {
		a.send(schemas.Chunk{Type: schemas.ChunkText, Choice: index, PartIndex: max(len(c.parts)-1, 0), LogProbs: raw})
	}
}

func joinLogProbs(have, more json.RawMessage) json.RawMessage {
	if len(have) == 0 {
		return append(json.RawMessage(nil), more...)
	}
	var a, b map[string]json.RawMessage
	if json.Unmarshal(have, &a) != nil || json.Unmarshal(more, &b) != nil {
		return have
	}
	for k, v := range b {
		var x, y []json.RawMessage
		if json.Unmarshal(v, &y) != nil || len(y) == 0 {
			continue
		}
		_ = json.Unmarshal(a[k], &x) // absent or null: an empty list
		joined, err := json.Marshal(append(x, y...))
		if err != nil {
			return have
		}
		a[k] = joined
	}
	joined, err := json.Marshal(a)
	if err != nil {
		return have
	}
	return joined
}

// Filtered keeps what the vendor's filter says.
func (a *Answer) Filtered(s schemas.Safety) { a.res.Safety = append(a.res.Safety, s) }

// Identify gives the vendor's id to the choice's last part, which is reasoning.
func (a *Answer) Identify(index int, id string) {
	p, _ := a.choice(index).part(schemas.PartReasoning)
	p.id = id
}

// ToolType says that the tool call at part is not of a function: custom or
// server.
func (a *Answer) ToolType(index, part int, typ string) {
	a.choice(index).parts[part].typ = typ
}
