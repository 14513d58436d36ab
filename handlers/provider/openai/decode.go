package openai

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/sira-ai/sira/handlers/provider/wire"
	"github.com/sira-ai/sira/schemas"
)

// completion is an answer, or one chunk of it: the two differ in whether the
// choices hold message or delta.
type completion struct {
	ID          string          `json:"id"`
	Object      string          `json:"object"`
	Model       string          `json:"model"`
	ServiceTier string          `json:"service_tier"`
	Choices     []option        `json:"choices"`
	Usage       json.RawMessage `json:"usage"`
	Error       json.RawMessage `json:"error"`
}

type option struct {
	Index        int       `json:"index"`
	Message      *message  `json:"message"`
	Delta        *message  `json:"delta"`
	FinishReason string    `json:"finish_reason"`
	StopReason   wire.Text `json:"stop_reason"` // vLLM: the stop sequence that matched
}

type message struct {
	Content          content         `json:"content"`
	Refusal          string          `json:"refusal"`
	Reasoning        wire.Text       `json:"reasoning"`         // vLLM, Ollama, Together
	ReasoningContent string          `json:"reasoning_content"` // DeepSeek, llama.cpp, SGLang, older vLLM
	ToolCalls        []toolCall      `json:"tool_calls"`
	FunctionCall     *function       `json:"function_call"` // before tools
	Annotations      json.RawMessage `json:"annotations"`
	Audio            json.RawMessage `json:"audio"`
}

type toolCall struct {
	Index    *int      `json:"index"`
	ID       string    `json:"id"`
	Function function  `json:"function"`
	Custom   *function `json:"custom"`
}

type function struct {
	Name      string    `json:"name"`
	Arguments wire.Text `json:"arguments"` // an object at some servers
	Input     string    `json:"input"`     // of custom tools
}

// content is text; some servers send a list of parts instead.
type content string

// UnmarshalJSON decodes b.
func (c *content) UnmarshalJSON(b []byte) error {
	if len(b) == 0 || b[0] != '[' {
		s, err := wire.Unquote(b)
		*c = content(s)
		return err
	}
	var parts []struct {
		Text wire.Text `json:"text"`
	}
	if err := json.Unmarshal(b, &parts); err != nil {
		return err
	}
	for _, p := range parts {
		*c += content(p.Text)
	}
	return nil
}

type usage struct {
	Prompt        wire.Count `json:"prompt_tokens"`
	Completion    wire.Count `json:"completion_tokens"`
	PromptDetails struct {
		Cached     wire.Count `json:"cached_tokens"`
		CacheWrite wire.Count `json:"cache_write_tokens"`
	} `json:"prompt_tokens_details"`
	CompletionDetails struct {
		Reasoning wire.Count `json:"reasoning_tokens"`
	} `json:"completion_tokens_details"`
	Cached    wire.Count `json:"cached_tokens"`           // Together
	CacheHit  wire.Count `json:"prompt_cache_hit_tokens"` // DeepSeek
	Reasoning wire.Count `json:"reasoning_tokens"`        // SGLang
}

// whole reads an answer that comes at once.
func (a *adapter) whole(from io.Reader, size int64, req *schemas.Request, answer *wire.Answer) (*schemas.Response, error) {
	body, err := wire.ReadAll(from, size)
	if err != nil {
		return nil, err
	}
	var c completion
	if err := json.Unmarshal(body, &c); err != nil {
		return nil, wire.Malformed("it is not the JSON of a chat completion", err)
	}
	if c.refused() {
		return nil, a.told(body)
	}
	if len(c.Choices) == 0 {
		return nil, wire.Malformed("it has no choices", nil)
	}
	r := reader{answer: answer}
	r.take(&c)
	for i := range c.Choices {
		// Some servers leave the reason out of an answer that is complete.
		answer.Finish(c.Choices[i].Index, schemas.Finish{Reason: schemas.FinishUnknown})
	}
	out := answer.Response(req)
	if answer.Err() != nil {
		return nil, answer.Unheard(req)
	}
	return out, nil
}

// stream reads an answer that comes as events. It is complete when [DONE] has
// come and every choice has ended.
func (a *adapter) stream(from io.Reader, req *schemas.Request, answer *wire.Answer) (*schemas.Response, error) {
	events := wire.NewEventReader(from, 0)
	r := reader{answer: answer}
	for {
		ev, err := events.Next()
		switch {
		case errors.Is(err, io.EOF):
			if a.config.DoneOptional && answer.Finished() {
				return r.end(req)
			}
			return nil, answer.Interrupted(req, io.ErrUnexpectedEOF)
		case err != nil:
			return nil, answer.Interrupted(req, err)
		case bytes.Equal(bytes.TrimSpace(ev.Data), done):
			return r.end(req)
		}
		var c completion
		if err := json.Unmarshal(ev.Data, &c); err != nil {
			if ev.Cut {
				return nil, answer.Interrupted(req, err)
			}
			return nil, answer.Broken(req, wire.Malformed("a chunk of it is not JSON as agreed", err))
		}
		if c.refused() {
			return nil, answer.Broken(req, a.told(ev.Data))
		}
		r.take(&c)
		if answer.Err() != nil {
			return nil, answer.Unheard(req)
		}
	}
}

var done = []byte("[DONE]")

// refused reports whether c is an error with the status of a success.
func (c *completion) refused() bool {
	return len(c.Error) > 0 && string(c.Error) != "null" || c.Object == "error"
}

