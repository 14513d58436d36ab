package wire

import (
	"strings"

	"github.com/sira-ai/sira/schemas"
)

// The marks around what some models think, in the midst of their text: servers
// of open models often leave it to the reader to tell the two apart.
const (
	thinkMark = "<think>"
	saidMark  = "</think>"
)

// Thoughts turns what stands between <think> and </think> at the beginning of a
// choice into reasoning, in the pieces of a stream and in the answer alike. Text
// that does not begin so is left as it is. A Thoughts is for one answer and one
// goroutine.
type Thoughts struct {
	emit    func(schemas.Chunk) error
	choices map[int]*thinker
}

type thinker struct {
	stage   stage
	pending string // may be the beginning of a mark
	spoken  bool   // text has come behind the thoughts
}

type stage int

const (
	undecided stage = iota
	thinking
	speaking // behind the thoughts
	plain    // without thoughts
)

// NewThoughts returns a filter before emit, which may be nil.
func NewThoughts(emit func(schemas.Chunk) error) *Thoughts {
	return &Thoughts{emit: emit, choices: make(map[int]*thinker)}
}

// Emit takes the place of emit.
func (t *Thoughts) Emit(c schemas.Chunk) error {
	if c.Type == schemas.ChunkStart || c.Type == schemas.ChunkUsage {
		return t.emit(c)
	}
	w := t.choices[c.Choice]
	if w == nil {
		w = new(thinker)
		t.choices[c.Choice] = w
	}
	if c.Type == schemas.ChunkText && c.PartIndex == 0 && c.Text != "" && w.stage != plain {
		w.pending += c.Text
		return t.advance(w, c, false)
	}
	if c.Type != schemas.ChunkText || c.Text != "" { // what is pending is no mark any more
		if err := t.advance(w, c, true); err != nil {
			return err
		}
	}
	if w.spoken && c.Type != schemas.ChunkFinish {
		c.PartIndex++
	}
	return t.emit(c)
}

// advance passes on what is pending as far as it is clear what it is; at the end
// of the text everything is.
func (t *Thoughts) advance(w *thinker, c schemas.Chunk, end bool) error {
	if w.stage == undecided {
		text := strings.TrimLeft(w.pending, " \t\r\n")
		switch {
		case strings.HasPrefix(text, thinkMark):
			w.stage, w.pending = thinking, text[len(thinkMark):]
		case end || !strings.HasPrefix(thinkMark, text):
			w.stage = plain
		default:
			return nil
		}
	}
	text := w.pending
	switch w.stage {
	case thinking:
		thought, rest, over := strings.Cut(text, saidMark)
		if !over && !end {
			n := len(text) - overlap(text, saidMark)
			thought, rest = text[:n], text[n:]
		}
		w.pending = rest
		if err := t.pass(c, schemas.ChunkReasoning, 0, thought); err != nil || !over {
			return err
		}
		w.stage = speaking
		return t.advance(w, c, end)
	case speaking:
		w.pending, w.spoken = "", w.spoken || text != ""
		return t.pass(c, schemas.ChunkText, 1, text)
	default:
		w.pending = ""
		return t.pass(c, schemas.ChunkText, 0, text)
	}
}

func (t *Thoughts) pass(c schemas.Chunk, typ schemas.ChunkType, part int, text string) error {
	if text == "" {
		return nil
	}
	return t.emit(schemas.Chunk{Type: typ, Choice: c.Choice, PartIndex: part, Text: text})
}

// overlap returns how many bytes at the end of text may begin mark.
func overlap(text, mark string) int {
	for n := min(len(text), len(mark)-1); n > 0; n-- {
		if strings.HasSuffix(text, mark[:n]) {
			return n
		}
	}
	return 0
}

// Split does to the answer what Emit does to its pieces. res may be nil.
func (t *Thoughts) Split(res *schemas.Response) {
	if res == nil {
		return
	}
	for i := range res.Choices {
		m := &res.Choices[i].Message
		if len(m.Parts) == 0 || m.Parts[0].Kind != schemas.PartText {
			continue
		}
		text, found := strings.CutPrefix(strings.TrimLeft(m.Parts[0].Text, " \t\r\n"), thinkMark)
		if !found {
			continue
		}
		thought, rest, _ := strings.Cut(text, saidMark)
		var parts []schemas.Part
		if thought != "" {
			parts = append(parts, schemas.Part{Kind: schemas.PartReasoning, Reasoning: &schemas.Reasoning{Text: thought}})
		}
		if rest != "" {
			own := m.Parts[0]
			own.Text = rest
			parts = append(parts, own)
		}
		m.Parts = append(parts, m.Parts[1:]...)
	}
}
