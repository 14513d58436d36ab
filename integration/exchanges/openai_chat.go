package main

import (
	"cmp"
	"slices"
	"strings"

	"github.com/sira-ai/sira/schemas"
)

// isStream reports whether the body is one of events, whatever was asked for.
func isStream(x *exchange, body string) bool {
	return x.Stream && !strings.HasPrefix(strings.TrimSpace(body), "{")
}

// readChat reads chat completions and legacy completions, whole or streamed.
func readChat(x *exchange, body string) (reading, error) {
	var all []any
	finished := false
	if isStream(x, body) {
		for _, e := range events(body) {
			if finished = strings.TrimSpace(e.data) == "[DONE]"; finished {
				break
			}
			v, err := parse(e.data)
			if err != nil {
				return unsaid(), err
			}
			all = append(all, v)
		}
	} else {
		v, err := parse(body)
		if err != nil {
			return unsaid(), err
		}
		if len(list(dig(v, "choices"))) == 0 && dig(v, "error") == nil {
			return refusal(schemas.MalformedResponse)
		}
		all, finished = []any{v}, true
	}
	c := completions{choices: map[int64]*completion{}, reading: unsaid()}
	for _, v := range all {
		if e := dig(v, "error"); e != nil || text(dig(v, "object")) == "error" {
			return refusal(openaiClass(inStream(v)))
		}
		c.take(v)
	}
	if !finished || isStream(x, body) && !c.ended() {
		return refusal(schemas.StreamInterrupted)
	}
	return c.end()
}

// completions gathers the choices of an answer.
type completions struct {
	choices map[int64]*completion
	reading reading
}

type completion struct {
	text, refusal, reasoning, finish, stop string
	calls                                  []*call
	ids                                    []string
	at                                     map[int64]int
}

func (c *completions) take(v any) {
	for i, choice := range list(dig(v, "choices")) {
		index := number(dig(choice, "index"))
		if index < 0 {
			index = int64(i)
			if dig(choice, "delta") != nil {
				index = 0
			}
		}
		o := c.choices[index]
		if o == nil {
			o = &completion{at: map[int64]int{}}
			c.choices[index] = o
		}
		m := dig(choice, "delta")
		if m == nil {
			m = dig(choice, "message")
		}
		o.text += text(dig(choice, "text"))
		o.take(m)
		o.finish = cmp.Or(text(dig(choice, "finish_reason")), o.finish)
		for _, key := range []string{"stop_reason", "matched_stop"} {
			o.stop = cmp.Or(text(dig(choice, key)), o.stop)
		}
	}
	if u, ok := dig(v, "usage").(object); ok && len(u) > 0 {
		tokens(&c.reading, u)
	}
}

func (o *completion) take(m any) {
	o.text += text(dig(m, "content"))
	for _, part := range list(dig(m, "content")) {
		o.text += text(dig(part, "text"))
		for _, thought := range list(dig(part, "thinking")) {
			o.reasoning += text(dig(thought, "text"))
		}
	}
	o.refusal += text(dig(m, "refusal"))
	if s := text(dig(m, "reasoning_content")); s != "" {
		o.reasoning += s
	} else {
		o.reasoning += text(dig(m, "reasoning"))
	}
	for i, t := range list(dig(m, "tool_calls")) {
		o.call(t, i)
	}
	if f := dig(m, "function_call"); f != nil {
		o.call(object{"function": f}, 0)
	}
}

// call adds a tool call or a piece of one. Another id and name under the same
// number are another call.
func (o *completion) call(t any, position int) {
	index := number(dig(t, "index"))
	if index < 0 {
		index = int64(position)
	}
	f := dig(t, "function")
	if f == nil {
		f = dig(t, "custom")
	}
	name, id := text(dig(f, "name")), text(dig(t, "id"))
	at, known := o.at[index]
	if !known || name != "" && id != "" && o.ids[at] != id {
		at = len(o.calls)
		o.at[index], o.calls, o.ids = at, append(o.calls, &call{}), append(o.ids, id)
	}
	if o.calls[at].Name == "" {
		o.calls[at].Name = name
	}
	o.calls[at].Arguments += asText(dig(f, "arguments")) + text(dig(f, "input"))
}

func (c *completions) ended() bool {
	for _, o := range c.choices {
		if o.finish == "" {
			return false
		}
	}
	return len(c.choices) > 0
}

func (c *completions) end() (reading, error) {
	r := c.reading
	r.Calls = []call{}
	indexes := make([]int64, 0, len(c.choices))
	for i := range c.choices {
		indexes = append(indexes, i)
	}
	slices.Sort(indexes)
	for _, i := range indexes {
		o := c.choices[i]
		if o.finish == "error" {
			return refusal(schemas.Internal)
		}
		r.Texts, r.Refusals, r.Reasoning = append(r.Texts, o.text), append(r.Refusals, o.refusal), append(r.Reasoning, o.reasoning)
		for _, t := range o.calls {
			r.Calls = append(r.Calls, *t)
		}
		r.Finish = append(r.Finish, o.reason())
	}
	return r, nil
}

func (o *completion) reason() schemas.FinishReason {
	switch o.finish {
	case "stop", "eos", "eos_token":
		switch {
		case o.stop != "":
			return schemas.FinishStopSequence
		case len(o.calls) > 0:
			return schemas.FinishToolCalls
		case o.refusal != "":
			return schemas.FinishRefusal
		}
		return schemas.FinishStop
	case "length", "max_tokens":
		return schemas.FinishLength
	case "tool_calls", "function_call":
		return schemas.FinishToolCalls
	case "content_filter":
		return schemas.FinishContentFilter
	case "abort":
		return schemas.FinishCancelled
	case "repetition":
		return schemas.FinishError
	}
	return schemas.FinishUnknown
}

// tokens reads a usage object of any of the APIs.
func tokens(r *reading, u any) {
	pick := func(names ...string) int64 {
		for _, n := range names {
			if v := number(dig(u, n)); v >= 0 {
				return v
			}
		}
		return 0
	}
	r.Input, r.Output = pick("prompt_tokens", "input_tokens"), pick("completion_tokens", "output_tokens")
	r.CacheRead, r.CacheWrite, r.Thought = max(pick("cached_tokens"), pick("prompt_cache_hit_tokens")), 0, pick("reasoning_tokens")
	for _, in := range []string{"prompt_tokens_details", "input_tokens_details"} {
		r.CacheRead = max(r.CacheRead, number(dig(u, in, "cached_tokens")))
		r.CacheWrite = max(r.CacheWrite, number(dig(u, in, "cache_write_tokens")))
	}
	for _, out := range []string{"completion_tokens_details", "output_tokens_details"} {
		r.Thought = max(r.Thought, number(dig(u, out, "reasoning_tokens")))
	}
}

// asText returns a string as it is and an object as JSON.
func asText(v any) string {
	if s, ok := v.(string); ok || v == nil {
		return s
	}
	return marshalled(v)
}