// told reads an error that came with status 200.
func (a *adapter) told(body []byte) *schemas.Failure {
	f := wire.Told(wire.ParseError(body), a.config.APIKey.Reveal())
	f.Code = inStream(f)
	f.Phase = schemas.PhaseBody
	return interpret(f)
}

// reader puts completions into an answer.
type reader struct {
	answer *wire.Answer
	tier   string
	calls  []openCall
}

// openCall is where the pieces of a tool call go.
type openCall struct {
	choice, index int // as the vendor counts
	id            string
	part          int
}

// end returns the answer of a stream, or says that it is not whole: a [DONE]
// without a reason to finish is how some servers report that they failed.
func (r *reader) end(req *schemas.Request) (*schemas.Response, error) {
	if !r.answer.Finished() {
		return nil, r.answer.Interrupted(req, errNoFinish)
	}
	res := r.answer.Response(req)
	if r.answer.Err() != nil {
		return nil, r.answer.Unheard(req)
	}
	return res, nil
}

var errNoFinish = errors.New("[DONE] came before a finish reason")

func (r *reader) take(c *completion) {
	r.answer.Begin(c.ID, c.Model)
	if c.ServiceTier != "" {
		r.tier = c.ServiceTier
	}
	for i := range c.Choices {
		o := &c.Choices[i]
		r.answer.Open(o.Index)
		if o.Message != nil {
			r.message(o.Index, o.Message, true)
		}
		if o.Delta != nil {
			r.message(o.Index, o.Delta, false)
		}
		if o.FinishReason != "" {
			r.answer.Finish(o.Index, finish(o.FinishReason, string(o.StopReason)))
		}
	}
	if len(c.Usage) > 0 && string(c.Usage) != "null" {
		r.use(c.Usage)
	}
}

func (r *reader) message(choice int, m *message, whole bool) {
	r.answer.Reasoning(choice, string(m.Reasoning))
	if m.Reasoning == "" { // some servers fill both
		r.answer.Reasoning(choice, m.ReasoningContent)
	}
	r.answer.Text(choice, string(m.Content))
	r.answer.Refusal(choice, m.Refusal)
	for i := range m.ToolCalls {
		r.call(choice, i, &m.ToolCalls[i], whole)
	}
	if f := m.FunctionCall; f != nil {
		r.call(choice, 0, &toolCall{Function: *f}, false)
	}
	if said(m.Annotations) || said(m.Audio) {
		r.answer.Extra(choice, vendor, extra(m))
	}
}

// call takes in a tool call or a fragment of one. Fragments belong together by
// index; where a server leaves that out, by order, and a new id opens a new
// call.
func (r *reader) call(choice, position int, t *toolCall, whole bool) {
	index := position
	if t.Index != nil {
		index = *t.Index
	}
	name, args := t.Function.Name, string(t.Function.Arguments)
	if t.Custom != nil {
		name, args = t.Custom.Name, t.Custom.Input
	}
	at := -1
	for i := range r.calls {
		if r.calls[i].choice == choice && r.calls[i].index == index {
			at = i
		}
	}
	if at >= 0 && (whole || t.ID != "" && t.ID != r.calls[at].id && name != "") {
		at = -1
	}
	if at < 0 {
		id := t.ID
		if id == "" {
			id = fmt.Sprintf("call_%d_%d", choice, len(r.calls))
		}
		r.calls = append(r.calls, openCall{choice, index, id, r.answer.ToolCall(choice, id, name)})
		at = len(r.calls) - 1
	}
	r.answer.Arguments(choice, r.calls[at].part, args)
}

func said(raw json.RawMessage) bool {
	s := string(raw)
	return s != "" && s != "null" && s != "[]"
}

// extra keeps what the schemas have no place for.
func extra(m *message) json.RawMessage {
	b := []byte{'{'}
	if said(m.Annotations) {
		b = wire.AppendRawField(b, "annotations", m.Annotations)
	}
	if said(m.Audio) {
		b = wire.AppendRawField(b, "audio", m.Audio)
	}
	return append(b, '}')
}

func (r *reader) use(raw json.RawMessage) {
	var u usage
	if json.Unmarshal(raw, &u) != nil {
		return // an answer is worth more than its bill, which is then estimated
	}
	r.answer.Use(schemas.Usage{
		InputTokens:      int64(u.Prompt),
		CacheReadTokens:  int64(max(u.PromptDetails.Cached, u.Cached, u.CacheHit)),
		CacheWriteTokens: int64(u.PromptDetails.CacheWrite),
		OutputTokens:     int64(u.Completion),
		ReasoningTokens:  int64(max(u.CompletionDetails.Reasoning, u.Reasoning)),
		Source:           schemas.UsageReported,
		Tier:             r.tier,
		Raw:              raw,
	})
}

// finish translates a finish reason; stop is the stop sequence that matched,
// which only some servers tell.
func finish(raw, stop string) schemas.Finish {
	f := schemas.Finish{Raw: raw}
	switch raw {
	case "stop", "eos", "eos_token":
		f.Reason = schemas.FinishStop
		if stop != "" {
			f.Reason, f.StopSequence = schemas.FinishStopSequence, stop
		}
	case "length":
		f.Reason = schemas.FinishLength
	case "tool_calls", "function_call":
		f.Reason = schemas.FinishToolCalls
	case "content_filter":
		f.Reason = schemas.FinishContentFilter
	default:
		f.Reason = schemas.FinishUnknown
	}
	return f
}
