package main

import (
	"strings"

	"github.com/sira-ai/sira/schemas"
)

// readSpeech reads sound, whose bytes say nothing about themselves.
func readSpeech(x *exchange, body string) (reading, error) {
	if len(body) == 0 {
		return refusal(schemas.MalformedResponse)
	}
	r := unsaid()
	r.Media = 1
	if !strings.HasPrefix(strings.TrimSpace(body), "data:") {
		return r, nil
	}
	for _, e := range events(body) {
		v, err := parse(e.data)
		if err != nil {
			return r, err
		}
		if dig(v, "error") != nil {
			return refusal(openaiClass(inStream(v)))
		}
		if text(dig(v, "type")) == "speech.audio.done" {
			if n := number(dig(v, "usage", "input_tokens")); n >= 0 {
				r.Input, r.Output = n, number(dig(v, "usage", "output_tokens"))
			}
			return r, nil
		}
	}
	return refusal(schemas.StreamInterrupted)
}

func readTranscript(x *exchange, body string) (reading, error) {
	r := unsaid()
	words := ""
	usage := func(v any) {
		if n := number(dig(v, "usage", "input_tokens")); n >= 0 {
			r.Input, r.Output = n, number(dig(v, "usage", "output_tokens"))
		}
	}
	switch {
	case isStream(x, body):
		for _, e := range events(body) {
			v, err := parse(e.data)
			if err != nil {
				return r, err
			}
			if dig(v, "error") != nil {
				return refusal(openaiClass(inStream(v)))
			}
			if text(dig(v, "type")) == "transcript.text.done" {
				words = text(dig(v, "text"))
				r.Transcript = &words
				usage(v)
				return r, nil
			}
		}
		return refusal(schemas.StreamInterrupted)
	case strings.HasPrefix(strings.TrimSpace(body), "{"):
		v, err := parse(body)
		if err != nil {
			return r, err
		}
		if dig(v, "error") != nil {
			return refusal(openaiClass(inStream(v)))
		}
		words = text(dig(v, "text"))
		usage(v)
	default:
		words = strings.TrimRight(body, "\n")
	}
	r.Transcript = &words
	return r, nil
}

func readPictures(body string) (reading, error) {
	r := unsaid()
	r.Media = 0
	if strings.HasPrefix(strings.TrimSpace(body), "{") {
		v, err := parse(body)
		if err != nil {
			return r, err
		}
		if dig(v, "error") != nil {
			return refusal(openaiClass(inStream(v)))
		}
		for _, p := range list(dig(v, "data")) {
			if b := text(dig(p, "b64_json")); !isBase64(b) {
				return r, errUnreadable // whoever published it left the picture out
			}
			r.Media++
		}
		if n := number(dig(v, "usage", "input_tokens")); n >= 0 {
			r.Input, r.Output = n, number(dig(v, "usage", "output_tokens"))
		}
		return r, nil
	}
	for _, e := range events(body) {
		v, err := parse(e.data)
		if err != nil {
			return r, err
		}
		if dig(v, "error") != nil {
			return refusal(openaiClass(inStream(v)))
		}
		if strings.HasSuffix(text(dig(v, "type")), ".completed") {
			r.Media++
			if n := number(dig(v, "usage", "input_tokens")); n >= 0 {
				r.Input, r.Output = n, number(dig(v, "usage", "output_tokens"))
			}
		}
	}
	if r.Media == 0 {
		return refusal(schemas.StreamInterrupted)
	}
	return r, nil
}

func isBase64(s string) bool { return !strings.ContainsAny(s, "<>. ") && len(s)%4 == 0 }

func readFilm(v any) (reading, error) {
	r := unsaid()
	switch text(dig(v, "status")) {
	case "queued":
		r.Job = schemas.JobQueued
	case "in_progress", "completed": // one that is complete is still to be fetched
		r.Job = schemas.JobRunning
	default:
		return refusal(openaiClass(inStream(v)))
	}
	return r, nil
}
