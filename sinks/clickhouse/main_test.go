package clickhouse

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"

	"github.com/sira-ai/sira/sinks/clickhouse/embedded"
)

// A process runs one engine on one folder, so the tests share it, each in a
// database of its own.
var engine = sync.OnceValues(func() (*embedded.Server, error) {
	e, err := embedded.Open(context.Background(), embedded.Config{})
	if err != nil {
		return nil, err
	}
	closeEngine = e.Close
	return embedded.Serve(context.Background(), embedded.ServerConfig{Addr: "127.0.0.1:0"}, e)
})

var closeEngine = func() error { return nil }

func TestMain(m *testing.M) {
	code := m.Run()
	if _, err := embedded.Find(); err == nil {
		if s, err := engine(); err == nil {
			if err := errors.Join(s.Close(), closeEngine()); err != nil {
				fmt.Println("closing the engine:", err)
				code = 1
			}
		}
	}
	os.Exit(code)
}

// house is a database of its own behind a proxy that misbehaves on demand.
type house struct {
	dsn    string // through the proxy
	direct driver.Conn
	conn   driver.Conn // through the proxy

	down    atomic.Bool  // no request is answered
	swallow atomic.Int64 // of inserts: the n-th from now is executed and its answer lost
	inserts atomic.Int64
	lost    chan struct{} // gets a value for each lost answer
}

func newHouse(tb testing.TB) *house {
	tb.Helper()
	if _, err := embedded.Find(); errors.Is(err, embedded.ErrNoLibrary) && os.Getenv("CI") == "" {
		tb.Skip("libchdb.so is not here; run `make chdb`")
	}
	server, err := engine()
	if err != nil {
		tb.Fatal(err)
	}
	h := &house{lost: make(chan struct{}, 16)}
	proxy := httptest.NewServer(h.proxy(server.Addr()))
	tb.Cleanup(proxy.Close)
	name := "t_" + strings.ToLower(strings.NewReplacer("/", "_", "#", "_", "=", "_").Replace(tb.Name()))
	h.dsn = "http://default:@" + strings.TrimPrefix(proxy.URL, "http://") + "/" + name
	direct := "http://default:@" + server.Addr() + "/" + name
	h.conn, h.direct = open(tb, h.dsn), open(tb, direct)
	return h
}

func open(tb testing.TB, dsn string) driver.Conn {
	tb.Helper()
	conn, _, err := Open(dsn)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = conn.Close() })
	return conn
}

func (h *house) proxy(addr string) http.Handler {
	to := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: addr})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if h.down.Load() {
			panic(http.ErrAbortHandler)
		}
		if !strings.HasPrefix(r.URL.Query().Get("query"), "INSERT INTO") {
			to.ServeHTTP(w, r)
			return
		}
		h.inserts.Add(1)
		if h.swallow.Add(-1) == 0 {
			to.ServeHTTP(httptest.NewRecorder(), r)
			h.lost <- struct{}{}
			panic(http.ErrAbortHandler)
		}
		to.ServeHTTP(w, r)
	})
}

// migrated returns a house with all tables.
func migrated(tb testing.TB) *house {
	tb.Helper()
	h := newHouse(tb)
	if _, err := Migrate(tb.Context(), h.dsn); err != nil {
		tb.Fatal(err)
	}
	return h
}

func (h *house) number(tb testing.TB, query string, args ...any) uint64 {
	tb.Helper()
	var n uint64
	if err := h.direct.QueryRow(tb.Context(), query, args...).Scan(&n); err != nil {
		tb.Fatalf("%s: %v", query, err)
	}
	return n
}

// chainHash is the formula of handlers/audit.
func chainHash(prev [32]byte, chain uint16, seq uint64, payload []byte) [32]byte {
	b := append([]byte(nil), prev[:]...)
	b = binary.BigEndian.AppendUint16(b, chain)
	b = binary.BigEndian.AppendUint64(b, seq)
	return sha256.Sum256(append(b, payload...))
}

func hexOf(b [32]byte) string { return fmt.Sprintf("%x", b) }
