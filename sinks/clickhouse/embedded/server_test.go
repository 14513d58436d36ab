package embedded

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
	"go.uber.org/zap/zaptest"

	"github.com/sira-ai/sira/pipeline/catalog"
)

func serve(tb testing.TB, cfg ServerConfig) *Server {
	tb.Helper()
	e := sharedEngine(tb)
	if cfg.Addr == "" {
		cfg.Addr = "127.0.0.1:0"
	}
	cfg.Log = zaptest.NewLogger(tb)
	s, err := Serve(tb.Context(), cfg, e)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := s.Close(); err != nil {
			tb.Error(err)
		}
	})
	return s
}

type call struct {
	method string // POST if empty
	path   string // / if empty
	query  url.Values
	header http.Header
	host   string
	body   []byte
}

type answer struct {
	status int
	header http.Header
	body   string
}

func (s *Server) do(tb testing.TB, c call) answer {
	tb.Helper()
	if c.method == "" {
		c.method = http.MethodPost
	}
	if c.path == "" {
		c.path = "/"
	}
	u := "http://" + s.Addr() + c.path + "?" + c.query.Encode()
	r, err := http.NewRequestWithContext(tb.Context(), c.method, u, bytes.NewReader(c.body))
	if err != nil {
		tb.Fatal(err)
	}
	maps.Copy(r.Header, c.header)
	if c.host != "" {
		r.Host = c.host
	}
	response, err := (&http.Transport{DisableKeepAlives: true, DisableCompression: true}).RoundTrip(r)
	if err != nil {
		tb.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		tb.Fatal(err)
	}
	return answer{response.StatusCode, response.Header, string(body)}
}

func TestSelectOverPlainHTTP(t *testing.T) {
	t.Parallel()
	s := serve(t, ServerConfig{})
	got := s.do(t, call{
		query: url.Values{"query_id": {"q-1"}, "param_n": {"3"}, "max_block_size": {"2"}, "database": {"system"}},
		body:  []byte("SELECT {n:UInt8} AS n, currentDatabase() AS db, getSetting('max_block_size') AS size FORMAT JSON"),
	})
	var answered struct {
		Data []struct {
			N    int    `json:"n"`
			DB   string `json:"db"`
			Size any    `json:"size"`
		} `json:"data"`
	}
	if err := json.Unmarshal([]byte(got.body), &answered); err != nil || got.status != http.StatusOK {
		t.Fatalf("%+v: %v", got, err)
	}
	if d := answered.Data; len(d) != 1 || d[0].N != 3 || d[0].DB != "system" || fmt.Sprint(d[0].Size) != "2" {
		t.Errorf("got %+v", d)
	}
	for name, want := range map[string]string{
		"X-Clickhouse-Query-Id": "q-1", "X-Clickhouse-Format": "JSON", "Content-Type": "application/json; charset=UTF-8",
		"X-Clickhouse-Timezone": s.engine.timezone, "X-Clickhouse-Server-Display-Name": s.engine.displayName,
	} {
		if v := got.header.Get(name); v != want {
			t.Errorf("%s is %q, want %q", name, v, want)
		}
	}
	var summary map[string]string
	if err := json.Unmarshal([]byte(got.header.Get("X-ClickHouse-Summary")), &summary); err != nil || summary["result_rows"] != "1" {
		t.Errorf("summary %v, %v", summary, err)
	}
}

