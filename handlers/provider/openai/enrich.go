package openai

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"strings"

	"github.com/sira-ai/sira/handlers/provider/wire"
	"github.com/sira-ai/sira/schemas"
	"github.com/sira-ai/sira/schemas/jsontext"
)

// cite takes in annotations: sources of what was said.
func cite(answer *wire.Answer, choice int, raw json.RawMessage) {
	c := jsontext.NewCursor(raw)
	if !c.Array() {
		return
	}
	for c.Item() {
		answer.Cite(choice, citation(c.Raw()))
	}
}

// citation reads an annotation. Chat completions have its fields in an object
// named like the type; the responses API has them beside the type.
func citation(raw json.RawMessage) schemas.Citation {
	cite := schemas.Citation{Raw: bytes.Clone(raw)}
	c := jsontext.NewCursor(raw)
	citationFields(&c, &cite)
	return cite
}

func citationFields(c *jsontext.Cursor, cite *schemas.Citation) {
	if !c.Object() {
		return
	}
	for c.Key() {
		switch string(c.Name()) {
		case "url_citation", "file_citation", "container_file_citation", "file_path":
			citationFields(c, cite)
		case "start_index":
			cite.Start = c.Count()
		case "end_index":
			cite.End = c.Count()
		case "title", "filename":
			cite.Title = c.Text()
		case "url":
			cite.URL = c.Text()
		case "quote":
			cite.Text = c.Text()
		case "file_id":
			cite.Sources = append(cite.Sources, c.Text())
		default:
			c.Skip()
		}
	}
}

// audio takes in what the model says aloud, whole or a piece of it: base64 of
// the sound, and its words.
func (r *reader) audio(choice int, raw json.RawMessage) error {
	var id, data, words string
	c := jsontext.NewCursor(raw)
	if !c.Object() {
		return nil
	}
	for c.Key() {
		switch string(c.Name()) {
		case "id":
			id = c.Text()
		case "data":
			data = c.Text()
		case "transcript":
			words = c.Text()
		default:
			c.Skip()
		}
	}
	sound, err := base64.StdEncoding.DecodeString(data)
	if err != nil {
		return wire.Malformed("its sound is not base64", err)
	}
	if r.voice == nil {
		r.voice = make(map[int]*spoken)
	}
	v := r.voice[choice]
	if v == nil {
		v = new(spoken)
		r.voice[choice] = v
	}
	if id != "" {
		v.id = id
	}
	v.words += words
	if len(sound) > 0 {
		r.answer.MediaPiece(choice, schemas.PartAudio, r.sound, sound)
	}
	return nil
}

// spoken is what belongs to the sound of a choice besides its data.
type spoken struct {
	id, words string
}

// name gives the sounds in res their ids, by which later requests refer to them,
// and their words.
func (r *reader) name(res *schemas.Response) {
	for i := range res.Choices {
		v := r.voice[res.Choices[i].Index]
		if v == nil {
			continue
		}
		parts := res.Choices[i].Message.Parts
		at := len(parts)
		for j := range parts {
			if parts[j].Kind == schemas.PartAudio {
				at = j
			}
		}
		if at == len(parts) {
			parts = append(parts, schemas.Part{Kind: schemas.PartAudio, Media: &schemas.Media{MIME: r.sound}})
			res.Choices[i].Message.Parts = parts
		}
		m := parts[at].Media
		m.FileID, m.Provider, m.Text = v.id, r.a.variant.Name, v.words
	}
}

// soundOf returns the type of the sound that req asks for.
func soundOf(o *schemas.OutputSpec, stream bool) string {
	switch format := audioFormat(o, stream); format {
	case "mp3":
		return "audio/mpeg"
	case "pcm16":
		return "audio/pcm"
	default:
		return "audio/" + format
	}
}

// images takes in pictures beside the text, as OpenRouter sends them.
func (r *reader) images(choice int, raw json.RawMessage) {
	var list []struct {
		ImageURL struct {
			URL string `json:"url"`
		} `json:"image_url"`
	}
	if json.Unmarshal(raw, &list) != nil {
		return // not the form that is known; the text is worth more
	}
	for i := range list {
		if m := pictureAt(list[i].ImageURL.URL); m.URL != "" || len(m.Data) > 0 {
			r.answer.Media(choice, schemas.PartImage, m)
		}
	}
}

// pictureAt returns the picture at an address, which may be a data URL.
func pictureAt(address string) schemas.Media {
	head, data, isData := strings.Cut(strings.TrimPrefix(address, "data:"), ";base64,")
	if isData && strings.HasPrefix(address, "data:") {
		if b, err := base64.StdEncoding.DecodeString(data); err == nil {
			return schemas.Media{MIME: head, Data: b}
		}
	}
	return schemas.Media{URL: address}
}

// sniff returns the type of data where nobody says it.
func sniff(data []byte) string {
	mime, _, _ := strings.Cut(http.DetectContentType(data), ";")
	return mime
}

// modern returns log probabilities in the form of chat completions. The older
// API has lists of tokens, of their values and of objects with alternatives.
func modern(raw json.RawMessage) json.RawMessage {
	if !bytes.Contains(raw, []byte(`"token_logprobs"`)) {
		return raw
	}
	var old struct {
		Tokens []string             `json:"tokens"`
		Values []*float64           `json:"token_logprobs"`
		Top    []map[string]float64 `json:"top_logprobs"`
	}
	if json.Unmarshal(raw, &old) != nil {
		return raw
	}
	type alternative struct {
		Token   string   `json:"token"`
		LogProb *float64 `json:"logprob"`
	}
	type token struct {
		alternative
		Top []alternative `json:"top_logprobs"`
	}
	list := make([]token, len(old.Tokens))
	for i := range old.Tokens {
		list[i].Token = old.Tokens[i]
		list[i].Top = []alternative{}
		if i < len(old.Values) {
			list[i].LogProb = old.Values[i]
		}
		if i < len(old.Top) {
			for _, name := range sortedKeys(old.Top[i]) {
				value := old.Top[i][name]
				list[i].Top = append(list[i].Top, alternative{name, &value})
			}
		}
	}
	b, err := json.Marshal(map[string]any{"content": list})
	if err != nil {
		return raw
	}
	return b
}
