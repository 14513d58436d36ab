package wire

import (
	"bufio"
	"bytes"
	"errors"
	"io"
)

// LineReader reads a stream of one JSON value on each line (NDJSON), which some
// vendors send in place of server-sent events.
type LineReader struct {
	scanner *bufio.Scanner
}

// NewLineReader returns a reader of the lines in r. A line may take up to limit
// bytes; 0 means MaxEventBytes.
func NewLineReader(r io.Reader, limit int) *LineReader {
	if limit <= 0 {
		limit = MaxEventBytes
	}
	s := bufio.NewScanner(r)
	s.Buffer(make([]byte, 0, min(limit, 4<<10)), limit)
	return &LineReader{scanner: s}
}

// Next returns the next line that is not blank, good until the next call. At the
// end it returns io.EOF, else the error of the reader or ErrEventTooLarge. A last
// line that was cut off is returned like any other.
func (l *LineReader) Next() ([]byte, error) {
	for l.scanner.Scan() {
		if line := bytes.TrimSpace(l.scanner.Bytes()); len(line) > 0 {
			return line, nil
		}
	}
	switch err := l.scanner.Err(); {
	case errors.Is(err, bufio.ErrTooLong):
		return nil, ErrEventTooLarge
	case err != nil:
		return nil, err
	}
	return nil, io.EOF
}