func TestQueryMayComeFromURLBodyAndHeaders(t *testing.T) {
	t.Parallel()
	s := serve(t, ServerConfig{})
	for name, test := range map[string]struct {
		call call
		want string
	}{
		"GET":             {call{method: http.MethodGet, query: url.Values{"query": {"SELECT 1"}}}, "1\n"},
		"URL and body":    {call{query: url.Values{"query": {"SELECT"}}, body: []byte("2")}, "2\n"},
		"default_format":  {call{query: url.Values{"default_format": {"JSONCompactEachRow"}}, body: []byte("SELECT 1, 2")}, "[1, 2]\n"},
		"headers":         {call{header: http.Header{"X-Clickhouse-Format": {"CSV"}, "X-Clickhouse-Database": {"system"}}, body: []byte("SELECT currentDatabase()")}, "\"system\"\n"},
		"escaped param":   {call{query: url.Values{"param_s": {`a\nb`}}, body: []byte("SELECT {s:String}")}, "a\\nb\n"},
		"trailing ;":      {call{body: []byte("SELECT 1;\n")}, "1\n"},
		"long list":       {call{query: url.Values{"max_query_size": {"10000000"}}, body: []byte("SELECT 1 IN (1" + strings.Repeat(", 2", 200_000) + ")")}, "1\n"},
		"nothing is Ok":   {call{method: http.MethodGet}, "Ok.\n"},
		"ping":            {call{method: http.MethodGet, path: "/ping"}, "Ok.\n"},
		"replicas_status": {call{method: http.MethodGet, path: "/replicas_status"}, "Ok.\n"},
	} {
		if got := s.do(t, test.call); got.status != http.StatusOK || got.body != test.want {
			t.Errorf("%s: %d %.300q, want %q", name, got.status, got.body, test.want)
		}
	}
}

func TestErrorsCarryStatusAndCode(t *testing.T) {
	t.Parallel()
	s := serve(t, ServerConfig{MaxBodyBytes: 1000, MaxQueryBytes: 500})
	for name, test := range map[string]struct {
		call         call
		status, code int
	}{
		"unknown table":    {call{body: []byte("SELECT * FROM nothing")}, 404, 60},
		"syntax":           {call{body: []byte("SELEC 1")}, 400, 62},
		"two statements":   {call{body: []byte("SELECT 1; SELECT 2")}, 400, 62},
		"unknown setting":  {call{query: url.Values{"nosuch": {"1"}}, body: []byte("SELECT 1")}, 404, 115},
		"unknown database": {call{query: url.Values{"database": {"nosuch"}}, body: []byte("SELECT 1")}, 404, 81},
		"GET cannot write": {call{method: http.MethodGet, query: url.Values{"query": {"CREATE TABLE x (a UInt8) ENGINE = Memory"}}}, 500, 164},
		"session":          {call{query: url.Values{"session_id": {"x"}}, body: []byte("SELECT 1")}, 501, 48},
		"outfile":          {call{body: []byte("SELECT 1 INTO OUTFILE '/tmp/x'")}, 500, 358},
		"timeout":          {call{query: url.Values{"max_execution_time": {"0.1"}}, body: []byte("SELECT max(sipHash64(number)) FROM numbers(100000000000)")}, 408, 159},
		"long query":       {call{body: bytes.Repeat([]byte("SELECT 1 + "), 50)}, 413, 229},
		"large body":       {call{query: url.Values{"query": {"INSERT INTO x FORMAT CSV"}}, body: make([]byte, 2000)}, 413, 229},
		"no data":          {call{query: url.Values{"query": {"INSERT INTO x FORMAT CSV"}}}, 500, 108},
		"not gzip":         {call{header: http.Header{"Content-Encoding": {"gzip"}}, body: []byte("SELECT 1")}, 400, 117},
		"unknown encoding": {call{header: http.Header{"Content-Encoding": {"br"}}, body: []byte("SELECT 1")}, 500, 89},
		"not compressed":   {call{query: url.Values{"decompress": {"1"}}, body: []byte("SELECT 1 + 1 + 1 + 1 + 1 + 1")}, 400, 117},
	} {
		got := s.do(t, test.call)
		if got.status != test.status || got.header.Get("X-ClickHouse-Exception-Code") != fmt.Sprint(test.code) ||
			!strings.HasPrefix(got.body, fmt.Sprintf("Code: %d. DB::Exception: ", test.code)) {
			t.Errorf("%s: %d %v %.300q, want %d and code %d", name, got.status, got.header, got.body, test.status, test.code)
		}
	}
}

