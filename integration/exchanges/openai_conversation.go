package main

import (
	"encoding/json"
	"strings"

	"github.com/sira-ai/sira/schemas"
)

// readConversation reads the responses API. A stream says the same in its events
// as in the response at its end: the texts are taken from the events.
func readConversation(x *exchange, body string) (reading, error) {
	if !isStream(x, body) {
		v, err := parse(body)
		if err != nil {
			return unsaid(), err
		}
		return readResponse(v)
	}
	var texts, refusals, reasoning string
	parted := map[[2]int64]int64{}
	for _, e := range events(body) {
		if strings.TrimSpace(e.data) == "[DONE]" {
			continue
		}
		v, err := parse(e.data)
		if err != nil {
			return unsaid(), err
		}
		switch kind := text(dig(v, "type")); kind {
		case "response.output_text.delta":
			texts += text(dig(v, "delta"))
		case "response.refusal.delta":
			refusals += text(dig(v, "delta"))
		case "response.reasoning_summary_text.delta", "response.reasoning_text.delta":
			key := [2]int64{number(dig(v, "output_index")), 0}
			n := max(number(dig(v, "summary_index")), 0) + max(number(dig(v, "content_index")), 0)
			if before, seen := parted[key]; seen && n > before {
				reasoning += "\n\n"
			}
			parted[key] = n
			reasoning += text(dig(v, "delta"))
		case "error":
			return refusal(openaiClass(inStream(v)))
		case "response.completed", "response.incomplete", "response.failed", "response.cancelled":
			r, err := readResponse(dig(v, "response"))
			if err != nil || r.Code != "" {
				return r, err
			}
			if texts+refusals != "" { // else nothing came in pieces
				r.Texts, r.Refusals = []string{texts}, []string{refusals}
			}
			if reasoning != "" {
				r.Reasoning = []string{reasoning}
			}
			return r, nil
		case "":
			if dig(v, "error") != nil {
				return refusal(openaiClass(inStream(v)))
			}
		}
	}
	return refusal(schemas.StreamInterrupted)
}

func readResponse(v any) (reading, error) {
	r := unsaid()
	status := text(dig(v, "status"))
	switch {
	case status == "cancelled":
		return refusal(schemas.Cancelled)
	case dig(v, "error") != nil || status == "failed":
		return refusal(openaiClass(inStream(v)))
	case status == "queued":
		r.Job = schemas.JobQueued
		return r, nil
	case status == "in_progress":
		r.Job = schemas.JobRunning
		return r, nil
	case dig(v, "output") == nil:
		return refusal(schemas.MalformedResponse)
	}
	var said, refused strings.Builder
	var thoughts []string
	r.Calls = []call{}
	asks := false
	for _, item := range list(dig(v, "output")) {
		switch kind := text(dig(item, "type")); kind {
		case "message":
			for _, c := range list(dig(item, "content")) {
				said.WriteString(text(dig(c, "text")))
				refused.WriteString(text(dig(c, "refusal")))
			}
		case "reasoning":
			var paragraphs []string
			for _, key := range []string{"summary", "content"} {
				for _, s := range list(dig(item, key)) {
					paragraphs = append(paragraphs, text(dig(s, "text")))
				}
			}
			thoughts = append(thoughts, strings.Join(paragraphs, "\n\n"))
		case "function_call":
			asks = true
			r.Calls = append(r.Calls, call{text(dig(item, "name")), text(dig(item, "arguments"))})
		case "custom_tool_call":
			asks = true
			r.Calls = append(r.Calls, call{text(dig(item, "name")), text(dig(item, "input"))})
		case "image_generation_call":
		case "computer_call", "local_shell_call", "shell_call", "apply_patch_call", "mcp_approval_request":
			asks = true
			r.Calls = append(r.Calls, call{kind, marshalled(item)})
		default:
			r.Calls = append(r.Calls, call{kind, marshalled(item)})
		}
	}
	r.Texts, r.Refusals, r.Reasoning = []string{said.String()}, []string{refused.String()}, []string{strings.Join(thoughts, "")}
	r.Finish = []schemas.FinishReason{conversationEnd(v, asks, refused.Len() > 0)}
	if u, ok := dig(v, "usage").(object); ok {
		tokens(&r, u)
	}
	return r, nil
}

func conversationEnd(v any, asks, refused bool) schemas.FinishReason {
	switch reason := text(dig(v, "incomplete_details", "reason")); {
	case text(dig(v, "status")) != "incomplete":
	case reason == "max_output_tokens":
		return schemas.FinishLength
	case reason == "content_filter":
		return schemas.FinishContentFilter
	default:
		return schemas.FinishUnknown
	}
	switch {
	case asks:
		return schemas.FinishToolCalls
	case refused:
		return schemas.FinishRefusal
	}
	return schemas.FinishStop
}

// marshalled returns v as JSON; what was read from JSON can be written as it.
func marshalled(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		return err.Error()
	}
	return string(b)
}
