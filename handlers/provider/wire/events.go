package wire

import (
	"bytes"
	"errors"
	"io"
)

// MaxEventBytes bounds one event: images come as base64 on a single line.
const MaxEventBytes = 64 << 20

// ErrEventTooLarge says that an event is above the limit.
var ErrEventTooLarge = errors.New("event above the size limit")

// Event is one server-sent event. Its slices are good until the next call of
// Next.
type Event struct {
	Name []byte // of the event field, empty where there is none
	Data []byte // data lines, joined with \n
	// Cut is set on the last event of a stream that ended before the event did.
	Cut bool
}

// EventReader reads server-sent events. Lines end with \n, \r\n or \r; one
// space after a colon is dropped; comments, unknown fields and events without
// data are skipped. The source is the WHATWG HTML standard, section 9.2.6, but
// for Cut: the standard drops an unfinished event, and some servers forget the
// last blank line.
type EventReader struct {
	r   io.Reader
	max int
	err error // from r, kept until the buffer is used up

	buf        []byte
	start, end int // of what is in buf and not yet read
	scanned    int // bytes from start known to hold no line end
	skipLF     bool
	begun      bool

	// The event being read. Its first data line stays where it is in buf,
	// [from,to); joined takes over from the second on.
	name     []byte
	from, to int
	lines    int
	joined   []byte
}

// NewEventReader returns a reader of the events in r. A line, and the data of an
// event, may take up to limit bytes; 0 means MaxEventBytes.
func NewEventReader(r io.Reader, limit int) *EventReader {
	if limit <= 0 {
		limit = MaxEventBytes
	}
	return &EventReader{r: r, max: limit, buf: make([]byte, 4<<10)}
}

// Next returns the next event with data. At the end it returns io.EOF, else the
// error of the reader or ErrEventTooLarge.
func (e *EventReader) Next() (Event, error) {
	e.name, e.lines, e.joined = e.name[:0], 0, e.joined[:0]
	for {
		from, to, err := e.line()
		switch {
		case errors.Is(err, io.EOF) && e.lines > 0:
			return e.event(true), nil
		case err != nil:
			return Event{}, err
		case from < to:
			if err := e.field(from, to); err != nil {
				return Event{}, err
			}
		case e.lines > 0:
			return e.event(false), nil
		default:
			e.name = e.name[:0]
		}
	}
}

func (e *EventReader) event(cut bool) Event {
	data := e.joined
	if e.lines == 1 {
		data = e.buf[e.from:e.to]
	}
	return Event{Name: e.name, Data: data, Cut: cut}
}

// field takes in the line at [from,to) of buf.
func (e *EventReader) field(from, to int) error {
	key, value, found := bytes.Cut(e.buf[from:to], colon)
	from += len(key)
	if found {
		from++
	}
	if len(value) > 0 && value[0] == ' ' {
		from++
	}
	value = e.buf[from:to]
	switch string(key) {
	case "event":
		e.name = append(e.name[:0], value...)
	case "data":
		e.lines++
		switch e.lines {
		case 1:
			e.from, e.to = from, to
			return nil
		case 2:
			e.joined = append(e.joined, e.buf[e.from:e.to]...)
		}
		if len(e.joined)+1+len(value) > e.max {
			return ErrEventTooLarge
		}
		e.joined = append(append(e.joined, '\n'), value...)
	}
	return nil
}

var colon = []byte(":")

// line returns where the next line is in buf, without its end. What the reader
// ends with counts as a line if it is not empty.
func (e *EventReader) line() (from, to int, err error) {
	for {
		if e.skipLF && e.start < e.end {
			if e.buf[e.start] == '\n' {
				e.start++
			}
			e.skipLF = false
		}
		if n := lineEnd(e.buf[e.start+e.scanned : e.end]); n >= 0 {
			from, to = e.start, e.start+e.scanned+n
			e.skipLF = e.buf[to] == '\r'
			e.start, e.scanned = to+1, 0
			return e.pastMark(from), to, nil
		}
		e.scanned = e.end - e.start
		if e.err != nil {
			if e.scanned == 0 || !errors.Is(e.err, io.EOF) {
				return 0, 0, e.err
			}
			from, to = e.start, e.end
			e.start, e.scanned = e.end, 0
			return e.pastMark(from), to, nil
		}
		if e.scanned > e.max {
			return 0, 0, ErrEventTooLarge
		}
		e.fill()
	}
}

// pastMark steps over a byte order mark at the very beginning.
func (e *EventReader) pastMark(from int) int {
	if !e.begun {
		e.begun = true
		if bytes.HasPrefix(e.buf[from:e.start], []byte("\ufeff")) {
			return from + len("\ufeff")
		}
	}
	return from
}

// lineEnd returns the index of the first \n or \r, or -1.
func lineEnd(b []byte) int {
	n := bytes.IndexByte(b, '\n')
	if n >= 0 {
		b = b[:n]
	}
	if r := bytes.IndexByte(b, '\r'); r >= 0 {
		return r
	}
	return n
}

// fill reads more behind what is kept: the unread bytes and the event's first
// data line.
func (e *EventReader) fill() {
	keep := e.start
	if e.lines == 1 {
		keep = e.from
	}
	if keep > 0 {
		copy(e.buf, e.buf[keep:e.end])
		e.start, e.end, e.from, e.to = e.start-keep, e.end-keep, e.from-keep, e.to-keep
	}
	if e.end == len(e.buf) {
		grown := make([]byte, 2*len(e.buf))
		copy(grown, e.buf[:e.end])
		e.buf = grown
	}
	for range 100 { // a reader may return nothing now and then, but not for ever
		n, err := e.r.Read(e.buf[e.end:])
		e.end += n
		e.err = err
		if n > 0 || err != nil {
			return
		}
	}
	e.err = io.ErrNoProgress
}
