package gemini

import (
	"encoding/json"
	"strconv"
	"strings"

	"github.com/sira-ai/sira/schemas"
)

// openCall is a call whose arguments come in pieces, as Vertex AI sends them when
// streamFunctionCallArguments is asked for.
type openCall struct {
	part int
	args any
}

// maxPath bounds how deep arguments may be nested.
const maxPath = 100

// call takes in a wish to call a function, or a piece of one. Calls without an id
// get one that is the same each time the answer is read.
func (r *reader) call(cand *candidate, f *call) {
	if cand.open != nil && f.name == "" {
		r.grow(cand, f)
		return
	}
	r.close(cand)
	id := f.id
	if id == "" {
		id = r.id
		if id == "" {
			id = r.req.ID
		}
		id = minted + id + "_" + strconv.Itoa(r.calls)
	}
	r.calls++
	cand.called = true
	cand.alone(schemas.PartToolCall)
	at := r.answer.ToolCall(cand.index, id, f.name)
	if f.more || len(f.pieces) > 0 {
		cand.open = &openCall{part: at}
		r.grow(cand, f)
		return
	}
	args := "{}"
	if len(f.args) > 0 && f.args[0] == '{' {
		args = string(f.args)
	}
	r.answer.Arguments(cand.index, at, args)
}

// grow adds pieces to the arguments of the open call and, behind the last, closes
// it.
func (r *reader) grow(cand *candidate, f *call) {
	var list []struct {
		Path   string          `json:"jsonPath"`
		String *string         `json:"stringValue"`
		Number json.RawMessage `json:"numberValue"`
		Bool   *bool           `json:"boolValue"`
	}
	if json.Unmarshal(f.pieces, &list) == nil {
		for _, p := range list {
			var v any
			switch {
			case p.String != nil:
				v = *p.String
			case len(p.Number) > 0:
				v = p.Number
			case p.Bool != nil:
				v = *p.Bool
			}
			if path := strings.FieldsFunc(p.Path, punctuation); len(path) < maxPath {
				cand.open.args = put(cand.open.args, path, v)
			}
		}
	}
	if !f.more {
		r.close(cand)
	}
}

// punctuation tells what separates the steps of a path such as $.cities[0].name.
func punctuation(c rune) bool { return strings.ContainsRune(`$.[]'"`, c) }

// put returns the tree with v at the end of the path. Texts at the same place are
// joined.
func put(tree any, path []string, v any) any {
	if len(path) == 0 {
		have, is := tree.(string)
		if more, also := v.(string); is && also {
			return have + more
		}
		return v
	}
	if list, is := tree.([]any); is || tree == nil {
		if i, err := strconv.Atoi(path[0]); err == nil && i >= 0 && i <= len(list) {
			if i == len(list) {
				list = append(list, nil)
			}
			list[i] = put(list[i], path[1:], v)
			return list
		}
	}
	object, is := tree.(map[string]any)
	if !is {
		object = make(map[string]any)
	}
	object[path[0]] = put(object[path[0]], path[1:], v)
	return object
}

// close passes on the arguments of the open call, if there is one.
func (r *reader) close(cand *candidate) {
	if cand.open == nil {
		return
	}
	args, err := json.Marshal(cand.open.args)
	if err != nil || cand.open.args == nil {
		args = []byte("{}")
	}
	r.answer.Arguments(cand.index, cand.open.part, string(args))
	cand.open = nil
}
