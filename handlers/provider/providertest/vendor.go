package providertest

import (
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"

	"github.com/sira-ai/sira/handlers/provider"
)

// vendor is an API whose behaviour a test chooses.
type vendor struct {
	url         string
	client      *http.Client
	calls       atomic.Int64
	connections atomic.Int64
}

// serve starts a vendor that answers with h, which finds the request's body
// already read. It stops with the test.
func serve(t testing.TB, h http.HandlerFunc) *vendor {
	t.Helper()
	return serveRaw(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		h(w, r)
	})
}

// serveRaw is serve for an h that reads the body itself.
func serveRaw(t testing.TB, h http.HandlerFunc) *vendor {
	t.Helper()
	v := &vendor{}
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		v.calls.Add(1)
		h(w, r)
	}))
	s.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			v.connections.Add(1)
		}
	}
	s.Start()
	transport := provider.NewTransport()
	t.Cleanup(func() {
		transport.CloseIdleConnections()
		s.Close()
	})
	v.url, v.client = s.URL, &http.Client{Transport: transport}
	return v
}

// reply answers everything in the same way.
func reply(status int, contentType, body string, headers ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", contentType)
		for i := 0; i+1 < len(headers); i += 2 {
			w.Header().Set(headers[i], headers[i+1])
		}
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}
}

const (
	jsonType   = "application/json"
	eventsType = "text/event-stream; charset=utf-8"
)

// half sends the first half of a stream's bytes and then leaves the rest to then.
func half(body string, then func(r *http.Request)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", eventsType)
		_, _ = io.WriteString(w, body[:len(body)/2])
		_ = http.NewResponseController(w).Flush()
		then(r)
	}
}

// hang waits until the client gives up.
func hang(r *http.Request) { <-r.Context().Done() }

// reset breaks the connection.
func reset(*http.Request) { panic(http.ErrAbortHandler) }
