package avro

import (
	"context"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

const userV1 = `{"type":"record","name":"User","fields":[{"name":"name","type":"string"}]}`

// fakeRegistry answers every request with one status and body, and counts.
func fakeRegistry(t *testing.T, status int, body string) (url string, asked *atomic.Int32) {
	t.Helper()
	asked = new(atomic.Int32)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		asked.Add(1)
		w.WriteHeader(status)
		_, _ = w.Write([]byte(body))
	}))
	t.Cleanup(srv.Close)
	return srv.URL, asked
}

func newRegistry(t *testing.T, cfg RegistryConfig) *Registry {
	t.Helper()
	r, err := NewRegistry(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func schemaReply(schema string) string {
	b, _ := json.Marshal(map[string]string{"schema": schema})
	return string(b)
}

func TestSchemaIsAskedForOnceByManyAtOnce(t *testing.T) {
	t.Parallel()
	url, asked := fakeRegistry(t, http.StatusOK, schemaReply(userV1))
	r := newRegistry(t, RegistryConfig{URLs: []string{url}})
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			got, err := r.SchemaByID(t.Context(), 7)
			if err != nil || got != userV1 {
				t.Errorf("got %q, %v", got, err)
			}
		})
	}
	wg.Wait()
	if n := asked.Load(); n != 1 {
		t.Errorf("the registry was asked %d times", n)
	}
}

func TestUnknownIDIsToldFromARegistryThatDoesNotAnswer(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		status int
		body   string
		want   error
	}{
		{"the registry knows no such id", 404, `{"error_code":40403,"message":"Schema 7 not found"}`, ErrUnknownSchema},
		{"a protobuf schema", 200, `{"schemaType":"PROTOBUF","schema":"message A {}"}`, ErrUnknownSchema},
		{"a schema that refers to others", 200, `{"schema":"\"a.B\"","references":[{"name":"a.B","subject":"b","version":1}]}`, ErrUnknownSchema},
		{"something else at the address", 404, `<html>not here</html>`, ErrRegistryUnavailable},
		{"a page instead of an answer", 200, `<html>log in</html>`, ErrRegistryUnavailable},
		{"an empty answer", 200, `{}`, ErrRegistryUnavailable},
		{"wrong credentials", 401, `{"error_code":401,"message":"Unauthorized"}`, ErrRegistryUnavailable},
		{"a broken registry", 500, `{"error_code":50001,"message":"no"}`, ErrRegistryUnavailable},
		{"an answer without end", 200, `{"schema":"` + strings.Repeat("x", maxReply) + `"}`, ErrRegistryUnavailable},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			url, _ := fakeRegistry(t, test.status, test.body)
			_, err := newRegistry(t, RegistryConfig{URLs: []string{url}}).SchemaByID(t.Context(), 7)
			if !errors.Is(err, test.want) {
				t.Errorf("got %v, want %v", err, test.want)
			}
			if len(err.Error()) > 2*maxReason {
				t.Errorf("the error has %d bytes", len(err.Error()))
			}
		})
	}
	t.Run("nothing at the address", func(t *testing.T) {
		t.Parallel()
		srv := httptest.NewServer(nil)
		srv.Close()
		_, err := newRegistry(t, RegistryConfig{URLs: []string{srv.URL}}).SchemaByID(t.Context(), 7)
		if !errors.Is(err, ErrRegistryUnavailable) {
			t.Errorf("got %v", err)
		}
	})
	t.Run("the caller gave up", func(t *testing.T) {
		t.Parallel()
		url, _ := fakeRegistry(t, 200, schemaReply(userV1))
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		_, err := newRegistry(t, RegistryConfig{URLs: []string{url}}).SchemaByID(ctx, 7)
		if !errors.Is(err, context.Canceled) || errors.Is(err, ErrRegistryUnavailable) {
			t.Errorf("got %v", err)
		}
	})
}

