package invoke

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/sira-ai/sira/schemas"
)

// said is the text of a stream that broke off.
type said struct {
	text  string
	calls []spoken // whose it is
}

// spoken is a call's part of a text.
type spoken struct {
	attempt, bytes int
}

// heard collects what an attempt says, as long as it is nothing but text.
type heard struct {
	text   strings.Builder
	other  bool // there was more than text, or its end
	opened bool // the prefix was passed on
}

// continuable reports whether an answer to req can be gone on with: plain text, once,
// to somebody's question. Thinking is not shown to the model again, and the shape of
// a JSON answer or a tool call can't be told from its beginning.
func continuable(req *schemas.Request) bool {
	n := len(req.Messages)
	return req.Stream && req.Mode == "" && req.Operation() == schemas.OpChat && n > 0 && req.Messages[n-1].Role == schemas.RoleUser &&
		len(req.Tools) == 0 && req.Output == nil && req.Thinking == nil
}

// hear takes note of a piece that is passed on. Before the first output of an
// attempt that goes on it passes on what it goes on from, so that the pieces of the
// last attempt are the answer, as always.
func (a *attempt) hear(c *schemas.Chunk, output bool) {
	if !a.config.Continue {
		return
	}
	h := &a.heard
	if output && !h.opened {
		h.opened = true
		if a.prefix.text != "" {
			a.emit(schemas.Chunk{Type: schemas.ChunkText, Text: a.prefix.text})
			h.text.WriteString(a.prefix.text)
		}
	}
	switch {
	case c.Type == schemas.ChunkText && c.Choice == 0:
		h.text.WriteString(c.Text)
	case c.Type != schemas.ChunkStart && c.Type != schemas.ChunkUsage:
		h.other = true
	}
}

// remember keeps what a failed attempt said for the next, if that can go on from it.
// Vendors refuse a beginning that ends in white space.
func (r *round) remember(a *attempt) {
	switch {
	case !a.heard.opened: // what the one before said still holds
	case a.heard.other || !continuable(r.outgoing):
		r.said = said{}
	default:
		text := strings.TrimRight(a.heard.text.String(), " \t\r\n")
		one := spoken{a.record.Number, len(text) - len(a.prefix.text)}
		r.said = said{text, append(slices.Clip(a.prefix.calls), one)}
	}
}

// continueFrom gives an attempt what it goes on from, if its target can.
func (r *round) continueFrom(a *attempt) {
	t := &a.record.Target
	if pool := r.pools[t.Provider]; r.said.text != "" && !r.states[a.index].whole && pool.Continues != nil && pool.Continues(t.Model) {
		a.prefix = r.said
		a.key += "#" + strconv.Itoa(a.record.Number) // it is another request to the vendor
	}
}

// request returns what the provider is asked: with a beginning of the answer, the
// request with that as the assistant's, and so many fewer tokens to answer in.
func (a *attempt) request() *schemas.Request {
	if a.prefix.text == "" {
		return a.outgoing
	}
	req := *a.outgoing
	req.Messages = append(slices.Clip(req.Messages), schemas.TextMessage(schemas.RoleAssistant, a.prefix.text))
	if req.MaxTokens != nil {
		left := max(*req.MaxTokens-tokensIn(a.prefix.text), 1)
		req.MaxTokens = &left
	}
	return &req
}

// refusedPrefix reports whether the request failed for what it begins the answer
// with: nobody but this gateway made it so, and the whole answer can still be asked
// for.
func (a *attempt) refusedPrefix() bool {
	if a.prefix.text == "" || a.spoke {
		return false
	}
	switch a.failure.Code {
	case schemas.InvalidRequest, schemas.Unsupported, schemas.ContextLength, schemas.PayloadTooLarge:
		return true
	}
	return false
}

// joinPrefix makes a continuation the whole answer. What the calls before took is on
// their own records: adapters say what a stream that broke off used, or estimate it.
func (a *attempt) joinPrefix() {
	if a.prefix.text == "" || len(a.res.Choices) == 0 {
		return
	}
	m := &a.res.Choices[0].Message
	at := slices.IndexFunc(m.Parts, func(p schemas.Part) bool { return p.Kind == schemas.PartText })
	if at < 0 {
		m.Parts, at = slices.Insert(m.Parts, 0, schemas.Part{Kind: schemas.PartText}), 0
	}
	m.Parts[at].Text = a.prefix.text + m.Parts[at].Text
	for _, one := range a.prefix.calls {
		a.res.Warnings = append(a.res.Warnings, fmt.Sprintf("%d bytes of the answer are of call %d, which broke off", one.bytes, one.attempt))
	}
}

// tokensIn is about how many tokens a text is.
func tokensIn(text string) int64 { return int64(len(text)+3) / 4 }
