package anthropic

import (
	"encoding/json"
	"errors"
	"io"

	"github.com/sira-ai/sira/handlers/provider/wire"
	"github.com/sira-ai/sira/schemas"
)

// answer is a whole answer, or the empty one that a stream starts with.
type answer struct {
	Type    string            `json:"type"`
	ID      string            `json:"id"`
	Model   string            `json:"model"`
	Content []json.RawMessage `json:"content"`
	Usage   json.RawMessage   `json:"usage"`
	Error   json.RawMessage   `json:"error"`
	stop
}

type stop struct {
	Reason   string `json:"stop_reason"`
	Sequence string `json:"stop_sequence"`
	Details  *struct {
		Category string `json:"category"`
	} `json:"stop_details"`
}

// block is a piece of content of one of the known types.
type block struct {
	Type      string          `json:"type"`
	Text      string          `json:"text"`
	Citations json.RawMessage `json:"citations"`
	Thinking  string          `json:"thinking"`
	Signature string          `json:"signature"`
	Data      string          `json:"data"` // of redacted thinking
	ID        string          `json:"id"`
	Name      string          `json:"name"`
	Input     json.RawMessage `json:"input"`
}

type usage struct {
	Input         wire.Count `json:"input_tokens"` // without the cache's
	CacheCreation wire.Count `json:"cache_creation_input_tokens"`
	CacheRead     wire.Count `json:"cache_read_input_tokens"`
	ByLifetime    struct {
		Hour wire.Count `json:"ephemeral_1h_input_tokens"`
	} `json:"cache_creation"`
	Output        wire.Count `json:"output_tokens"`
	OutputDetails struct {
		Thinking wire.Count `json:"thinking_tokens"`
	} `json:"output_tokens_details"`
	Tier string `json:"service_tier"`
}

// reader puts what the vendor says into an answer. There is one choice only.
type reader struct {
	answer *wire.Answer
	req    *schemas.Request
	secret string

	usage  usage           // cumulative
	raw    json.RawMessage // the usage as last said
	extras extras
	open   []openBlock
}

// extras is what the schemas have no place for; it goes to Message.Ext, and back
// to the vendor's clients as it came.
type extras struct {
	Blocks    []json.RawMessage `json:"blocks,omitempty"`    // of types that the schemas don't have
	Citations []json.RawMessage `json:"citations,omitempty"` // of text blocks, in order
}

const only = 0 // the index of the one choice

// whole reads an answer that comes at once.
func (r *reader) whole(from io.Reader, size int64) (*schemas.Response, error) {
	body, err := wire.ReadAll(from, size)
	if err != nil {
		return nil, err
	}
	var a answer
	if err := json.Unmarshal(body, &a); err != nil {
		return nil, wire.Malformed("it is not the JSON of a message", err)
	}
	if a.Type == "error" || len(a.Error) > 0 && string(a.Error) != "null" {
		return nil, r.told(body)
	}
	if a.Type != "message" {
		return nil, wire.Malformed("it is no message", nil)
	}
	r.answer.Begin(a.ID, a.Model)
	r.answer.Open(only)
	for _, raw := range a.Content {
		var b block
		if err := json.Unmarshal(raw, &b); err != nil {
			return nil, wire.Malformed("a block of it is not as agreed", err)
		}
		if part := r.start(&b, raw); b.Type == "tool_use" {
			r.answer.Arguments(only, part, input(&b))
		}
	}
	r.finish(&a.stop)
	r.use(a.Usage)
	return r.end()
}

// start takes in a block, or the beginning of one, and returns the part of a
// tool call.
func (r *reader) start(b *block, raw json.RawMessage) (part int) {
	r.answer.Seal(only)
	switch b.Type {
	case "text":
		r.answer.Text(only, b.Text)
		r.cite(b.Citations)
	case "thinking":
		r.answer.Reasoning(only, b.Thinking)
		r.answer.Signature(only, b.Signature, false)
	case "redacted_thinking":
		r.answer.Signature(only, b.Data, true)
	case "tool_use":
		return r.answer.ToolCall(only, b.ID, b.Name)
	default:
		r.extras.Blocks = append(r.extras.Blocks, raw)
		return len(r.extras.Blocks) - 1
	}
	return 0
}

func (r *reader) cite(list json.RawMessage) {
	if len(list) == 0 || list[0] != '[' {
		return
	}
	var all []json.RawMessage
	if json.Unmarshal(list, &all) == nil {
		r.extras.Citations = append(r.extras.Citations, all...)
	}
}

// finish translates a reason to stop. Its absence leaves the answer unfinished.
func (r *reader) finish(s *stop) {
	if s.Reason == "" {
		return
	}
	f := schemas.Finish{Raw: s.Reason, StopSequence: s.Sequence}
	if s.Details != nil {
		f.Detail = s.Details.Category
	}
	switch s.Reason {
	case "end_turn":
		f.Reason = schemas.FinishStop
	case "max_tokens":
		f.Reason = schemas.FinishLength
	case "stop_sequence":
		f.Reason = schemas.FinishStopSequence
	case "tool_use":
		f.Reason = schemas.FinishToolCalls
	case "refusal":
		f.Reason = schemas.FinishRefusal
	case "pause_turn", "compaction":
		f.Reason = schemas.FinishPause
	case "model_context_window_exceeded":
		f.Reason = schemas.FinishContextWindow
	default:
		f.Reason = schemas.FinishUnknown
	}
	r.answer.Finish(only, f)
}

// use takes in usage. In a stream it is said twice and is cumulative: a number
// replaces the earlier one, and what the second time leaves out still holds.
func (r *reader) use(raw json.RawMessage) {
	if len(raw) == 0 || string(raw) == "null" || json.Unmarshal(raw, &r.usage) != nil {
		return // an answer is worth more than its bill, which is then estimated
	}
	if r.raw != nil {
		if merged, err := wire.Overlay(r.raw, "usage", raw); err == nil {
			raw = merged
		}
	}
	r.raw = raw
	u := &r.usage
	r.answer.Use(schemas.Usage{
		InputTokens:      int64(u.Input + u.CacheCreation + u.CacheRead),
		CacheReadTokens:  int64(u.CacheRead),
		CacheWriteTokens: int64(u.CacheCreation),
		CacheWrite1h:     int64(u.ByLifetime.Hour),
		OutputTokens:     int64(u.Output),
		ReasoningTokens:  int64(u.OutputDetails.Thinking),
		Source:           schemas.UsageReported,
		Tier:             u.Tier,
		Raw:              raw,
	})
}

// end returns the answer, which must have a reason to stop.
func (r *reader) end() (*schemas.Response, error) {
	if !r.answer.Finished() {
		return nil, r.answer.Interrupted(r.req, errNoStop)
	}
	if len(r.extras.Blocks) > 0 || len(r.extras.Citations) > 0 {
		if raw, err := json.Marshal(r.extras); err == nil {
			r.answer.Extra(only, vendor, raw)
		}
	}
	res := r.answer.Response(r.req)
	if r.answer.Err() != nil {
		return nil, r.answer.Unheard(r.req)
	}
	return res, nil
}

var errNoStop = errors.New("the answer ended without a stop reason")

// told reads an error that came with status 200.
func (r *reader) told(body []byte) *schemas.Failure {
	f := wire.Told(wire.ParseError(body), r.secret)
	f.Code = schemas.Internal
	f.Phase = schemas.PhaseBody
	return interpret(f)
}