func TestUnknownIDIsAskedForAgainAfterAWhile(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		unknownFor time.Duration
		want       int32
	}{{time.Hour, 1}, {time.Nanosecond, 3}} {
		url, asked := fakeRegistry(t, 404, `{"error_code":40403,"message":"Schema 7 not found"}`)
		r := newRegistry(t, RegistryConfig{URLs: []string{url}, UnknownFor: test.unknownFor})
		for range 3 {
			if _, err := r.SchemaByID(t.Context(), 7); !errors.Is(err, ErrUnknownSchema) {
				t.Fatalf("got %v", err)
			}
		}
		if n := asked.Load(); n != test.want {
			t.Errorf("remembered for %v: asked %d times, want %d", test.unknownFor, n, test.want)
		}
	}
}

func TestInventedIDsDoNotFillTheMemory(t *testing.T) {
	t.Parallel()
	r := newRegistry(t, RegistryConfig{URLs: []string{"http://localhost"}, UnknownFor: time.Hour})
	for id := range 3 * maxUnknownIDs {
		r.forget(id)
	}
	if len(r.unknown) > maxUnknownIDs {
		t.Errorf("%d ids are kept", len(r.unknown))
	}
}

func TestAnotherCallerTakesOverFromOneThatGaveUp(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var f flights[int, string]
		first, giveUp := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() {
			_, err := f.do(first, 1, func() (string, error) { <-first.Done(); return "", first.Err() })
			if !errors.Is(err, context.Canceled) {
				t.Errorf("the first caller got %v", err)
			}
		})
		synctest.Wait()
		works := 0
		wg.Go(func() {
			got, err := f.do(t.Context(), 1, func() (string, error) { works++; return "schema", nil })
			if got != "schema" || err != nil {
				t.Errorf("the second caller got %q, %v", got, err)
			}
		})
		impatient, leave := context.WithCancel(t.Context())
		wg.Go(func() {
			if _, err := f.do(impatient, 1, nil); !errors.Is(err, context.Canceled) {
				t.Errorf("the third caller got %v", err)
			}
		})
		synctest.Wait()
		leave()
		synctest.Wait()
		giveUp()
		wg.Wait()
		if works != 1 || len(f.open) != 0 {
			t.Errorf("%d callers worked, %d flights are open", works, len(f.open))
		}
	})
}

func TestProcessStartsWhileTheRegistryIsDown(t *testing.T) {
	t.Parallel()
	embedded := openEmbedded(t, t.TempDir())
	srv := httptest.NewServer(embedded.Handler())
	cfg := RegistryConfig{URLs: []string{srv.URL}, CacheDir: filepath.Join(t.TempDir(), "new", "cache")}

	before := newRegistry(t, cfg)
	id, err := before.Register(t.Context(), "users-value", userV1)
	if err != nil {
		t.Fatal(err)
	}
	foreign, err := embedded.Register(t.Context(), "strings-value", `"string"`)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := before.SchemaByID(t.Context(), foreign); err != nil {
		t.Fatal(err)
	}
	srv.Close()
	halfWritten(t, before.disk.file)

	after := newRegistry(t, cfg)
	if got, err := after.Register(t.Context(), "users-value", userV1); err != nil || got != id {
		t.Errorf("registering: got id %d, %v, want %d", got, err, id)
	}
	for id, want := range map[int]string{id: userV1, foreign: `"string"`} {
		if got, err := after.SchemaByID(t.Context(), id); err != nil || got != want {
			t.Errorf("id %d: got %q, %v", id, got, err)
		}
	}
	if _, err := after.Register(t.Context(), "users-value", `"int"`); !errors.Is(err, ErrRegistryUnavailable) {
		t.Errorf("registering a new schema: got %v", err)
	}
	other := cfg
	other.URLs = []string{srv.URL + "/other"}
	if _, err := newRegistry(t, other).SchemaByID(t.Context(), id); !errors.Is(err, ErrRegistryUnavailable) {
		t.Errorf("another registry's ids were believed: %v", err)
	}
}

