package gemini

import (
	"bytes"
	"encoding/json"

	"github.com/sira-ai/sira/handlers/provider/wire"
	"github.com/sira-ai/sira/schemas"
	"github.com/sira-ai/sira/schemas/jsontext"
)

// reader puts what the vendor says into an answer, in one piece or in many.
type reader struct {
	a      *adapter
	answer *wire.Answer
	req    *schemas.Request

	id, model  string
	usage      []byte // as last said
	candidates []*candidate
	calls      int
	blocked    string // why the prompt was
	why        string // in words
	ratings    []byte // of the prompt
	parts      []part // of the candidate being read
	plain      bool   // the piece being read says nothing but text
	repeat     repeat
	fault      string // what is wrong with the piece being read
}

// candidate is one of the answers, as far as it has come.
type candidate struct {
	index     int
	finish    schemas.Finish
	text      []byte
	pieces    int // parts of the answer so far
	last      schemas.PartKind
	sealed    bool
	extras    extras
	called    bool
	open      *openCall // whose arguments are still coming
	signature string    // of the last part, not yet passed on
	thought   bool      // whether that part is a thought
	grounding json.RawMessage
	sources   json.RawMessage // citationMetadata
	ratings   json.RawMessage
	searches  int64
}

// take takes in a response or a piece of one. Its failure is for Decode to
// return.
func (r *reader) take(data []byte) error {
	if text, same := r.repeat.text(data); same {
		r.part(r.repeat.candidate, &part{text: text, thought: r.repeat.thought})
		return nil
	}
	r.settle()
	r.plain, r.repeat.candidate, r.repeat.head = true, nil, r.repeat.head[:0]
	c := jsontext.NewCursor(data)
	var candidates []byte
	began := r.id != "" || r.model != ""
	failed := false
	if c.Object() {
		for c.Key() {
			switch string(c.Name()) {
			case "candidates":
				if began {
					r.list(&c)
				} else { // the id, which comes behind, goes first
					candidates = c.Raw()
				}
			case "usageMetadata", "usage_metadata":
				r.said(c.Raw())
			case "modelVersion", "model_version":
				r.once(&c, &r.model)
			case "responseId", "response_id":
				r.once(&c, &r.id)
			case "promptFeedback", "prompt_feedback":
				r.plain = false
				r.feedback(c.Raw())
			case "error":
				failed = string(c.Raw()) != "null"
			default:
				c.Skip()
			}
		}
	}
	if err := c.End(); err != nil {
		return err
	}
	if failed {
		return r.a.told(data)
	}
	r.answer.Begin(r.id, r.model)
	if !began {
		c := jsontext.NewCursor(candidates)
		if len(candidates) > 0 {
			r.list(&c)
		}
	}
	if r.fault != "" {
		return wire.Malformed(r.fault, nil)
	}
	if r.plain && r.repeat.candidate != nil {
		r.repeat.learn(data, r.parts[0].text)
	}
	return nil
}

// once reads a text that is the same in every piece.
func (r *reader) once(c *jsontext.Cursor, to *string) {
	if *to == "" {
		*to = c.Text()
	} else {
		c.Skip()
	}
}

// said keeps usage. The last numbers count; a piece may have none.
func (r *reader) said(raw []byte) {
	if bytes.Contains(raw, []byte("okenCount")) {
		r.usage = append(r.usage[:0], raw...)
	}
}

func (r *reader) list(c *jsontext.Cursor) {
	if !c.Array() {
		return
	}
	for n := 0; c.Item(); n++ {
		r.candidate(c, n)
	}
}

// candidate reads a candidate, which is the nth of its list unless it says
// otherwise. The index comes behind the content.
func (r *reader) candidate(c *jsontext.Cursor, n int) {
	if !c.Object() {
		return
	}
	var logprobs, ratings, sources, grounding, urls []byte
	r.parts = r.parts[:0]
	var finish, message string
	index := n
	for c.Key() {
		switch string(c.Name()) {
		case "content":
			r.content(c)
		case "index":
			if i := c.Int(); i >= 0 {
				index = i
			}
		case "finishReason", "finish_reason":
			finish = c.Text()
		case "finishMessage", "finish_message":
			message = c.Text()
		case "safetyRatings":
			ratings = c.Raw()
		case "citationMetadata":
			sources = c.Raw()
		case "groundingMetadata":
			grounding = c.Raw()
		case "urlContextMetadata":
			urls = c.Raw()
		case "logprobsResult":
			logprobs = c.Raw()
		default:
			c.Skip()
		}
	}
	cand := r.at(index)
	r.plain = r.plain && r.repeat.candidate == nil && len(r.parts) == 1 && r.parts[0].plain() && finish == "" &&
		len(logprobs)+len(ratings)+len(sources)+len(grounding)+len(urls) == 0
	if r.plain {
		r.repeat.candidate, r.repeat.thought = cand, r.parts[0].thought
	}
	keep(&cand.ratings, ratings)
	keep(&cand.sources, sources)
	keep(&cand.grounding, grounding)
	keep(&cand.extras.URLs, urls)
	for i := range r.parts {
		r.part(cand, &r.parts[i])
	}
	if len(logprobs) > 0 {
		r.answer.LogProbs(index, probabilities(logprobs))
	}
	if finish != "" && finish != "FINISH_REASON_UNSPECIFIED" && finish != "0" {
		cand.finish = finishOf(finish, message)
	}
}