func TestDecompressedBodyIsBounded(t *testing.T) {
	t.Parallel()
	s := serve(t, ServerConfig{MaxBodyBytes: 10_000})
	var bomb bytes.Buffer
	w := gzip.NewWriter(&bomb)
	_, _ = w.Write(make([]byte, 1_000_000))
	_ = w.Close()
	got := s.do(t, call{
		query:  url.Values{"query": {"INSERT INTO x FORMAT CSV"}},
		header: http.Header{"Content-Encoding": {"gzip"}}, body: bomb.Bytes(),
	})
	if got.status != http.StatusRequestEntityTooLarge {
		t.Errorf("got %d %q", got.status, got.body)
	}
}

func TestPasswordIsAskedForInEveryWayClientsSendIt(t *testing.T) {
	t.Parallel()
	s := serve(t, ServerConfig{User: "sira", Password: catalog.Secret("s3cret")})
	basic := func(user, password string) http.Header {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.SetBasicAuth(user, password)
		return r.Header
	}
	one := []byte("SELECT 1")
	for name, test := range map[string]struct {
		call   call
		status int
	}{
		"nothing":        {call{body: one}, 401},
		"basic":          {call{header: basic("sira", "s3cret"), body: one}, 200},
		"wrong password": {call{header: basic("sira", "s3cre"), body: one}, 403},
		"wrong user":     {call{header: basic("default", "s3cret"), body: one}, 403},
		"headers":        {call{header: http.Header{"X-Clickhouse-User": {"sira"}, "X-Clickhouse-Key": {"s3cret"}}, body: one}, 200},
		"URL":            {call{query: url.Values{"user": {"sira"}, "password": {"s3cret"}}, body: one}, 200},
		"empty":          {call{header: basic("sira", ""), body: one}, 403},
		"ping":           {call{method: http.MethodGet, path: "/ping"}, 200},
	} {
		if got := s.do(t, test.call); got.status != test.status || strings.Contains(got.body, "s3cre") {
			t.Errorf("%s: %d %q, want %d", name, got.status, got.body, test.status)
		}
	}
}

func TestOpenAddressNeedsPassword(t *testing.T) {
	t.Parallel()
	for addr, ok := range map[string]bool{
		"0.0.0.0:0": false, ":8123": false, "192.0.2.1:8123": false, "[::]:0": false, "example.com:1": false,
		"127.0.0.1:0": true, "[::1]:0": true, "localhost:8123": true, "": true,
	} {
		if err := (ServerConfig{Addr: addr}).Validate(); (err == nil) != ok {
			t.Errorf("%q: %v", addr, err)
		}
		if err := (ServerConfig{Addr: addr, Password: "x"}).Validate(); err != nil {
			t.Errorf("%q with a password: %v", addr, err)
		}
	}
	if _, err := Serve(t.Context(), ServerConfig{Addr: "0.0.0.0:0"}, nil); err == nil || !strings.Contains(err.Error(), "set a password") {
		t.Errorf("got %v", err)
	}
}

// A web page open in a browser on this machine can send requests to localhost. It must neither write nor, by a name that
// resolves here, read.
func TestWebPagesAreKeptOut(t *testing.T) {
	t.Parallel()
	s := serve(t, ServerConfig{})
	for name, test := range map[string]struct {
		call   call
		status int
	}{
		"cross-site POST":  {call{header: http.Header{"Sec-Fetch-Site": {"cross-site"}}, body: []byte("SELECT 1")}, 403},
		"rebound name":     {call{host: "attacker.example", body: []byte("SELECT 1")}, 421},
		"localhost":        {call{host: "localhost:8123", body: []byte("SELECT 1")}, 200},
		"IPv6 loopback":    {call{host: "[::1]:8123", body: []byte("SELECT 1")}, 200},
		"cross-site write": {call{method: http.MethodGet, header: http.Header{"Sec-Fetch-Site": {"cross-site"}}, query: url.Values{"query": {"CREATE TABLE web (a UInt8) ENGINE = Memory"}}}, 500},
	} {
		if got := s.do(t, test.call); got.status != test.status {
			t.Errorf("%s: %d %q, want %d", name, got.status, got.body, test.status)
		}
	}
}

