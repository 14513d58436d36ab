package wire

import (
	"cmp"
	"encoding/json"
	"errors"
	"slices"

	"github.com/sira-ai/sira/schemas"
)

// Answer puts a Response together from its pieces and passes each piece on as it
// comes, so that what was emitted and what is returned cannot differ. It emits
// start before the first piece and at most one finish for each choice.
//
// After emit has returned an error, further pieces are ignored; Err returns the
// error. An Answer is for one goroutine.
type Answer struct {
	emit    func(schemas.Chunk) error
	err     error
	res     schemas.Response
	choices []*choice // in order of arrival
	started bool
	usage   bool
	size    int // bytes of output so far
}

type choice struct {
	index    int
	parts    []piece
	sealed   bool // the last part takes no more
	finished bool
	finish   schemas.Finish
	ext      map[string]json.RawMessage
	logprobs json.RawMessage
}

// piece is a part that still grows.
type piece struct {
	kind      schemas.PartKind
	text      []byte // or arguments of a tool call
	signature []byte
	redacted  bool
	id, name  string
	typ       string // of a tool call
	media     *schemas.Media
	citations []schemas.Citation
}

// NewAnswer returns an empty answer. emit may be nil.
func NewAnswer(emit func(schemas.Chunk) error) *Answer {
	return &Answer{emit: emit}
}

// Err returns the error of emit, if it has returned one.
func (a *Answer) Err() error { return a.err }

// Begin says who answers. The first id and model that are not empty count.
func (a *Answer) Begin(id, model string) {
	if a.res.UpstreamID == "" {
		a.res.UpstreamID = id
	}
	if a.res.Model == "" {
		a.res.Model = model
	}
}

// Open makes sure that the choice is there, also if nothing is said in it.
func (a *Answer) Open(index int) { a.choice(index) }

// Text appends text to the choice.
func (a *Answer) Text(index int, text string) {
	a.grow(index, schemas.PartText, schemas.ChunkText, text)
}

// Refusal appends to the words in which the model declines.
func (a *Answer) Refusal(index int, text string) {
	a.grow(index, schemas.PartRefusal, schemas.ChunkRefusal, text)
}

// Reasoning appends to what the model says of its thinking.
func (a *Answer) Reasoning(index int, text string) {
	a.grow(index, schemas.PartReasoning, schemas.ChunkReasoning, text)
}

// Signature appends to the signature of the reasoning. A redacted signature is
// opaque data in place of text.
func (a *Answer) Signature(index int, signature string, redacted bool) {
	if signature == "" {
		return
	}
	c := a.choice(index)
	p, at := c.part(schemas.PartReasoning)
	p.signature = append(p.signature, signature...)
	p.redacted = p.redacted || redacted
	a.send(schemas.Chunk{Type: schemas.ChunkReasoning, Choice: index, PartIndex: at, Signature: signature})
}

// ToolCall opens a tool call and returns the place of its part, for Arguments.
func (a *Answer) ToolCall(index int, id, name string) int {
	c := a.choice(index)
	c.parts = append(c.parts, piece{kind: schemas.PartToolCall, id: id, name: name})
	at := len(c.parts) - 1
	if a.emit != nil {
		a.send(schemas.Chunk{
			Type: schemas.ChunkToolCallStart, Choice: index, PartIndex: at,
			ToolCall: &schemas.ToolCall{ID: id, Name: name},
		})
	}
	a.size += len(name)
	return at
}

// Arguments appends to the arguments of the tool call at part.
func (a *Answer) Arguments(index, part int, fragment string) {
	if fragment == "" {
		return
	}
	p := &a.choice(index).parts[part]
	p.text = append(p.text, fragment...)
	a.size += len(fragment)
	if a.emit != nil {
		a.send(schemas.Chunk{
			Type: schemas.ChunkToolCallDelta, Choice: index, PartIndex: part,
			ToolCall: &schemas.ToolCall{ID: p.id, Name: p.name, Arguments: fragment},
		})
	}
}