// maxCandidates bounds the answers to one request; the vendor gives eight at most.
const maxCandidates = 128

func (r *reader) at(index int) *candidate {
	for _, c := range r.candidates {
		if c.index == index {
			return c
		}
	}
	if len(r.candidates) == maxCandidates {
		r.fault = "it has too many candidates"
		return r.candidates[0]
	}
	c := &candidate{index: index}
	r.candidates = append(r.candidates, c)
	r.answer.Open(index)
	return c
}

// content reads the parts of a candidate, whose index is not known yet.
func (r *reader) content(c *jsontext.Cursor) {
	if !c.Object() {
		return
	}
	for c.Key() {
		switch {
		case string(c.Name()) != "parts":
			c.Skip()
		case c.Array():
			for c.Item() {
				r.parts = append(r.parts, part{})
				r.parts[len(r.parts)-1].parse(c)
			}
		}
	}
}

func (r *reader) part(cand *candidate, p *part) {
	i := cand.index
	r.sign(cand)
	switch {
	case p.call != nil:
		r.call(cand, p.call)
	case p.inline != nil:
		r.media(cand, p.inline)
	case p.file != nil:
		kind := kindOf(p.file.mime)
		cand.alone(kind)
		r.answer.Media(i, kind, schemas.Media{MIME: p.file.mime, URL: p.file.address()})
	case p.text == "" && len(p.own) > 0:
		cand.own(p)
		r.answer.Seal(i)
		return
	case p.text == "":
	case p.thought:
		cand.grown(schemas.PartReasoning)
		r.answer.Reasoning(i, p.text)
	default:
		cand.grown(schemas.PartText)
		cand.text = append(cand.text, p.text...)
		r.answer.Text(i, p.text)
	}
	cand.signature, cand.thought = p.signature, p.thought
}

// sign adds the signature of the last part behind it, to which nothing may be
// joined any more. It waits for what comes next: citations go with the text.
func (r *reader) sign(cand *candidate) {
	if cand.signature == "" {
		return
	}
	if !cand.thought { // nor is the signature a thought's
		r.answer.Seal(cand.index)
		cand.sealed = true
	}
	cand.grown(schemas.PartReasoning)
	r.answer.Signature(cand.index, cand.signature, false)
	r.answer.Seal(cand.index)
	cand.signature, cand.sealed = "", true
}

func (r *reader) media(cand *candidate, m *blob) {
	data, ok := m.bytes()
	if !ok {
		r.fault = "it holds media that are not in base64"
	}
	if len(data) == 0 {
		return
	}
	kind := kindOf(m.mime)
	if kind == schemas.PartAudio { // in a stream, sound comes in pieces
		cand.grown(kind)
		r.answer.MediaPiece(cand.index, kind, m.mime, data)
		return
	}
	cand.alone(kind)
	r.answer.Media(cand.index, kind, schemas.Media{MIME: m.mime, Data: data})
}

// grown counts a piece that joins the last part if that is of its kind.
func (cand *candidate) grown(kind schemas.PartKind) {
	if cand.pieces == 0 || cand.sealed || cand.last != kind {
		cand.pieces++
		cand.sealed = false
	}
	cand.last = kind
}

// alone counts a piece that is a part.
func (cand *candidate) alone(kind schemas.PartKind) { cand.pieces++; cand.last = kind }

// own keeps a part of a kind that only this vendor has, whole.
func (cand *candidate) own(p *part) {
	b := append([]byte{'{'}, p.own...)
	b = jsontext.AppendStringField(b, "thoughtSignature", p.signature)
	if p.thought {
		b = append(b, `,"thought":true`...)
	}
	cand.extras.Parts = append(cand.extras.Parts, ownPart{At: cand.pieces, Part: append(b, '}')})
	cand.sealed = true
}
