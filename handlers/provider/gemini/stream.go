package gemini

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"

	"github.com/sira-ai/sira/handlers/provider"
	"github.com/sira-ai/sira/handlers/provider/wire"
	"github.com/sira-ai/sira/schemas"
)

// answered reads the answer to generateContent or streamGenerateContent.
func (a *adapter) answered(res *http.Response, req *schemas.Request, emit provider.Emit) (*schemas.Response, error) {
	r := &reader{a: a, req: req, answer: wire.NewAnswer(emit)}
	kind := res.Header.Get("Content-Type")
	if kind != "" && !strings.Contains(kind, "json") && !strings.Contains(kind, "event-stream") {
		return nil, wire.Malformed("its content type is neither JSON nor an event stream", nil)
	}
	// What is sent tells more than the content type: errors come as JSON under that
	// of events, and streams as lists.
	from := bufio.NewReader(res.Body)
	first, err := begin(from)
	switch {
	case err != nil && !req.Stream:
		return nil, wire.ReadFailure(err)
	case err != nil:
		return nil, r.interrupted(err)
	case first == '{':
		return r.whole(from, res.ContentLength)
	case first == '[':
		return r.array(from)
	case req.Stream || strings.Contains(kind, "event-stream"):
		return r.events(from)
	}
	return r.whole(from, res.ContentLength)
}

// begin skips blanks and returns the first byte behind them, or 0 at the end.
func begin(from *bufio.Reader) (byte, error) {
	for {
		if _, err := from.Peek(1); err != nil {
			if errors.Is(err, io.EOF) {
				err = nil
			}
			return 0, err
		}
		some, _ := from.Peek(from.Buffered())
		rest := bytes.TrimLeft(some, " \r\n\t")
		if len(rest) > 0 {
			return rest[0], nil
		}
		_, _ = from.Discard(len(some))
	}
}

// whole reads an answer that comes at once.
func (r *reader) whole(from io.Reader, size int64) (*schemas.Response, error) {
	body, err := wire.ReadAll(from, size)
	if err != nil {
		return nil, err
	}
	if err := r.take(body); err != nil {
		return nil, r.unread(err, false)
	}
	return r.end(true)
}

// array reads a stream that was asked for without events: a list of pieces.
func (r *reader) array(from io.Reader) (*schemas.Response, error) {
	list := json.NewDecoder(from)
	if _, err := list.Token(); err != nil {
		return nil, wire.Malformed("it is no list", err)
	}
	for list.More() {
		var piece json.RawMessage
		if err := list.Decode(&piece); err != nil {
			return nil, r.unreadable(err)
		}
		if err := r.take(piece); err != nil {
			return nil, r.unread(err, false)
		}
		if r.answer.Err() != nil {
			return nil, r.answer.Unheard(r.req)
		}
	}
	if _, err := list.Token(); err != nil {
		return nil, r.unreadable(err)
	}
	return r.end(true)
}

// unreadable is the failure of a list that cannot be read on.
func (r *reader) unreadable(err error) error {
	if _, wrong := errors.AsType[*json.SyntaxError](err); wrong && !errors.Is(err, io.ErrUnexpectedEOF) {
		return r.unread(err, false)
	}
	return r.interrupted(err)
}

// events reads an answer that comes as events. Nothing marks its end but that of
// the connection.
func (r *reader) events(from io.Reader) (*schemas.Response, error) {
	tail := &tail{from: from}
	events := wire.NewEventReader(tail, 0)
	for {
		ev, err := events.Next()
		switch {
		case errors.Is(err, io.EOF):
			if said := tail.bare(); said != nil {
				return nil, r.answer.Broken(r.req, r.a.told(said))
			}
			if len(r.candidates) == 0 && r.blocked == "" {
				return nil, r.interrupted(io.ErrUnexpectedEOF)
			}
			return r.end(false)
		case err != nil:
			return nil, r.interrupted(err)
		case bytes.Equal(bytes.TrimSpace(ev.Data), []byte("[DONE]")): // of proxies
			continue
		}
		if err := r.take(ev.Data); err != nil {
			return nil, r.unread(err, ev.Cut)
		}
		if r.answer.Err() != nil {
			return nil, r.answer.Unheard(r.req)
		}
	}
}

// unread is the failure when a piece could not be taken in. cut is whether the
// stream ended within it.
func (r *reader) unread(err error, cut bool) error {
	if f, told := errors.AsType[*schemas.Failure](err); told {
		r.use()
		return r.answer.Broken(r.req, f)
	}
	if cut {
		return r.interrupted(err)
	}
	return r.answer.Broken(r.req, wire.Malformed("it is not JSON as agreed", err))
}

// tail passes a stream on and keeps its end, where the vendor may write an error
// that is no event.
type tail struct {
	from io.Reader
	kept []byte
}

// tailBytes is how much of the end is kept.
const tailBytes = 8 << 10

// Read implements [io.Reader].
func (t *tail) Read(p []byte) (int, error) {
	n, err := t.from.Read(p)
	if n >= tailBytes {
		t.kept = append(t.kept[:0], p[n-tailBytes:n]...)
		return n, err
	}
	if over := len(t.kept) + n - tailBytes; over > 0 {
		t.kept = t.kept[:copy(t.kept, t.kept[over:])]
	}
	t.kept = append(t.kept, p[:n]...)
	return n, err
}

// bare returns the error that stands behind the last event, or nil.
func (t *tail) bare() []byte {
	at := 0
	if t.kept == nil || t.kept[0] != '{' {
		if at = bytes.Index(t.kept, []byte("\n{")) + 1; at == 0 {
			return nil
		}
	}
	said := bytes.TrimSpace(t.kept[at:])
	var e struct {
		Error json.RawMessage `json:"error"`
	}
	if json.Unmarshal(said, &e) != nil || len(e.Error) == 0 || string(e.Error) == "null" {
		return nil
	}
	return said
}