// HasArguments reports whether the tool call at part has any yet.
func (a *Answer) HasArguments(index, part int) bool {
	return len(a.choice(index).parts[part].text) > 0
}

// Seal ends the choice's last part: what follows is a part of its own.
func (a *Answer) Seal(index int) { a.choice(index).sealed = true }

// Extra keeps what only the vendor of that name understands with the message.
func (a *Answer) Extra(index int, vendor string, raw json.RawMessage) {
	c := a.choice(index)
	if c.ext == nil {
		c.ext = make(map[string]json.RawMessage)
	}
	c.ext[vendor] = raw
}

// Finish says why the choice ended; only the first time counts. A choice that
// simply stopped is finished by what it holds: tool calls, or a refusal.
func (a *Answer) Finish(index int, f schemas.Finish) {
	c := a.choice(index)
	if c.finished {
		return
	}
	if f.Reason == schemas.FinishStop {
		switch {
		case c.has(schemas.PartToolCall):
			f.Reason = schemas.FinishToolCalls
		case c.has(schemas.PartRefusal):
			f.Reason = schemas.FinishRefusal
		}
	}
	c.finished, c.finish = true, f
	if a.emit != nil {
		a.send(schemas.Chunk{Type: schemas.ChunkFinish, Choice: index, Finish: &f})
	}
}

// Finished reports whether there are choices and all of them have ended.
func (a *Answer) Finished() bool {
	for _, c := range a.choices {
		if !c.finished {
			return false
		}
	}
	return len(a.choices) > 0
}

// Use takes in what was used so far. The numbers are cumulative: they replace
// earlier ones.
func (a *Answer) Use(u schemas.Usage) {
	a.res.Usage, a.usage = u, true
	if a.emit != nil {
		a.send(schemas.Chunk{Type: schemas.ChunkUsage, Usage: &u})
	}
}

// Response returns the whole answer to req, with usage estimated where the
// vendor gave none. The Answer is used up.
func (a *Answer) Response(req *schemas.Request) *schemas.Response {
	if !a.usage {
		a.Use(a.estimate(req))
	}
	slices.SortStableFunc(a.choices, func(x, y *choice) int { return cmp.Compare(x.index, y.index) })
	a.res.Choices = make([]schemas.Choice, len(a.choices))
	for i, c := range a.choices {
		a.res.Choices[i] = schemas.Choice{
			Index:   c.index,
			Message: schemas.Message{Role: schemas.RoleAssistant, Parts: c.message(), Ext: c.ext},
			Finish:  c.finish, LogProbs: c.logprobs,
		}
	}
	return &a.res
}

// Broken completes f, which ended the answer early, with what was used until
// then: as the vendor said it, else estimated.
func (a *Answer) Broken(req *schemas.Request, f *schemas.Failure) *schemas.Failure {
	f.Phase = schemas.PhaseBody
	if a.emit != nil && a.size > 0 {
		f.Phase = schemas.PhaseOutput
	}
	if !a.usage && a.size == 0 {
		return f
	}
	u := a.estimate(req)
	if a.usage {
		counted := u.OutputTokens
		u = a.res.Usage
		u.Source = schemas.UsagePartial
		if u.OutputTokens < counted { // said at the start, before there was output
			u.OutputTokens, u.Source = counted, schemas.UsageEstimated
		}
	}
	f.Usage = &u
	return f
}

// Unheard is the failure when emit has returned an error.
func (a *Answer) Unheard(req *schemas.Request) *schemas.Failure {
	f := schemas.Fail(schemas.Cancelled, "nobody listens to the answer any more", a.err)
	if own, ok := errors.AsType[*schemas.Failure](a.err); ok {
		f.Code, f.Message = own.Code, own.Message
	}
	return a.Broken(req, f)
}

