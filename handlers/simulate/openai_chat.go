package simulate

import (
	"bytes"
	"net/http"
	"strconv"
)

// openaiChat is the vendor's form of a conversation.
type openaiChat struct {
	usageAtEnd bool // the chunk with the finish reason also has the usage, asked for or not
	filtered   bool // the stream begins with what a filter says of the prompt, as Azure's does
}

func (f openaiChat) piece(dst []byte, a *answer, p piece) []byte {
	switch p.kind {
	case pieceOpen:
		return f.open(dst, a)
	case pieceDelta:
		return f.delta(dst, a, p.i)
	case pieceFinish:
		return f.finish(dst, a)
	case pieceEnd:
		return f.end(dst)
	}
	return f.broken(dst, a)
}

func (openaiChat) parse(_ http.Header, body []byte) (request, *problem) {
	q := request{maxTokens: -1}
	s := scanner{b: body}
	var (
		key      []byte
		problem  *problem
		messages int
		bytes    int
		tools    toolSet
		choices  int
	)
	mind := func(ok bool, param, want string) {
		if !ok && problem == nil && s.err == nil {
			problem = invalidCode(param, "invalid_type", "Invalid type for '"+param+"': expected "+want+".")
		}
	}
	for s.object(); s.field(&key); {
		start := s.i
		var ok bool
		switch string(key) {
		case "model":
			q.model, ok = s.text()
			mind(ok, "model", "a string")
		case "stream":
			q.stream, ok = s.boolean()
			mind(ok, "stream", "a boolean")
		case "stream_options":
			if s.peek() != '{' {
				s.skip()
				continue
			}
			for s.object(); s.field(&key); {
				if string(key) != "include_usage" {
					s.skip()
					continue
				}
				q.wantUsage, ok = s.boolean()
				mind(ok, "stream_options.include_usage", "a boolean")
			}
		case "messages":
			messages = s.messages()
			mind(messages >= 0, "messages", "an array of objects with a role")
			bytes += s.i - start
		case "max_tokens", "max_completion_tokens":
			if s.peek() == 'n' {
				s.skip()
				continue
			}
			name := string(key)
			q.maxTokens, ok = s.integer()
			mind(ok, name, "an integer")
			if ok && q.maxTokens < 1 && problem == nil {
				problem = invalidCode(name, "integer_below_min_value", "Invalid '"+name+"': integer below minimum value. Expected a value >= 1.")
			}
		case "n":
			if choices, ok = s.integer(); ok && choices != 1 && problem == nil {
				problem = invalidCode("n", "unsupported_value", "Unsupported value: 'n': the simulator answers one choice.")
			}
		case "tools":
			bytes += s.tools(&tools)
		case "tool_choice":
			s.toolChoice(&tools)
		default:
			s.skip()
		}
	}
	if err := s.end(); err != nil {
		return q, invalid("", "We could not parse the JSON body of your request: "+err.Error()+".")
	}
	switch {
	case problem != nil:
		return q, problem
	case messages == 0:
		return q, invalidCode("messages", "missing_required_parameter", "Missing required parameter: 'messages'.")
	}
	q.prompt = promptTokens(bytes)
	q.tool = tools.forced()
	if tools.required && q.tool == "" {
		return q, invalid("tool_choice", "Invalid value for 'tool_choice': no such tool in 'tools'.")
	}
	return q, nil
}

func (openaiChat) whole(dst []byte, a *answer) []byte {
	dst = append(dst, `{"id":"chatcmpl-`...)
	dst = a.appendHead(dst, `chat.completion`)
	dst = append(dst, `"choices":[{"index":0,"message":{"role":"assistant","content":`...)
	if a.tool == "" {
		dst = append(dst, '"')
		dst = appendText(dst, a.text, a.tokens)
		dst = append(dst, '"')
	} else {
		dst = append(dst, `null,"tool_calls":[{"id":"call_`...)
		dst = appendID(dst, base62, 24, a.seed, drawID)
		dst = append(dst, `","type":"function","function":{"name":`...)
		dst = appendString(dst, a.tool)
		dst = append(dst, `,"arguments":"`...)
		for i := range a.tokens {
			dst = a.appendArgument(dst, i)
		}
		dst = a.closeArguments(dst)
		dst = append(dst, `"}}]`...)
	}
	dst = append(dst, `,"refusal":null,"annotations":[]},"logprobs":null,"finish_reason":"`...)
	dst = append(dst, openaiEndings[a.ending]...)
	dst = append(dst, `"}],"usage":`...)
	dst = a.appendOpenAIUsage(dst)
	return append(dst, `}`...)
}

var openaiEndings = [...]string{
	endingStop: "stop", endingLength: "length", endingTool: "tool_calls", endingFilter: "content_filter",
}

// appendHead appends what all of OpenAI's answers begin with, from the identifier's random part on.
func (a *answer) appendHead(dst []byte, object string) []byte {
	dst = appendID(dst, base62, 24, a.seed, drawID)
	dst = append(dst, `","object":"`...)
	dst = append(dst, object...)
	dst = append(dst, `","created":`...)
	dst = strconv.AppendInt(dst, a.created.Unix(), 10)
	dst = append(dst, `,"model":`...)
	dst = appendString(dst, a.model)
	dst = append(dst, `,"service_tier":"default","system_fingerprint":"fp_`...)
	dst = appendID(dst, hex, 10, a.text, drawPrint)
	return append(dst, `",`...)
}

