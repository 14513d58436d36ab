package simulate

import (
	"bytes"
	"encoding/json"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// batchSet is the files and batches of a simulator. The calls of a batch are played at once when it is made, as if each had
// come by itself but without latency, and count like any other; their answers can be had when the batch has run for the
// behaviour's RunTime.
type batchSet struct {
	mu      sync.Mutex
	n       int
	files   map[string][]byte
	batches map[string]*batchJob
	order   []string // of batches
}

func newBatchSet() *batchSet {
	return &batchSet{files: make(map[string][]byte), batches: make(map[string]*batchJob)}
}

// maxBatches bounds how many batches are remembered: the oldest are forgotten with their files.
const maxBatches = 4096

// maxBatchBody is the largest body of a call about batches that is read.
const maxBatchBody = 256 << 20

// batchJob is a batch. It does not change but for cancelled.
type batchJob struct {
	id, input, path string
	metadata        json.RawMessage
	created         time.Time
	runs            time.Duration
	cancelled       time.Time
	lines           []batchLine
}

// batchLine is a call of a batch with its answer.
type batchLine struct {
	id     string
	status int
	body   []byte
}

func (b *batchJob) ended(now time.Time) (at time.Time, ok bool) {
	if !b.cancelled.IsZero() {
		return b.cancelled, true
	}
	at = b.created.Add(b.runs)
	return at, !now.Before(at)
}

func (b *batchJob) counts() (succeeded, errored int) {
	for i := range b.lines {
		if b.lines[i].status == http.StatusOK {
			succeeded++
		} else {
			errored++
		}
	}
	return succeeded, errored
}

// identify names what comes next.
func (s *batchSet) identify(prefix string) string {
	s.n++
	return prefix + strconv.Itoa(s.n)
}

func (s *batchSet) keep(b *batchJob) {
	s.batches[b.id] = b
	s.order = append(s.order, b.id)
	for len(s.order) > maxBatches {
		old := s.batches[s.order[0]]
		delete(s.files, old.input)
		delete(s.batches, old.id)
		s.order = s.order[1:]
	}
}

// newest returns the batches, newest first, after the one of an id.
func (s *batchSet) newest(after string, limit int) (out []*batchJob, more bool) {
	passed := after == ""
	for _, id := range slices.Backward(s.order) {
		switch b := s.batches[id]; {
		case !passed:
			passed = b.id == after
		case len(out) == limit:
			return out, true
		default:
			out = append(out, b)
		}
	}
	return out, false
}

// batchCall is a call about files or batches.
type batchCall struct {
	*call
	set  *batchSet
	path string // below the collection
	now  time.Time
}

// batches answers a call about batches, if it is one.
func (c *call) batches(rest string) bool {
	b := &batchCall{call: c, set: c.sim.tally.Load().batches, now: time.Now()}
	var answer func() (any, *problem)
	switch {
	case c.dialect == &openaiDialect && below(rest, "/v1/files", &b.path):
		answer = b.openaiFile
	case c.dialect == &openaiDialect && below(rest, "/v1/batches", &b.path):
		answer = b.openaiBatch
	case c.dialect == &anthropicDialect && below(rest, "/v1/messages/batches", &b.path):
		answer = b.anthropicBatch
	default:
		return false
	}
	switch {
	case c.behaviour.Down:
		c.refuse(problem{refusal: refusedUnavailable})
		return true
	case !c.behaviour.acceptsKey(c.dialect.credential(c.r.Header)):
		c.refuse(problem{refusal: refusedAuth})
		return true
	}
	said, wrong := answer()
	if wrong != nil {
		c.refuse(*wrong)
		return true
	}
	body, ok := said.([]byte)
	c.w.Header().Set("Content-Type", "application/x-jsonl")
	if !ok {
		c.w.Header().Set("Content-Type", "application/json")
		body, _ = json.Marshal(said) // of maps and texts
	}
	_, _ = c.w.Write(body)
	return true
}

// below reports whether path is a collection or something in it.
func below(path, collection string, rest *string) (ok bool) {
	*rest, ok = strings.CutPrefix(path, collection)
	*rest = strings.TrimPrefix(*rest, "/")
	return ok && (path == collection || strings.HasPrefix(path, collection+"/"))
}

func (b *batchCall) body() ([]byte, *problem) {
	body, err := io.ReadAll(io.LimitReader(b.r.Body, maxBatchBody+1))
	switch {
	case err != nil:
		return nil, invalid("", "reading the body: it ended early")
	case len(body) > maxBatchBody:
		return nil, &problem{refusal: refusedTooLarge}
	}
	return body, nil
}

// openaiFile takes a file in or gives it out.
func (b *batchCall) openaiFile() (any, *problem) {
	if b.path == "" && b.r.Method == http.MethodPost {
		_, params, err := mime.ParseMediaType(b.r.Header.Get("Content-Type"))
		if err != nil {
			return nil, invalid("", "the body is not a form")
		}
		form, err := multipart.NewReader(io.LimitReader(b.r.Body, maxBatchBody), params["boundary"]).ReadForm(maxBatchBody)
		if err != nil || len(form.File["file"]) != 1 || len(form.Value["purpose"]) != 1 {
			return nil, invalid("file", "the form has no file or no purpose")
		}
		defer func() { _ = form.RemoveAll() }()
		f, err := form.File["file"][0].Open()
		if err != nil {
			return nil, invalid("file", "the file can't be read")
		}
		defer func() { _ = f.Close() }()
		content, err := io.ReadAll(f)
		if err != nil {
			return nil, invalid("file", "the file can't be read")
		}
		b.set.mu.Lock()
		defer b.set.mu.Unlock()
		id := b.set.identify("file-sim")
		b.set.files[id] = content
		return map[string]any{"id": id, "object": "file", "bytes": len(content), "created_at": b.now.Unix(), "filename": form.File["file"][0].Filename, "purpose": form.Value["purpose"][0], "status": "processed"}, nil
	}
	id, content := strings.CutSuffix(b.path, "/content")
	b.set.mu.Lock()
	defer b.set.mu.Unlock()
	if batch, of, ok := strings.Cut(id, "-of-"); ok && content && b.set.batches[of] != nil {
		return b.set.batches[of].openaiResults(batch == "errors"), nil
	}
	if file, ok := b.set.files[id]; ok && content {
		return file, nil
	}
	return nil, &problem{refusal: refusedJob}
}

// openaiResults are the lines of one of the two files of results.
func (b *batchJob) openaiResults(errors bool) []byte {
	out := []byte{}
	for i := range b.lines {
		l := &b.lines[i]
		if errors == (l.status == http.StatusOK && b.cancelled.IsZero()) {
			continue
		}
		line := map[string]any{"id": "batch_req_" + l.id, "custom_id": l.id, "response": nil, "error": nil}
		if b.cancelled.IsZero() {
			line["response"] = map[string]any{"status_code": l.status, "request_id": "req_" + l.id, "body": json.RawMessage(l.body)}
		} else {
			line["error"] = map[string]any{"code": "batch_cancelled", "message": "This request was not executed because the batch was cancelled."}
		}
		text, _ := json.Marshal(line)
		out = append(append(out, text...), '\n')
	}
	return out
}

// openaiBatch makes, shows, lists or cancels a batch.
func (b *batchCall) openaiBatch() (any, *problem) {
	if b.path == "" && b.r.Method == http.MethodPost {
		return b.openaiMake()
	}
	b.set.mu.Lock()
	defer b.set.mu.Unlock()
	if b.path == "" {
		found, more := b.set.newest(b.r.URL.Query().Get("after"), b.limit(20))
		data := make([]any, len(found))
		for i, j := range found {
			data[i] = j.openai(b.now)
		}
		return map[string]any{"object": "list", "data": data, "has_more": more}, nil
	}
	id, cancel := strings.CutSuffix(b.path, "/cancel")
	j := b.set.batches[id]
	if j == nil {
		return nil, &problem{refusal: refusedJob}
	}
	if _, over := j.ended(b.now); cancel && !over {
		j.cancelled = b.now
	}
	return j.openai(b.now), nil
}

func (b *batchCall) limit(otherwise int) int {
	if n, err := strconv.Atoi(b.r.URL.Query().Get("limit")); err == nil && n > 0 && n <= 1000 {
		return n
	}
	return otherwise
}

func (b *batchCall) openaiMake() (any, *problem) {
	var in struct {
		File     string          `json:"input_file_id"`
		Endpoint string          `json:"endpoint"`
		Metadata json.RawMessage `json:"metadata"`
	}
	body, wrong := b.body()
	if wrong != nil {
		return nil, wrong
	}
	if json.Unmarshal(body, &in) != nil {
		return nil, invalid("", "the body is not JSON")
	}
	b.set.mu.Lock()
	file, ok := b.set.files[in.File]
	b.set.mu.Unlock()
	if !ok {
		return nil, invalid("input_file_id", "there is no such file")
	}
	j := &batchJob{input: in.File, path: in.Endpoint, metadata: in.Metadata, created: b.now, runs: time.Duration(b.behaviour.RunTime)}
	for line := range bytes.Lines(file) {
		var l struct {
			ID   string          `json:"custom_id"`
			URL  string          `json:"url"`
			Body json.RawMessage `json:"body"`
		}
		if json.Unmarshal(line, &l) != nil || l.ID == "" || l.URL != in.Endpoint {
			return nil, invalid("input_file_id", "a line of the file is no request for the endpoint of the batch")
		}
		status, answer := b.inner(l.URL, l.ID, l.Body)
		j.lines = append(j.lines, batchLine{l.ID, status, answer})
	}
	b.set.mu.Lock()
	defer b.set.mu.Unlock()
	j.id = b.set.identify("batch_sim")
	b.set.keep(j)
	return j.openai(b.now), nil
}

func (b *batchJob) openai(now time.Time) map[string]any {
	succeeded, errored := b.counts()
	out := map[string]any{
		"id": b.id, "object": "batch", "endpoint": b.path, "input_file_id": b.input, "completion_window": "24h", "created_at": b.created.Unix(),
		"expires_at": b.created.Add(24 * time.Hour).Unix(), "metadata": b.metadata, "status": "in_progress",
		"request_counts": map[string]int{"total": len(b.lines), "completed": 0, "failed": 0},
	}
	at, over := b.ended(now)
	if !over {
		return out
	}
	out["status"], out["completed_at"] = "completed", at.Unix()
	if !b.cancelled.IsZero() {
		out["status"], out["error_file_id"] = "cancelled", "errors-of-"+b.id
		return out
	}
	out["request_counts"] = map[string]int{"total": len(b.lines), "completed": succeeded, "failed": errored}
	if succeeded > 0 {
		out["output_file_id"] = "output-of-" + b.id
	}
	if errored > 0 {
		out["error_file_id"] = "errors-of-" + b.id
	}
	return out
}

// anthropicBatch makes, shows, lists or cancels a batch, or gives its results out.
func (b *batchCall) anthropicBatch() (any, *problem) {
	if b.path == "" && b.r.Method == http.MethodPost {
		return b.anthropicMake()
	}
	b.set.mu.Lock()
	defer b.set.mu.Unlock()
	if b.path == "" {
		found, more := b.set.newest(b.r.URL.Query().Get("after_id"), b.limit(20))
		data, last := make([]any, len(found)), ""
		for i, j := range found {
			data[i], last = j.anthropic(b.now), j.id
		}
		return map[string]any{"data": data, "has_more": more, "last_id": last}, nil
	}
	id, verb, _ := strings.Cut(b.path, "/")
	j := b.set.batches[id]
	if j == nil {
		return nil, &problem{refusal: refusedJob}
	}
	_, over := j.ended(b.now)
	switch {
	case verb == "cancel" && !over:
		j.cancelled = b.now
	case verb == "results" && over:
		return j.anthropicResults(), nil
	case verb == "results":
		return nil, &problem{refusal: refusedJob}
	}
	return j.anthropic(b.now), nil
}

func (b *batchCall) anthropicMake() (any, *problem) {
	var in struct {
		Requests []struct {
			ID     string          `json:"custom_id"`
			Params json.RawMessage `json:"params"`
		} `json:"requests"`
	}
	body, wrong := b.body()
	if wrong != nil {
		return nil, wrong
	}
	if json.Unmarshal(body, &in) != nil || len(in.Requests) == 0 {
		return nil, invalid("requests", "requests: the body is no list of requests")
	}
	j := &batchJob{created: b.now, runs: time.Duration(b.behaviour.RunTime)}
	for _, l := range in.Requests {
		status, answer := b.inner("/v1/messages", l.ID, l.Params)
		answer = bytes.Replace(answer, []byte(`"service_tier":"standard"`), []byte(`"service_tier":"batch"`), 1)
		j.lines = append(j.lines, batchLine{l.ID, status, answer})
	}
	b.set.mu.Lock()
	defer b.set.mu.Unlock()
	j.id = b.set.identify("msgbatch_sim")
	b.set.keep(j)
	return j.anthropic(b.now), nil
}

func (b *batchJob) anthropic(now time.Time) map[string]any {
	counts := map[string]int{"processing": len(b.lines), "succeeded": 0, "errored": 0, "canceled": 0, "expired": 0}
	out := map[string]any{
		"id": b.id, "type": "message_batch", "processing_status": "in_progress", "created_at": b.created.UTC(), "expires_at": b.created.Add(24 * time.Hour).UTC(),
		"ended_at": nil, "results_url": nil, "request_counts": counts,
	}
	at, over := b.ended(now)
	if !over {
		return out
	}
	counts["processing"] = 0
	if b.cancelled.IsZero() {
		counts["succeeded"], counts["errored"] = b.counts()
	} else {
		counts["canceled"] = len(b.lines)
	}
	out["processing_status"], out["ended_at"], out["results_url"] = "ended", at.UTC(), "/v1/messages/batches/"+b.id+"/results"
	return out
}

// anthropicResults come in no order that one may rely on: here backwards.
func (b *batchJob) anthropicResults() []byte {
	out := []byte{}
	for i := len(b.lines) - 1; i >= 0; i-- {
		l := &b.lines[i]
		result := map[string]any{"type": "succeeded", "message": json.RawMessage(l.body)}
		switch {
		case !b.cancelled.IsZero():
			result = map[string]any{"type": "canceled"}
		case l.status != http.StatusOK:
			result = map[string]any{"type": "errored", "error": json.RawMessage(l.body)}
		}
		text, _ := json.Marshal(map[string]any{"custom_id": l.id, "result": result})
		out = append(append(out, text...), '\n')
	}
	return out
}

// inner plays one call of a batch.
func (b *batchCall) inner(path, id string, body []byte) (status int, answer []byte) {
	w := &innerWriter{header: make(http.Header), status: http.StatusOK}
	defer func() {
		if v := recover(); v != nil && v != http.ErrAbortHandler { //nolint:errorlint // as the server compares it
			panic(v)
		} else if v != nil || !json.Valid(w.body.Bytes()) { // the call was cut off, or its answer is broken: a batch says so in its own words
			status, answer = http.StatusInternalServerError, []byte(`{"type":"error","error":{"type":"api_error","message":"The call failed."}}`)
		}
	}()
	r := b.r.Clone(b.r.Context())
	r.Method, r.URL.Path, r.URL.RawQuery = http.MethodPost, "/"+b.instance+"/"+b.dialect.segment+path, ""
	r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Idempotency-Key", id)
	r.Header.Set("X-Sim-Latency", "0s")
	b.sim.ServeHTTP(w, r)
	return w.status, bytes.Clone(w.body.Bytes())
}

// innerWriter keeps an answer.
type innerWriter struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func (w *innerWriter) Header() http.Header         { return w.header }
func (w *innerWriter) WriteHeader(status int)      { w.status = status }
func (w *innerWriter) Write(p []byte) (int, error) { return w.body.Write(p) }
func (w *innerWriter) Flush()                      {}
