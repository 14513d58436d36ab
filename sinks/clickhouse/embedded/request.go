package embedded

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strings"

	"github.com/ClickHouse/ch-go/compress"
	"github.com/klauspost/compress/zstd"
)

// request is a query as the client meant it.
type request struct {
	statement
	Statement
	// data is what an insert brings along.
	data io.Reader
}

// Parameters of the URL that are not settings (src/Server/HTTPHandler.cpp).
var notSettings = map[string]bool{
	"query": true, "query_id": true, "database": true, "default_format": true, "user": true, "password": true,
	"compress": true, "decompress": true, "client_protocol_version": true, "quota_key": true, "stacktrace": true,
	"buffer_size": true, "wait_end_of_query": true, "session_timeout": true, "session_check": true, "close_session": true,
}

// readRequest reads as much of the body as it takes to know the statement.
func (s *Server) readRequest(w http.ResponseWriter, r *http.Request) (*request, error) {
	query := r.URL.Query()
	if media, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type")); media == "multipart/form-data" {
		return nil, newException(codeNotImplemented, "External tables (multipart/form-data) are not part of the embedded engine")
	}
	req := &request{Statement: Statement{
		Format:   first(query.Get("default_format"), r.Header.Get("X-ClickHouse-Format")),
		Database: first(query.Get("database"), r.Header.Get("X-ClickHouse-Database")),
		ReadOnly: r.Method != http.MethodPost,
	}}
	if err := req.readParameters(query); err != nil {
		return nil, err
	}
	body, err := s.body(w, r)
	if err != nil {
		return nil, err
	}
	return req, req.readStatement(query.Get("query"), body, s.cfg.MaxQueryBytes)
}

func (q *request) readParameters(query url.Values) error {
	q.Settings, q.Params = map[string]string{}, map[string]string{}
	for name, values := range query {
		param, isParam := strings.CutPrefix(name, "param_")
		switch {
		case isParam:
			q.Params[param] = values[0]
		case name == "session_id":
			return newException(codeNotImplemented, "Sessions are not part of the embedded engine: leave session_id out")
		case name == "role":
			return newException(codeNotImplemented, "Roles are not part of the embedded engine: leave role out")
		case !notSettings[name]:
			q.Settings[name] = values[0]
		}
	}
	return nil
}

// readStatement takes the query from the URL, the body or, as ClickHouse does, from both: the body continues the URL.
func (q *request) readStatement(inURL string, body io.Reader, limit int64) error {
	if inURL != "" {
		st, err := parseStatement([]byte(inURL))
		if err == nil && st.insert != nil {
			q.take(st, []byte(inURL), body)
			return nil
		}
		// An error is reported with the whole text below.
	}
	head, err := io.ReadAll(io.LimitReader(body, limit+1))
	if err != nil {
		return bodyError(err)
	}
	text := head
	if inURL != "" {
		text = append([]byte(inURL), '\n')
		text = append(text, head...)
	}
	st, err := parseStatement(text)
	if err != nil {
		return err
	}
	if st.insert == nil && int64(len(head)) > limit {
		return newException(codeQueryIsTooLarge, "The query is longer than %d bytes", limit)
	}
	q.take(st, text, body)
	return nil
}

func (q *request) take(st statement, text []byte, rest io.Reader) {
	q.statement = st
	q.SQL = st.sql
	if st.insert != nil {
		q.data = io.MultiReader(bytes.NewReader(text[st.insert.data:]), rest)
	}
}

// body undoes the transfer's compressions and bounds what comes in, before and after.
func (s *Server) body(w http.ResponseWriter, r *http.Request) (io.Reader, error) {
	var body io.Reader = http.MaxBytesReader(w, r.Body, s.cfg.MaxBodyBytes)
	switch encoding := r.Header.Get("Content-Encoding"); encoding {
	case "", "identity":
	case "gzip":
		decoder, err := gzip.NewReader(body)
		if err != nil {
			return nil, bodyError(err)
		}
		body = decoder
	case "zstd":
		decoder, err := zstd.NewReader(body, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(uint64(s.cfg.MaxBodyBytes)))
		if err != nil {
			return nil, bodyError(err)
		}
		body = decoder
	default:
		return nil, newException(codeUnknownCompression, "Unknown Content-Encoding %q: use gzip, zstd or none", encoding)
	}
	if isOn(r.URL.Query().Get("decompress")) {
		body = newBlockReader(body)
	}
	return &limitedReader{source: body, left: s.cfg.MaxBodyBytes}, nil
}

// bodyError tells the client what was wrong with its body.
func bodyError(err error) error {
	if tooLarge, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return newException(codeQueryIsTooLarge, "The body is larger than %d bytes", tooLarge.Limit)
	}
	if own, ok := errors.AsType[*Exception](err); ok {
		return own
	}
	return newException(codeIncorrectData, "Cannot read the body: %v", err)
}

// limitedReader fails where io.LimitReader would end, so that data is refused and not cut.
type limitedReader struct {
	source io.Reader
	left   int64
}

func (l *limitedReader) Read(p []byte) (int, error) {
	// One byte more than allowed tells too much from just enough.
	if int64(len(p)) > l.left+1 {
		p = p[:l.left+1]
	}
	n, err := l.source.Read(p)
	if l.left -= int64(n); l.left < 0 {
		return 0, newException(codeQueryIsTooLarge, "The decompressed body is larger than this server takes")
	}
	return n, err
}

// blockReader reads ClickHouse's own compression. ch-go's reader ends with io.EOF after the last block, but also when a block
// lacks its body; only at the first nothing was read before.
type blockReader struct {
	source *countingReader
	blocks *compress.Reader
}

func newBlockReader(r io.Reader) *blockReader {
	source := &countingReader{source: r}
	return &blockReader{source: source, blocks: compress.NewReader(source)}
}

func (b *blockReader) Read(p []byte) (int, error) {
	before := b.source.n
	n, err := b.blocks.Read(p)
	if errors.Is(err, io.EOF) {
		if b.source.n == before {
			return n, io.EOF
		}
		return n, io.ErrUnexpectedEOF
	}
	if err != nil {
		return n, fmt.Errorf("decompressing: %w", err)
	}
	return n, nil
}

type countingReader struct {
	source io.Reader
	n      int64
}

func (c *countingReader) Read(p []byte) (int, error) {
	n, err := c.source.Read(p)
	c.n += int64(n)
	return n, err
}

func isOn(value string) bool { return value == "1" || value == "true" }

func first(values ...string) string {
	for _, v := range values {
		if v != "" {
			return v
		}
	}
	return ""
}