func (a *answer) appendOpenAIUsage(dst []byte) []byte {
	dst = append(dst, `{"prompt_tokens":`...)
	dst = strconv.AppendInt(dst, int64(a.prompt), 10)
	dst = append(dst, `,"completion_tokens":`...)
	dst = strconv.AppendInt(dst, int64(a.tokens), 10)
	dst = append(dst, `,"total_tokens":`...)
	dst = strconv.AppendInt(dst, int64(a.prompt+a.tokens), 10)
	dst = append(dst, `,"prompt_tokens_details":{"cached_tokens":`...)
	dst = strconv.AppendInt(dst, int64(a.cached), 10)
	return append(dst, `,"audio_tokens":0},"completion_tokens_details":{"reasoning_tokens":0,"audio_tokens":0,`+
		`"accepted_prediction_tokens":0,"rejected_prediction_tokens":0}}`...)
}

// appendArgument appends the i-th token of a tool's arguments, escaped for a place inside a JSON string.
func (a *answer) appendArgument(dst []byte, i int) []byte {
	if i == 0 {
		dst = append(dst, `{\"input\":\"`...)
	}
	return appendWord(dst, a.text, i)
}

func (a *answer) closeArguments(dst []byte) []byte {
	if a.tokens == 0 {
		return append(dst, `{}`...)
	}
	return append(dst, `\"}`...)
}

// chunk appends one chunk with one choice. The first delta names the role, the last gives the reason to stop.
func (a *answer) chunk(dst []byte, delta func([]byte) []byte, reason string) []byte {
	dst = append(dst, `data: {"id":"chatcmpl-`...)
	dst = a.appendHead(dst, `chat.completion.chunk`)
	dst = append(dst, `"choices":[{"index":0,"delta":{`...)
	dst = delta(dst)
	dst = append(dst, `},"logprobs":null,"finish_reason":`...)
	dst = append(dst, reason...)
	dst = append(dst, `}]`...)
	if a.wantUsage {
		dst = append(dst, `,"usage":null`...)
	}
	return append(dst, "}\n\n"...)
}

func (f openaiChat) open(dst []byte, a *answer) []byte {
	if f.filtered {
		dst = append(dst, `data: {"choices":[],"created":0,"id":"","model":"","object":"","prompt_filter_results":[{"prompt_index":0,`+
			`"content_filter_results":{"hate":{"filtered":false,"severity":"safe"}}}]}`+"\n\n"...)
	}
	return a.chunk(dst, func(dst []byte) []byte {
		if a.tool == "" {
			return append(dst, `"role":"assistant","content":"","refusal":null`...)
		}
		dst = append(dst, `"role":"assistant","content":null,"tool_calls":[{"index":0,"id":"call_`...)
		dst = appendID(dst, base62, 24, a.seed, drawID)
		dst = append(dst, `","type":"function","function":{"name":`...)
		dst = appendString(dst, a.tool)
		return append(dst, `,"arguments":""}}],"refusal":null`...)
	}, `null`)
}

func (openaiChat) delta(dst []byte, a *answer, i int) []byte {
	return a.chunk(dst, func(dst []byte) []byte {
		if a.tool == "" {
			dst = append(dst, `"content":"`...)
			dst = appendWord(dst, a.text, i)
			return append(dst, '"')
		}
		dst = append(dst, openaiFragment...)
		dst = a.appendArgument(dst, i)
		return append(dst, `"}}]`...)
	}, `null`)
}

const openaiFragment = `"tool_calls":[{"index":0,"function":{"arguments":"`

func (f openaiChat) finish(dst []byte, a *answer) []byte {
	if a.tool != "" {
		dst = a.chunk(dst, func(dst []byte) []byte {
			dst = append(dst, openaiFragment...)
			dst = a.closeArguments(dst)
			return append(dst, `"}}]`...)
		}, `null`)
	}
	dst = a.chunk(dst, func(dst []byte) []byte { return dst }, `"`+openaiEndings[a.ending]+`"`)
	if f.usageAtEnd {
		dst = bytes.TrimSuffix(bytes.TrimSuffix(dst, []byte("}\n\n")), []byte(`,"usage":null`))
		dst = a.appendOpenAIUsage(append(dst, `,"usage":`...))
		return append(dst, "}\n\n"...)
	}
	if !a.wantUsage {
		return dst
	}
	dst = append(dst, `data: {"id":"chatcmpl-`...)
	dst = a.appendHead(dst, `chat.completion.chunk`)
	dst = append(dst, `"choices":[],"usage":`...)
	dst = a.appendOpenAIUsage(dst)
	return append(dst, "}\n\n"...)
}

func (openaiChat) end(dst []byte) []byte { return append(dst, "data: [DONE]\n\n"...) }

func (openaiChat) broken(dst []byte, _ *answer) []byte {
	return append(dst, `data: {"error":{"message":"The server had an error while processing your request. Sorry about that!",`+
		`"type":"server_error","param":null,"code":"server_error"}}`+"\n\n"...)
}
