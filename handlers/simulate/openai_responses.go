package simulate

import (
	"encoding/json"
	"net/http"
	"strconv"
)

// openaiResponses is a conversation in the form of the responses API.
type openaiResponses struct{}

func (openaiResponses) parse(_ http.Header, body []byte) (request, *problem) {
	var in struct {
		Model        string          `json:"model"`
		Input        json.RawMessage `json:"input"`
		Instructions json.RawMessage `json:"instructions"`
		Stream       bool            `json:"stream"`
		MaxTokens    *int            `json:"max_output_tokens"`
		Tools        json.RawMessage `json:"tools"`
		Choice       json.RawMessage `json:"tool_choice"`
	}
	q := request{maxTokens: -1}
	if wrong := read(body, &in); wrong != nil {
		return q, wrong
	}
	switch {
	case len(in.Input) == 0:
		return q, invalidCode("input", "missing_required_parameter", "Missing required parameter: 'input'.")
	case in.MaxTokens != nil && *in.MaxTokens < 1:
		return q, invalidCode("max_output_tokens", "integer_below_min_value", "Invalid 'max_output_tokens': expected a value >= 1.")
	case in.MaxTokens != nil:
		q.maxTokens = *in.MaxTokens
	}
	q.model, q.stream = in.Model, in.Stream
	q.prompt = promptTokens(len(in.Input) + len(in.Instructions) + len(in.Tools))
	return q, q.choose(in.Tools, in.Choice, "tool_choice")
}

// choose settles which of the tools has to be called.
func (q *request) choose(tools, choice json.RawMessage, param string) *problem {
	var set toolSet
	if len(tools) > 0 {
		s := scanner{b: tools}
		s.tools(&set)
	}
	if len(choice) > 0 {
		s := scanner{b: choice}
		s.toolChoice(&set)
	}
	if q.tool = set.forced(); set.required && q.tool == "" {
		return invalid(param, "Invalid value for '"+param+"': no such tool in 'tools'.")
	}
	return nil
}

// response appends an answer up to its output.
func (a *answer) response(dst []byte, status string) []byte {
	dst = appendID(append(dst, `{"id":"resp_`...), hex, 24, a.seed, drawID)
	dst = appendCount(append(dst, `","object":"response"`...), "created_at", int(a.created.Unix()))
	dst = appendString(append(dst, `,"model":`...), a.model)
	dst = append(append(append(dst, `,"status":"`...), status...), `","error":null,"parallel_tool_calls":true,"service_tier":"default"`...)
	if status != "incomplete" {
		return append(dst, `,"incomplete_details":null`...)
	}
	reason := "max_output_tokens"
	if a.ending == endingFilter {
		reason = "content_filter"
	}
	return append(append(append(dst, `,"incomplete_details":{"reason":"`...), reason...), `"}`...)
}

// status is that of the whole answer.
func (a *answer) status() string {
	if a.ending == endingLength || a.ending == endingFilter {
		return "incomplete"
	}
	return "completed"
}

func (openaiResponses) whole(dst []byte, a *answer) []byte {
	dst = append(a.response(dst, a.status()), `,"output":[`...)
	dst = a.item(dst, a.status(), true)
	dst = appendCount(append(dst, `],"usage":{`...), "input_tokens", a.prompt)
	dst = appendCount(append(dst, `,"input_tokens_details":{`...), "cached_tokens", a.cached)
	dst = appendCount(append(dst, '}'), "output_tokens", a.tokens)
	dst = append(dst, `,"output_tokens_details":{"reasoning_tokens":0}`...)
	return append(appendCount(dst, "total_tokens", a.prompt+a.tokens), "}}"...)
}

// item appends the one item of the answer: a message or a call, whole or as it begins.
func (a *answer) item(dst []byte, status string, whole bool) []byte {
	if a.tool != "" {
		dst = appendID(append(dst, `{"type":"function_call","id":"fc_`...), hex, 24, a.seed, drawID)
		dst = appendID(append(dst, `","call_id":"call_`...), base62, 24, a.seed, drawID)
		dst = appendString(append(dst, `","name":`...), a.tool)
		dst = append(dst, `,"arguments":"`...)
		if whole {
			dst = a.arguments(dst)
		}
		return append(append(append(dst, `","status":"`...), status...), `"}`...)
	}
	dst = appendID(append(dst, `{"type":"message","role":"assistant","id":"msg_`...), hex, 24, a.seed, drawID)
	dst = append(append(append(dst, `","status":"`...), status...), `","content":[`...)
	if whole {
		dst = a.part(dst, true)
	}
	return append(dst, "]}"...)
}

