package embedded

import (
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"

	"github.com/ClickHouse/ch-go/compress"
	"github.com/google/uuid"
	"go.uber.org/zap"
)

// compressBlock is how much goes into one compressed block; ClickHouse's own limit is the same (max_compress_block_size).
const compressBlock = 1 << 20

func (s *Server) serveQuery(w http.ResponseWriter, r *http.Request) {
	id := r.URL.Query().Get("query_id")
	if id == "" {
		id = uuid.NewString()
	}
	w.Header().Set("X-ClickHouse-Query-Id", id)
	w.Header().Set("X-ClickHouse-Server-Display-Name", s.engine.displayName)
	w.Header().Set("X-ClickHouse-Timezone", s.engine.timezone)
	if err := s.answer(w, r); err != nil {
		s.writeError(w, r, err)
	}
}

func (s *Server) answer(w http.ResponseWriter, r *http.Request) error {
	if err := s.authenticate(r); err != nil {
		return err
	}
	req, err := s.readRequest(w, r)
	if err != nil {
		return err
	}
	if isHello(req, r.URL.Query()) {
		block, err := s.hello(r.URL.Query())
		if err != nil {
			return err
		}
		return writeAnswer(w, r, "Native", Result{Data: block, Rows: 1})
	}
	result, err := s.run(r.Context(), req)
	if err != nil {
		return err
	}
	return writeAnswer(w, r, first(req.format, req.Format, defaultFormat), result)
}

func (s *Server) run(ctx context.Context, req *request) (Result, error) {
	if req.insert == nil {
		return s.engine.Run(ctx, req.Statement)
	}
	if err := s.engine.Ready(); err != nil {
		return Result{}, newException(codeNotEnoughSpace, "%v", err)
	}
	file, err := s.engine.spool()
	if err != nil {
		return Result{}, err
	}
	// The file has no name, so that closing it removes it; an error in that changes nothing for anyone.
	defer func() { _ = file.Close() }()
	n, err := io.Copy(file, bodyReader{req.data})
	if err != nil {
		return Result{}, err
	}
	if n == 0 {
		return Result{}, newException(codeNoDataToInsert, "No data to insert")
	}
	req.SQL = req.insert.fromFile(dataPath(file))
	return s.engine.Run(ctx, req.Statement)
}

// bodyReader marks the errors of the body as the client's, so that a full disk is not.
type bodyReader struct{ source io.Reader }

func (b bodyReader) Read(p []byte) (int, error) {
	n, err := b.source.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		return n, bodyError(err)
	}
	return n, err
}

func writeAnswer(w http.ResponseWriter, r *http.Request, format string, result Result) error {
	summary, err := json.Marshal(map[string]string{
		"read_rows":          strconv.FormatUint(result.ReadRows, 10),
		"read_bytes":         strconv.FormatUint(result.ReadBytes, 10),
		"written_rows":       strconv.FormatUint(result.WrittenRows, 10),
		"written_bytes":      strconv.FormatUint(result.WrittenBytes, 10),
		"total_rows_to_read": "0",
		"result_rows":        strconv.FormatUint(result.Rows, 10),
		"result_bytes":       strconv.Itoa(len(result.Data)),
		"elapsed_ns":         strconv.FormatInt(result.Elapsed.Nanoseconds(), 10),
	})
	if err != nil {
		return err
	}
	body := result.Data
	if isOn(r.URL.Query().Get("compress")) {
		if body, err = compressBlocks(body); err != nil {
			return err
		}
	}
	h := w.Header()
	h.Set("X-ClickHouse-Summary", string(summary))
	h.Set("X-ClickHouse-Format", format)
	h.Set("Content-Type", contentType(format))
	if len(body) > 0 && acceptsGzip(r) {
		h.Set("Content-Encoding", "gzip")
		// A write that fails has lost its client: there is no one left to tell.
		writer := gzip.NewWriter(w)
		_, _ = writer.Write(body)
		_ = writer.Close()
		return nil
	}
	h.Set("Content-Length", strconv.Itoa(len(body)))
	_, _ = w.Write(body)
	return nil
}

// compressBlocks writes ClickHouse's own compression. It is LZ4 whatever the client uses itself: every block says how it is
// compressed.
func compressBlocks(data []byte) ([]byte, error) {
	var out []byte
	writer := compress.NewWriter(compress.LevelZero, compress.LZ4)
	for len(data) > 0 {
		n := min(len(data), compressBlock)
		if err := writer.Compress(data[:n]); err != nil {
			return nil, err
		}
		out, data = append(out, writer.Data...), data[n:]
	}
	return out, nil
}

func acceptsGzip(r *http.Request) bool {
	if v := r.URL.Query().Get("enable_http_compression"); v != "" && !isOn(v) {
		return false
	}
	for encoding := range strings.SplitSeq(r.Header.Get("Accept-Encoding"), ",") {
		name, quality, _ := strings.Cut(strings.TrimSpace(encoding), ";")
		if name == "gzip" && strings.TrimSpace(quality) != "q=0" {
			return true
		}
	}
	return false
}

// contentType is what ClickHouse declares for a format.
func contentType(format string) string {
	switch lower := strings.ToLower(format); {
	case strings.HasPrefix(lower, "jsoneachrow"), strings.HasPrefix(lower, "jsonlines"), lower == "ndjson",
		strings.HasPrefix(lower, "jsoncompacteachrow"), strings.HasPrefix(lower, "jsonstringseachrow"):
		return "application/x-ndjson; charset=UTF-8"
	case strings.HasPrefix(lower, "json"):
		return "application/json; charset=UTF-8"
	case strings.HasPrefix(lower, "csv"):
		return "text/csv; charset=UTF-8"
	case strings.HasPrefix(lower, "tabseparated"), strings.HasPrefix(lower, "tsv"):
		return "text/tab-separated-values; charset=UTF-8"
	case strings.HasPrefix(lower, "pretty"), strings.HasPrefix(lower, "vertical"), lower == "values", lower == "markdown":
		return "text/plain; charset=UTF-8"
	}
	return "application/octet-stream"
}

// writeError answers with what ClickHouse would answer. An error that is not the engine's is ours, and is logged.
func (s *Server) writeError(w http.ResponseWriter, r *http.Request, err error) {
	if r.Context().Err() != nil {
		return // the client is gone
	}
	var exception *Exception
	status := http.StatusInternalServerError
	switch {
	case errors.Is(err, ErrClosed):
		exception, status = newException(codeQueryWasCancelled, "The engine is closing"), http.StatusServiceUnavailable
	case errors.As(err, &exception):
		status = exception.httpStatus()
	default:
		s.cfg.Log.Warn("embedded clickhouse could not answer", zap.Error(err))
		exception = newException(codeUnknownException, "%v", err)
	}
	if status == http.StatusUnauthorized {
		w.Header().Set("WWW-Authenticate", `Basic realm="ClickHouse server HTTP API"`)
	}
	h := w.Header()
	h.Set("X-ClickHouse-Exception-Code", strconv.Itoa(exception.Code))
	h.Set("Content-Type", "text/plain; charset=UTF-8")
	h.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	_, _ = io.WriteString(w, exception.Error()+" (version "+s.engine.version+")\n")
}