// halfWritten appends what a killed process may leave.
func halfWritten(t *testing.T, file string) {
	t.Helper()
	f, err := os.OpenFile(file, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString("\n" + `{"id":9,"schema":"{\"ty`); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestRefusedSchemaSaysWhy(t *testing.T) {
	t.Parallel()
	srv := httptest.NewServer(openEmbedded(t, t.TempDir()).Handler())
	defer srv.Close()
	r := newRegistry(t, RegistryConfig{URLs: []string{srv.URL}})
	if _, err := r.Register(t.Context(), "users-value", userV1); err != nil {
		t.Fatal(err)
	}
	breaking := `{"type":"record","name":"User","fields":[{"name":"name","type":"string"},{"name":"age","type":"int"}]}`
	_, err := r.Register(t.Context(), "users-value", breaking)
	if !errors.Is(err, ErrIncompatibleSchema) || !strings.Contains(err.Error(), "age") {
		t.Errorf("got %v", err)
	}
	if _, err := r.Register(t.Context(), "users-value", `{"type":"recor"}`); !errors.Is(err, ErrInvalidSchema) {
		t.Errorf("got %v", err)
	}
}

func TestCredentialsReachTheRegistryAndNothingElse(t *testing.T) {
	t.Parallel()
	var seen atomic.Value
	srv := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		seen.Store(r.Header.Get("Authorization"))
		w.WriteHeader(http.StatusForbidden)
	}))
	defer srv.Close()
	ca := filepath.Join(t.TempDir(), "ca.pem")
	block := &pem.Block{Type: "CERTIFICATE", Bytes: srv.Certificate().Raw}
	if err := os.WriteFile(ca, pem.EncodeToMemory(block), 0o600); err != nil {
		t.Fatal(err)
	}
	for want, cfg := range map[string]RegistryConfig{
		"Basic c2lyYTpodW50ZXIy": {Username: "sira", Password: "hunter2"},
		"Bearer hunter2":         {Token: "hunter2"},
	} {
		cfg.URLs, cfg.TLS.CA = []string{srv.URL}, ca
		_, err := newRegistry(t, cfg).SchemaByID(t.Context(), 1)
		if got := seen.Load(); got != want {
			t.Errorf("sent %q, want %q", got, want)
		}
		encoded, jsonErr := json.Marshal(cfg)
		if jsonErr != nil {
			t.Fatal(jsonErr)
		}
		if shown := fmt.Sprintf("%v %+v %#v %s %v", cfg, cfg, cfg, encoded, err); strings.Contains(shown, "hunter2") {
			t.Errorf("the password shows in %s", shown)
		}
	}
}

func TestWrongRegistryConfigSaysWhatToWrite(t *testing.T) {
	t.Parallel()
	tests := []struct {
		cfg  RegistryConfig
		want string
	}{
		{RegistryConfig{}, "http://localhost:8081"},
		{RegistryConfig{URLs: []string{"localhost:8081"}}, "http://host:port"},
		{RegistryConfig{URLs: []string{"http://sira:hunter2@localhost"}}, "username and password"},
		{RegistryConfig{URLs: []string{"http://localhost?a=b"}}, "leave out"},
		{RegistryConfig{URLs: []string{"http://localhost"}, Username: "a", Token: "b"}, "keep one"},
		{RegistryConfig{URLs: []string{"http://localhost"}, Password: "b"}, "without username"},
		{RegistryConfig{URLs: []string{"http://localhost"}, TLS: RegistryTLS{Cert: "a"}}, "both or neither"},
		{RegistryConfig{URLs: []string{"http://localhost"}, TLS: RegistryTLS{CA: "/no/such/file"}}, "tls.ca"},
		{RegistryConfig{URLs: []string{"http://localhost"}, Timeout: -1}, "negative"},
	}
	for _, test := range tests {
		_, err := NewRegistry(test.cfg)
		if err == nil || !strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%+v: got %v, want something with %q", test.cfg, err, test.want)
		}
	}
}

// FuzzRegistryCache reads any bytes as a cache file.
func FuzzRegistryCache(f *testing.F) {
	f.Add([]byte("\n{\"id\":1,\"schema\":\"\\\"int\\\"\"}\n"))
	f.Add([]byte("{\"id\":1,\"sch"))
	f.Fuzz(func(t *testing.T, b []byte) {
		err := readCache(strings.NewReader(string(b)), func(e cacheEntry) {
			if e.ID <= 0 || e.Schema == "" {
				t.Errorf("believed %+v", e)
			}
		})
		if err != nil {
			t.Errorf("a broken cache stopped us: %v", err)
		}
	})
}
