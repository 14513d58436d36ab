package openai

import (
	"bytes"
	"cmp"
	"encoding/json"
	"slices"

	"github.com/sira-ai/sira/handlers/provider/wire"
	"github.com/sira-ai/sira/schemas"
	"github.com/sira-ai/sira/schemas/jsontext"
)

// filters gathers what Azure's content filter says, which it repeats in every
// chunk. The worst word on a category counts.
type filters struct {
	last  []byte // as it was said last, to pass over repetitions
	found []schemas.Safety
}

// prompt reads the list of results for the prompts.
func (f *filters) prompt(raw json.RawMessage) {
	c := jsontext.NewCursor(raw)
	if !c.Array() {
		return
	}
	for c.Item() {
		if !c.Object() {
			continue
		}
		for c.Key() {
			switch string(c.Name()) {
			case "content_filter_results", "content_filter_result": // both are sent
				f.results(&c, "prompt")
			default:
				c.Skip()
			}
		}
	}
}

// completion reads the results for a piece of an answer.
func (f *filters) completion(raw json.RawMessage) {
	if len(raw) <= len("{}") || bytes.Equal(raw, f.last) {
		return
	}
	f.last = append(f.last[:0], raw...)
	c := jsontext.NewCursor(raw)
	f.results(&c, "completion")
}

// results reads an object of results by category.
func (f *filters) results(c *jsontext.Cursor, source string) {
	if !c.Object() {
		return
	}
	for c.Key() {
		s := schemas.Safety{Source: source, Category: category(c.Name())}
		if c.Kind() != '{' {
			c.Skip()
			continue
		}
		c.Object()
		failed := false
		for c.Key() {
			switch string(c.Name()) {
			case "filtered":
				s.Filtered = c.Text() == "true"
			case "severity":
				s.Severity = c.Text()
			case "detected":
				if c.Text() == "true" && s.Severity == "" {
					s.Severity = "detected"
				}
			case "code": // of the error by which the filter itself failed
				failed = true
				s.Severity = c.Text()
			default:
				c.Skip()
			}
		}
		if failed || s.Severity != "" || s.Filtered {
			f.add(s)
		}
	}
}

// category spells self-harm as self_harm: both are sent.
func category(name []byte) string {
	if string(name) == "self-harm" {
		return "self_harm"
	}
	return string(name)
}

func (f *filters) add(s schemas.Safety) {
	for i := range f.found {
		have := &f.found[i]
		if have.Source != s.Source || have.Category != s.Category {
			continue
		}
		if severity(s.Severity) > severity(have.Severity) {
			have.Severity = s.Severity
		}
		have.Filtered = have.Filtered || s.Filtered
		return
	}
	f.found = append(f.found, s)
}

// severity orders Azure's words.
func severity(word string) int {
	switch word {
	case "", "safe":
		return 0
	case "low":
		return 1
	case "medium":
		return 2
	}
	return 3
}

// into hands over what was found, of the prompt first.
func (f *filters) into(answer *wire.Answer) {
	slices.SortStableFunc(f.found, func(x, y schemas.Safety) int { return -cmp.Compare(x.Source, y.Source) })
	for _, s := range f.found {
		answer.Filtered(s)
	}
	f.found = nil
}

// items reads the list of the responses API, which names the source of each.
func (f *filters) items(raw json.RawMessage) {
	c := jsontext.NewCursor(raw)
	if !c.Array() {
		return
	}
	for c.Item() {
		source := "completion"
		var results []byte
		if c.Object() {
			for c.Key() {
				switch string(c.Name()) {
				case "source_type":
					source = c.Text()
				case "content_filter_results":
					results = c.Raw()
				default:
					c.Skip()
				}
			}
		}
		inner := jsontext.NewCursor(results)
		f.results(&inner, source)
	}
}
