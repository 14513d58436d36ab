package simulate

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"mime"
	"mime/multipart"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// wording is how a vendor puts a refusal. The message may hold {model}, {tokens} and {limit}.
type wording struct {
	status              int
	kind, code, message string
}

// wordings are a vendor's words for all refusals.
type wordings [refusalCount]wording

// but returns w with other words for some refusals.
func (w wordings) but(changes map[refusal]wording) wordings {
	for r, e := range changes {
		w[r] = e
	}
	return w
}

// of returns the words for a problem, which may bring its own.
func (w *wordings) of(p problem) wording {
	e := w[p.refusal]
	if p.message != "" {
		e.message = p.message
	}
	if p.code != "" {
		e.code = p.code
	}
	e.message = strings.NewReplacer(
		"{model}", p.model, "{tokens}", strconv.Itoa(p.tokens), "{limit}", strconv.Itoa(p.limit),
	).Replace(e.message)
	return e
}

// plainRefusals are the words of vendors that have no codes.
var plainRefusals = wordings{
	refusedInvalid:     {status: 400},
	refusedAuth:        {401, "UNAUTHENTICATED", "", "Invalid credentials."},
	refusedPath:        {404, "NOT_FOUND", "", "Not Found"},
	refusedMethod:      {405, "INVALID_ARGUMENT", "", "Method Not Allowed"},
	refusedModel:       {404, "NOT_FOUND", "", "model '{model}' not found"},
	refusedTooLarge:    {413, "INVALID_ARGUMENT", "", "The request payload size exceeds the limit."},
	refusedContext:     {400, "INVALID_ARGUMENT", "", "prompt is too long: {tokens} tokens > {limit} maximum context length"},
	refusedPolicy:      {400, "INVALID_ARGUMENT", "", "The prompt was refused by the content policy."},
	refusedRate:        {429, "RESOURCE_EXHAUSTED", "", "You are sending requests too fast. Please slow down."},
	refusedQuota:       {402, "FAILED_PRECONDITION", "", "You have no credits left."},
	refusedServer:      {500, "INTERNAL", "", "Internal server error"},
	refusedUnavailable: {503, "UNAVAILABLE", "", "Service Unavailable"},
	refusedOverloaded:  {529, "UNAVAILABLE", "", "The service is overloaded."},
	refusedJob:         {404, "NOT_FOUND", "", "Not Found"},
}

// read decodes the body of a call that is JSON.
func read(body []byte, to any) *problem {
	if err := json.Unmarshal(body, to); err != nil {
		if wrong, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
			return invalid(wrong.Field, "Invalid type for '"+wrong.Field+"'.")
		}
		return invalid("", "The body of the request is not valid JSON.")
	}
	return nil
}

// maxField bounds the text of a form's field; of files only the length is kept.
const maxField = 64 << 10

// readForm reads the texts of a body of type multipart/form-data, and how long its files are.
func readForm(h http.Header, body []byte) (fields map[string]string, files map[string]int, wrong *problem) {
	kind, params, err := mime.ParseMediaType(h.Get("Content-Type"))
	if err != nil || kind != "multipart/form-data" {
		return nil, nil, invalid("", "Send the request as multipart/form-data.")
	}
	fields, files = make(map[string]string), make(map[string]int)
	for r := multipart.NewReader(bytes.NewReader(body), params["boundary"]); ; {
		part, err := r.NextPart()
		if errors.Is(err, io.EOF) {
			return fields, files, nil
		}
		if err != nil {
			return nil, nil, invalid("", "The form of the request is broken.")
		}
		if part.FileName() != "" {
			n, err := io.Copy(io.Discard, part)
			if err != nil {
				return nil, nil, invalid("", "The form of the request is broken.")
			}
			files[part.FormName()] += int(n)
			continue
		}
		text, err := io.ReadAll(io.LimitReader(part, maxField))
		if err != nil {
			return nil, nil, invalid("", "The form of the request is broken.")
		}
		fields[part.FormName()] = string(text)
	}
}

// texts is one string or a list of anything.
type texts struct{ n, bytes int }

// UnmarshalJSON decodes b.
func (t *texts) UnmarshalJSON(b []byte) error {
	t.bytes = len(b)
	var list []json.RawMessage
	if json.Unmarshal(b, &list) == nil {
		t.n = len(list)
		if t.n > 0 && len(list[0]) > 0 && list[0][0] >= '0' && list[0][0] <= '9' {
			t.n = 1 // the tokens of one text
		}
		return nil
	}
	t.n = 1
	return nil
}

// length is how many bytes the values of an object take.
func length(fields map[string]json.RawMessage) int {
	n := 0
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		n += len(fields[name])
	}
	return n
}

// appendItems appends an array of n items.
func appendItems(dst []byte, n int, item func(dst []byte, i int) []byte) []byte {
	dst = append(dst, '[')
	for i := range n {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = item(dst, i)
	}
	return append(dst, ']')
}

// appendList appends an array with an item for each name.
func appendList(dst []byte, names []string, item func([]byte, string) []byte) []byte {
	return appendItems(dst, len(names), func(dst []byte, i int) []byte { return item(dst, names[i]) })
}