// part appends the text of a message.
func (a *answer) part(dst []byte, whole bool) []byte {
	dst = append(dst, `{"type":"output_text","annotations":[],"logprobs":[],"text":"`...)
	if whole {
		dst = appendText(dst, a.text, a.tokens)
	}
	return append(dst, `"}`...)
}

// arguments appends those of the call, escaped for a place inside a JSON string.
func (a *answer) arguments(dst []byte) []byte {
	for i := range a.tokens {
		dst = a.appendArgument(dst, i)
	}
	return a.closeArguments(dst)
}

// event begins an event with its number.
func event(dst []byte, name string, number int) []byte {
	dst = append(append(append(dst, "event: "...), name...), "\ndata: {\"type\":\""...)
	return strconv.AppendInt(append(append(dst, name...), `","sequence_number":`...), int64(number), 10)
}

// place names the item that an event is about.
func (a *answer) place(dst []byte) []byte {
	prefix := `,"output_index":0,"item_id":"msg_`
	if a.tool != "" {
		prefix = `,"output_index":0,"item_id":"fc_`
	}
	return append(appendID(append(dst, prefix...), hex, 24, a.seed, drawID), '"')
}

func (f openaiResponses) piece(dst []byte, a *answer, p piece) []byte {
	const text, call = "response.output_text.delta", "response.function_call_arguments.delta"
	switch p.kind {
	case pieceOpen:
		for i, name := range []string{"response.created", "response.in_progress"} {
			dst = append(event(dst, name, i), `,"response":`...)
			dst = append(a.response(dst, "in_progress"), `,"output":[],"usage":null}}`+"\n\n"...)
		}
		dst = append(event(dst, "response.output_item.added", 2), `,"output_index":0,"item":`...)
		dst = append(a.item(dst, "in_progress", false), "}\n\n"...)
		if a.tool != "" {
			return dst
		}
		dst = append(a.place(event(dst, "response.content_part.added", 3)), `,"content_index":0,"part":`...)
		return append(a.part(dst, false), "}\n\n"...)
	case pieceDelta:
		if a.tool != "" {
			dst = append(a.place(event(dst, call, 4+p.i)), `,"delta":"`...)
			return append(a.appendArgument(dst, p.i), "\"}\n\n"...)
		}
		dst = append(a.place(event(dst, text, 4+p.i)), `,"content_index":0,"logprobs":[],"delta":"`...)
		return append(appendWord(dst, a.text, p.i), "\"}\n\n"...)
	case pieceFinish:
		n := 4 + a.tokens
		if a.tool != "" {
			dst = append(a.closeArguments(append(a.place(event(dst, call, n)), `,"delta":"`...)), "\"}\n\n"...)
			dst = append(a.place(event(dst, "response.function_call_arguments.done", n+1)), `,"arguments":"`...)
			dst = append(a.arguments(dst), "\"}\n\n"...)
		} else {
			dst = append(a.place(event(dst, "response.output_text.done", n)), `,"content_index":0,"logprobs":[],"text":`...)
			dst = append(a.appendWords(dst), "}\n\n"...)
			dst = append(a.place(event(dst, "response.content_part.done", n+1)), `,"content_index":0,"part":`...)
			dst = append(a.part(dst, true), "}\n\n"...)
		}
		dst = append(event(dst, "response.output_item.done", n+2), `,"output_index":0,"item":`...)
		return append(a.item(dst, a.status(), true), "}\n\n"...)
	case pieceEnd:
		dst = append(event(dst, "response."+a.status(), 7+a.tokens), `,"response":`...)
		return append(f.whole(dst, a), "}\n\n"...)
	}
	return append(event(dst, "error", 4), `,"code":"server_error","message":"The server had an error while processing your request. Sorry about that!","param":null}`+"\n\n"...)
}