func TestInsertInEveryKindOfFormat(t *testing.T) {
	t.Parallel()
	s := serve(t, ServerConfig{})
	db := database(t, s.engine)
	binary := "\n'\x00;\\ \r\n\xff"
	rowBinary := append([]byte{7, byte(len(binary))}, binary...)
	native := "\x02\x01" + "\x01a\x05UInt8" + "\x07" + "\x01s\x06String" + string(rune(len(binary))) + binary
	var zstdBody bytes.Buffer
	encoder, err := zstd.NewWriter(&zstdBody)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = encoder.Write(rowBinary)
	_ = encoder.Close()
	const wantText, wantBinary = "7\ta\\nb\n", "7\t\\n\\'\\0;\\\\ \\r\\n\xff\n"
	for name, test := range map[string]struct {
		call call
		want string
	}{
		"RowBinary":   {call{query: url.Values{"query": {"INSERT INTO t FORMAT RowBinary"}}, body: rowBinary}, wantBinary},
		"Native":      {call{query: url.Values{"query": {"INSERT INTO t FORMAT Native"}}, body: []byte(native)}, wantBinary},
		"zstd":        {call{query: url.Values{"query": {"INSERT INTO t (a, s) FORMAT RowBinary"}}, header: http.Header{"Content-Encoding": {"zstd"}}, body: zstdBody.Bytes()}, wantBinary},
		"JSONEachRow": {call{body: []byte("INSERT INTO t SETTINGS async_insert = 0 FORMAT JSONEachRow\n{\"a\":7,\"s\":\"a\\nb\"}")}, wantText},
		"CSV":         {call{body: []byte("INSERT INTO t FORMAT CSV\n7,\"a\nb\"\n")}, wantText},
		"TSV":         {call{query: url.Values{"query": {"INSERT INTO t(s, a) FORMAT TSV"}}, body: []byte("a\\nb\t7\n")}, wantText},
		"VALUES":      {call{body: []byte("INSERT INTO t VALUES (3 + 4, concat('a', char(10), 'b'));")}, wantText},
		"VALUES with a newline": {
			call{query: url.Values{"query": {"INSERT INTO t VALUES"}, "insert_deduplicate": {"0"}}, body: []byte("(7, 'a\nb')")}, wantText,
		},
		"SELECT":       {call{body: []byte("INSERT INTO t SELECT 7, 'a\\nb'")}, wantText},
		"gzip answers": {call{header: http.Header{"Accept-Encoding": {"br, gzip"}}, body: []byte("INSERT INTO t VALUES (7,'a\\nb')")}, wantText},
	} {
		mustRun(t, s.engine, Statement{SQL: []byte("CREATE OR REPLACE TABLE t (a UInt8, s String) ENGINE = MergeTree ORDER BY a"), Database: db})
		test.call.query = merge(test.call.query, "database", db)
		got := s.do(t, test.call)
		if got.status != http.StatusOK {
			t.Errorf("%s: %d %s", name, got.status, got.body)
			continue
		}
		if !strings.Contains(got.header.Get("X-ClickHouse-Summary"), `"written_rows":"1"`) {
			t.Errorf("%s: summary %s", name, got.header.Get("X-ClickHouse-Summary"))
		}
		if rows := mustRun(t, s.engine, Statement{SQL: []byte("SELECT * FROM t"), Database: db}); rows != test.want {
			t.Errorf("%s: got %q, want %q", name, rows, test.want)
		}
	}
}

func merge(values url.Values, name, value string) url.Values {
	merged := url.Values{name: {value}}
	maps.Copy(merged, values)
	return merged
}

