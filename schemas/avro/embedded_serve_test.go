package avro

import (
	"context"
	"net"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/twmb/franz-go/pkg/sr"
	"go.uber.org/zap"
)

func TestServerStopsWithItsContextAndFreesItsPort(t *testing.T) {
	t.Parallel()
	e := openEmbedded(t, t.TempDir())
	ctx, stop := context.WithCancel(t.Context())
	l, err := e.Listen(ctx)
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- e.Serve(ctx, l, zap.NewNop()) }()
	client, err := sr.NewClient(sr.URLs("http://" + l.Addr().String()))
	if err != nil {
		t.Fatal(err)
	}
	create(t, client, "s", record(fieldA))
	stop()
	if err := <-served; err != nil {
		t.Errorf("stopping: %v", err)
	}
	again, err := new(net.ListenConfig).Listen(t.Context(), "tcp", l.Addr().String())
	if err != nil {
		t.Fatalf("the port is still taken: %v", err)
	}
	if err := again.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestWrongEmbeddedConfigSaysWhatToWrite(t *testing.T) {
	t.Parallel()
	tests := []struct {
		cfg  EmbeddedConfig
		want string
	}{
		{EmbeddedConfig{}, "dir is empty"},
		{EmbeddedConfig{Dir: "d", Listen: "8081"}, "write host:port"},
		{EmbeddedConfig{Dir: "d", Listen: ":8081"}, "127.0.0.1:8081, or 0.0.0.0:8081"},
	}
	for _, test := range tests {
		if err := test.cfg.Validate(); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%+v: got %v", test.cfg, err)
		}
	}
	if err := (EmbeddedConfig{Dir: "d"}).Validate(); err != nil {
		t.Errorf("the defaults: %v", err)
	}
	if got := (EmbeddedConfig{Dir: "d"}).withDefaults().Listen; !strings.HasPrefix(got, "127.0.0.1:") {
		t.Errorf("listens on %s unless told otherwise", got)
	}
}

// FuzzJournal reads any bytes as a journal: whatever is accepted must be
// consistent and its complete lines must read the same again.
func FuzzJournal(f *testing.F) {
	f.Add(`{"op":"register","subject":"a","version":1,"id":1,"schema":"\"int\""}` + "\n")
	f.Add(`{"op":"register","subject":"a","version":1,"id":1,"schema":"\"int\""}` + "\n" + `{"op":"delete","subject":"a","versions":[1]}` + "\n" + `{"op":"purge","subject":"a","versions":[1,1]}` + "\n{")
	f.Add(`{"op":"level","level":"FULL"}` + "\n\x00\x00\x00")
	f.Fuzz(func(t *testing.T, content string) {
		state := newRegistryState()
		size, err := readJournal(strings.NewReader(content), state.replay)
		if size < 0 || size > int64(len(content)) {
			t.Fatalf("size %d of %d", size, len(content))
		}
		for subject, versions := range state.subjects {
			for _, v := range versions {
				if _, ok := state.schemas[v.id]; !ok || v.id > state.lastID {
					t.Errorf("%s version %d has the id %d of nothing", subject, v.number, v.id)
				}
			}
		}
		if err == nil {
			again := newRegistryState()
			if n, err := readJournal(strings.NewReader(content[:size]), again.replay); n != size || err != nil {
				t.Errorf("read again: %d of %d, %v", n, size, err)
			}
		}
	})
}

// FuzzRequestBody sends any body to every path that takes one.
func FuzzRequestBody(f *testing.F) {
	f.Add(`{"schema":"\"int\""}`)
	f.Add(`{"schema":"{\"type\":\"record\",\"name\":\"A\",\"fields\":[{\"name\":\"a\",\"type\":[\"null\",\"A\"]}]}","schemaType":"AVRO","references":[]}`)
	f.Add(`{"compatibility":"FULL"}`)
	f.Add(`{"schema":`)
	f.Fuzz(func(t *testing.T, body string) {
		e := &EmbeddedRegistry{state: newRegistryState(), journal: &journal{err: context.Canceled}}
		if err := e.state.replay(change{Op: opRegister, Subject: "s", Version: 1, ID: 1, Schema: userV1}); err != nil {
			t.Fatal(err)
		}
		h := e.Handler()
		for _, route := range []string{
			"POST /subjects/s/versions", "POST /subjects/s", "PUT /config", "PUT /config/s",
			"POST /compatibility/subjects/s/versions", "POST /compatibility/subjects/s/versions/1",
		} {
			method, path, _ := strings.Cut(route, " ")
			req := httptest.NewRequestWithContext(t.Context(), method, path, strings.NewReader(body))
			req.Header.Set("Content-Type", "application/json")
			rec := httptest.NewRecorder()
			h.ServeHTTP(rec, req)
			if rec.Code == 500 && !strings.Contains(rec.Body.String(), "context canceled") {
				t.Errorf("%s: %s", route, rec.Body)
			}
		}
	})
}
