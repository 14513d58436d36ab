package main

import (
	"encoding/json"
	"slices"
	"strings"

	"github.com/sira-ai/sira/schemas"
)

// hfSpeaker is what one choice of a chat says.
type hfSpeaker struct {
	text, thought, finish string
	calls                 []call
	at                    []int64 // the index of each call
}

// hfChat reads a chat in OpenAI's form, as the router passes it on from partners.
func hfChat(x *exchange, body string) (reading, error) {
	r := unsaid()
	var bodies []any
	done := !x.Stream
	if strings.HasPrefix(strings.TrimSpace(body), "{") {
		v, err := parse(body)
		if err != nil {
			return r, err
		}
		bodies, done = []any{v}, true
	} else {
		for _, e := range events(body) {
			if strings.TrimSpace(e.data) == "[DONE]" {
				done = true
				break
			}
			v, err := parse(e.data)
			if err != nil {
				return r, err
			}
			bodies = append(bodies, v)
		}
	}
	var speakers []hfSpeaker
	for _, b := range bodies {
		if dig(b, "error") != nil {
			said, err := json.Marshal(b)
			if err != nil {
				return r, err
			}
			return refusal(hfRefusal(200, string(said)))
		}
		if u := dig(b, "usage"); u != nil {
			hfUsage(&r, u)
		}
		for _, c := range list(dig(b, "choices")) {
			i := max(int(number(dig(c, "index"))), 0)
			for len(speakers) <= i {
				speakers = append(speakers, hfSpeaker{})
			}
			m := dig(c, "message")
			if m == nil {
				m = dig(c, "delta")
			}
			speakers[i].hear(m, text(dig(c, "finish_reason")))
		}
	}
	finished := func(s hfSpeaker) bool { return s.finish != "" }
	switch {
	case len(speakers) == 0 && !x.Stream:
		return refusal(schemas.MalformedResponse)
	case x.Stream && !done && (len(speakers) == 0 || !slices.ContainsFunc(speakers, finished)),
		len(bodies) > 1 && !slices.ContainsFunc(speakers, finished):
		return refusal(schemas.StreamInterrupted)
	}
	r.Calls = []call{}
	for _, s := range speakers {
		r.Texts = append(r.Texts, s.text)
		r.Reasoning = append(r.Reasoning, s.thought)
		r.Calls = append(r.Calls, s.calls...)
		f := hfFinish(s.finish)
		if f == schemas.FinishStop && len(s.calls) > 0 {
			f = schemas.FinishToolCalls
		}
		r.Finish = append(r.Finish, f)
	}
	return r, nil
}

func hfUsage(r *reading, u any) {
	if n := number(dig(u, "prompt_tokens")); n >= 0 {
		r.Input = n
	}
	if n := number(dig(u, "completion_tokens")); n >= 0 {
		r.Output = n
	}
	if n := max(number(dig(u, "prompt_tokens_details", "cached_tokens")), number(dig(u, "cached_tokens"))); n >= 0 {
		r.CacheRead = n
	}
	if n := number(dig(u, "completion_tokens_details", "reasoning_tokens")); n >= 0 {
		r.Thought = n
	}
}

func (s *hfSpeaker) hear(m any, finish string) {
	s.text += text(dig(m, "content"))
	thought := text(dig(m, "reasoning"))
	if thought == "" {
		thought = text(dig(m, "reasoning_content"))
	}
	s.thought += thought
	if finish != "" && s.finish == "" {
		s.finish = finish
	}
	for i, c := range list(dig(m, "tool_calls")) {
		at := int64(i)
		if n := number(dig(c, "index")); n >= 0 {
			at = n
		}
		k := slices.Index(s.at, at)
		if k < 0 {
			k = len(s.at)
			s.at, s.calls = append(s.at, at), append(s.calls, call{})
		}
		if s.calls[k].Name == "" {
			s.calls[k].Name = text(dig(c, "function", "name"))
		}
		s.calls[k].Arguments += hfArguments(dig(c, "function", "arguments"))
	}
}

// hfArguments returns arguments as text; early TGI sent an object.
func hfArguments(v any) string {
	if s, isText := v.(string); isText || v == nil {
		return s
	}
	b, err := json.Marshal(v)
	if err != nil {
		return ""
	}
	return string(b)
}
