package file

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/zap"

	"github.com/sira-ai/sira/handlers/balance"
	"github.com/sira-ai/sira/handlers/balance/discover"
	"github.com/sira-ai/sira/pipeline/catalog"
)

// watch follows a file until the test ends and returns what is passed on.
func watch(t *testing.T, c Config) <-chan []balance.EndpointConfig {
	t.Helper()
	s, err := New(c, catalog.Env{Log: zap.NewNop()})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	got, done := make(chan []balance.EndpointConfig), make(chan error)
	go func() {
		done <- s.Watch(ctx, func(e []balance.EndpointConfig) {
			select {
			case got <- e:
			case <-ctx.Done():
			}
		})
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return got
}

func next(t *testing.T, got <-chan []balance.EndpointConfig) []balance.EndpointConfig {
	t.Helper()
	select {
	case e := <-got:
		return e
	case <-time.After(10 * time.Second):
		t.Fatal("nothing was passed on")
		return nil
	}
}

// write replaces the file, as careful writers do.
func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path+".new", []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		t.Fatal(err)
	}
}

func TestAFileIsFollowed(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "endpoints.yaml")
	c := Config{Path: path, Interval: balance.Duration(time.Millisecond), Common: discover.Common{Region: "eu", Weight: 2}}
	got := watch(t, c) // there is no file yet
	write(t, path, "- {id: a, address: 10.0.0.1:80}\n- address: 10.0.0.2:80\n  region: us\n  weight: 5\n  priority: 1\n")
	want := []balance.EndpointConfig{
		{ID: "10.0.0.2:80", Address: "10.0.0.2:80", Region: "us", Weight: 5, Priority: 1},
		{ID: "a", Address: "10.0.0.1:80", Region: "eu", Weight: 2},
	}
	if diff := cmp.Diff(want, next(t, got)); diff != "" {
		t.Error(diff)
	}
	write(t, path, "- {id: a, wait: 1}\n") // a mistake, an empty list, no file: all change nothing
	write(t, path, "[]")
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	write(t, path, `[{"id": "b", "address": "10.0.0.3:80"}]`) // JSON
	if diff := cmp.Diff([]balance.EndpointConfig{{ID: "b", Address: "10.0.0.3:80", Region: "eu", Weight: 2}}, next(t, got)); diff != "" {
		t.Error(diff)
	}
	write(t, path, `[{"id": "c", "address": "10.0.0.4:80"}]`) // as long as the one before, and as old for some file systems
	if e := next(t, got); e[0].ID != "c" {
		t.Errorf("got %v", e)
	}
}

func TestMistakesInAListAreNamed(t *testing.T) {
	t.Parallel()
	s := &source{}
	for text, want := range map[string]string{
		"- {wait: a}":                "wait",
		"- {id: a}\n- {weight: 1}":   "endpoints[1].id",
		"- {id: a, weight: -1}":      "endpoints[0].weight",
		"- {id: a, priority: -1}":    "endpoints[0].priority",
		"id: a":                      "list",
		strings.Repeat(" ", 1<<20+1): "longer",
	} {
		if _, err := s.decode([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.40q: %v does not name %s", text, err, want)
		}
	}
	kinds := catalog.New("discovery", Entry)
	for _, settings := range []string{`{}`, `{"path":"a","interval":"0s"}`} {
		if err := kinds.Check("file", catalog.Settings(settings)); err == nil {
			t.Errorf("%s was accepted", settings)
		}
	}
}

func FuzzList(f *testing.F) {
	f.Add([]byte("- {id: a, address: 10.0.0.1:80}\n- address: b\n"))
	f.Add([]byte(`[{"id":"a","weight":3}]`))
	f.Add([]byte("a: &a [*a]"))
	f.Fuzz(func(t *testing.T, b []byte) {
		endpoints, err := (&source{}).decode(b)
		if err != nil {
			return
		}
		for _, e := range endpoints {
			if e.ID == "" || e.Weight < 0 || e.Priority < 0 {
				t.Errorf("got %+v", e)
			}
		}
	})
}