// Interrupted is the failure when a stream stops without its end. err may be nil.
func (a *Answer) Interrupted(req *schemas.Request, err error) *schemas.Failure {
	f := schemas.Fail(schemas.StreamInterrupted, "the answer was cut off", err)
	var own *schemas.Failure
	switch {
	case errors.Is(err, ErrEventTooLarge):
		f.Code, f.Message = schemas.MalformedResponse, "the answer has a piece above the size limit"
	case errors.As(err, &own):
		f.Code, f.Message = own.Code, own.Message
	}
	return a.Broken(req, f)
}

func (a *Answer) grow(index int, kind schemas.PartKind, typ schemas.ChunkType, text string) {
	if text == "" {
		return
	}
	p, at := a.choice(index).part(kind)
	p.text = append(p.text, text...)
	a.size += len(text)
	a.send(schemas.Chunk{Type: typ, Choice: index, PartIndex: at, Text: text})
}

// send passes a piece on, behind the start.
func (a *Answer) send(c schemas.Chunk) {
	if a.emit == nil || a.err != nil {
		return
	}
	if !a.started {
		a.started = true
		a.err = a.emit(schemas.Chunk{Type: schemas.ChunkStart, ID: a.res.UpstreamID, Model: a.res.Model})
		if a.err != nil {
			return
		}
	}
	a.err = a.emit(c)
}

func (a *Answer) choice(index int) *choice {
	for _, c := range a.choices {
		if c.index == index {
			return c
		}
	}
	c := &choice{index: index}
	a.choices = append(a.choices, c)
	return c
}

// part returns the last part if it is of this kind and still grows, else a new
// one.
func (c *choice) part(kind schemas.PartKind) (*piece, int) {
	n := len(c.parts)
	if n == 0 || c.sealed || c.parts[n-1].kind != kind {
		c.parts = append(c.parts, piece{kind: kind})
		c.sealed = false
		n++
	}
	return &c.parts[n-1], n - 1
}

func (c *choice) has(kind schemas.PartKind) bool {
	return slices.ContainsFunc(c.parts, func(p piece) bool { return p.kind == kind })
}

func (c *choice) message() []schemas.Part {
	parts := make([]schemas.Part, len(c.parts))
	for i := range c.parts {
		p := &c.parts[i]
		parts[i].Kind = p.kind
		switch p.kind {
		case schemas.PartToolCall:
			parts[i].ToolCall = &schemas.ToolCall{ID: p.id, Name: p.name, Arguments: string(p.text), Type: p.typ}
		case schemas.PartReasoning:
			parts[i].Reasoning = &schemas.Reasoning{
				Text: string(p.text), Signature: string(p.signature), Redacted: p.redacted, ID: p.id,
			}
		case schemas.PartImage, schemas.PartAudio, schemas.PartVideo, schemas.PartFile:
			parts[i].Media = p.media
		default:
			parts[i].Text, parts[i].Citations = string(p.text), p.citations
		}
	}
	return parts
}

// bytesPerToken is the usual rule of thumb for English text.
const bytesPerToken = 4

// estimate counts tokens by the length of what was asked and answered.
func (a *Answer) estimate(req *schemas.Request) schemas.Usage {
	var asked int
	for i := range req.Messages {
		for j := range req.Messages[i].Parts {
			asked += textBytes(&req.Messages[i].Parts[j])
		}
	}
	tokens := func(n int) int64 { return int64((n + bytesPerToken - 1) / bytesPerToken) }
	return schemas.Usage{InputTokens: tokens(asked), OutputTokens: tokens(a.size), Source: schemas.UsageEstimated}
}

func textBytes(p *schemas.Part) int {
	n := len(p.Text)
	if p.ToolCall != nil {
		n += len(p.ToolCall.Name) + len(p.ToolCall.Arguments)
	}
	if p.Reasoning != nil {
		n += len(p.Reasoning.Text)
	}
	if p.ToolResult != nil {
		for i := range p.ToolResult.Parts {
			n += textBytes(&p.ToolResult.Parts[i])
		}
	}
	return n
}
