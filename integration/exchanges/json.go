package main

import (
	"encoding/json"
	"fmt"
	"strings"
)

// object is a JSON object, read without knowing its form.
type object = map[string]any

// dig follows names into objects and numbers into lists; nil where the way ends.
func dig(v any, path ...any) any {
	for _, step := range path {
		switch at := step.(type) {
		case string:
			m, _ := v.(object)
			v = m[at]
		case int:
			l, _ := v.([]any)
			if at >= len(l) {
				return nil
			}
			v = l[at]
		}
	}
	return v
}

func text(v any) string { s, _ := v.(string); return s }

func list(v any) []any { l, _ := v.([]any); return l }

// number returns a whole number, however it is written, and -1 where there is none.
func number(v any) int64 {
	switch n := v.(type) {
	case float64:
		return int64(n)
	case string:
		var i int64
		if _, err := fmt.Sscan(n, &i); err == nil {
			return i
		}
	}
	return -1
}

// parse reads JSON, or says that the recording is broken.
func parse(s string) (any, error) {
	var v any
	if err := json.Unmarshal([]byte(s), &v); err != nil {
		return nil, fmt.Errorf("%w: %w", errUnreadable, err)
	}
	return v, nil
}

// event is a server-sent event.
type event struct {
	name, data string
}

// events splits a stream, in any line ends, into its events.
func events(body string) []event {
	var all []event
	var e event
	var data []string
	body = strings.ReplaceAll(strings.ReplaceAll(body, "\r\n", "\n"), "\r", "\n")
	for line := range strings.SplitSeq(body+"\n\n", "\n") {
		name, value, _ := strings.Cut(line, ":")
		value = strings.TrimPrefix(value, " ")
		switch {
		case line == "":
			if len(data) > 0 {
				e.data = strings.Join(data, "\n")
				all = append(all, e)
			}
			e, data = event{}, nil
		case name == "event":
			e.name = value
		case name == "data":
			data = append(data, value)
		}
	}
	return all
}