// A client that dies half-way must not leave half a batch behind.
func TestInterruptedInsertWritesNothing(t *testing.T) {
	t.Parallel()
	s := serve(t, ServerConfig{})
	db := database(t, s.engine)
	mustRun(t, s.engine, Statement{SQL: []byte("CREATE TABLE t (a UInt64) ENGINE = MergeTree ORDER BY a"), Database: db})
	body, writer := io.Pipe()
	go func() {
		_, _ = writer.Write(bytes.Repeat([]byte("1\n"), 1000))
		_ = writer.CloseWithError(errors.New("the client died"))
	}()
	u := "http://" + s.Addr() + "/?" + url.Values{"database": {db}, "query": {"INSERT INTO t FORMAT TSV"}}.Encode()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, u, body)
	if err != nil {
		t.Fatal(err)
	}
	if response, err := new(http.Transport).RoundTrip(r); err == nil {
		_ = response.Body.Close()
		t.Errorf("got status %d", response.StatusCode)
	}
	if got := mustRun(t, s.engine, Statement{SQL: []byte("SELECT count() FROM t"), Database: db}); got != "0\n" {
		t.Errorf("%s rows were written", got)
	}
}

func TestGzipAnswer(t *testing.T) {
	t.Parallel()
	s := serve(t, ServerConfig{})
	got := s.do(t, call{header: http.Header{"Accept-Encoding": {"gzip"}}, body: []byte("SELECT number FROM numbers(1000)")})
	if got.header.Get("Content-Encoding") != "gzip" {
		t.Fatalf("got %v", got.header)
	}
	decoder, err := gzip.NewReader(strings.NewReader(got.body))
	if err != nil {
		t.Fatal(err)
	}
	if plain, err := io.ReadAll(decoder); err != nil || !bytes.HasSuffix(plain, []byte("999\n")) {
		t.Errorf("%v, %d bytes", err, len(plain))
	}
}

// ch-go's reader calls a block without its body a proper end. Half a batch was then taken for a whole one.
func TestTruncatedBlockIsNoEnd(t *testing.T) {
	t.Parallel()
	whole, err := compressBlocks(bytes.Repeat([]byte("sira"), 1<<19))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(newBlockReader(bytes.NewReader(whole))); err != nil || len(got) != 4<<19 {
		t.Fatalf("%d bytes, %v", len(got), err)
	}
	for _, n := range []int{1, 24, 25, 26, len(whole) - 1} {
		if _, err := io.ReadAll(newBlockReader(bytes.NewReader(whole[:n]))); err == nil {
			t.Errorf("%d of %d bytes were taken for all", n, len(whole))
		}
	}
}

func FuzzReadRequest(f *testing.F) {
	f.Add("query=SELECT+1&max_threads=2&param_a=b", []byte("x"), "")
	f.Add("decompress=1", []byte("0123456789012345678901234567890123456789"), "gzip")
	f.Add("query=INSERT+INTO+t+FORMAT+CSV&database=d", []byte("1,2\n"), "zstd")
	s := &Server{cfg: ServerConfig{MaxBodyBytes: 1 << 16, MaxQueryBytes: 1 << 12}.withDefaults()}
	f.Fuzz(func(t *testing.T, query string, body []byte, encoding string) {
		r := httptest.NewRequest(http.MethodPost, "/", bytes.NewReader(body))
		r.URL.RawQuery = query
		r.Header.Set("Content-Encoding", encoding)
		req, err := s.readRequest(httptest.NewRecorder(), r)
		if err != nil {
			if _, ok := errors.AsType[*Exception](err); !ok {
				t.Fatalf("no exception: %v", err)
			}
			return
		}
		if req.insert == nil {
			if len(req.SQL) > len(query)+1+(1<<12) {
				t.Fatalf("a query of %d bytes passed", len(req.SQL))
			}
			return
		}
		if n, _ := io.Copy(io.Discard, req.data); n > 1<<16+int64(len(query)) {
			t.Fatalf("%d bytes of data passed", n)
		}
	})
}
