package kubernetes

import (
	"context"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
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

// cluster is the part of a cluster's API that is asked: what lists say, and the
// lines of each watch, which ends when its channel is closed.
type cluster struct {
	*httptest.Server
	lists   chan string
	watches chan chan string
	queries chan string
	token   string
}

func newCluster(t *testing.T) (*cluster, Config) {
	t.Helper()
	c := &cluster{lists: make(chan string), watches: make(chan chan string), queries: make(chan string, 100), token: "token-1"}
	c.Server = httptest.NewTLSServer(http.HandlerFunc(c.serve))
	dir := t.TempDir()
	conf := Defaults()
	conf.Service, conf.Namespace, conf.Server, conf.Retry = "vllm", "models", c.URL, balance.Duration(time.Millisecond)
	conf.Common = discover.Common{Region: "eu", Zone: "unknown"}
	conf.TokenFile, conf.CAFile = filepath.Join(dir, "token"), filepath.Join(dir, "ca.crt")
	authority := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Certificate().Raw})
	for path, b := range map[string][]byte{conf.TokenFile: []byte(c.token + "\n"), conf.CAFile: authority} {
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(c.Close)
	return c, conf
}

func (c *cluster) serve(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path != "/apis/discovery.k8s.io/v1/namespaces/models/endpointslices" || r.Header.Get("Authorization") != "Bearer "+c.token {
		w.WriteHeader(http.StatusForbidden)
		return
	}
	c.queries <- r.URL.RawQuery
	if r.URL.Query().Get("watch") == "" {
		select {
		case l := <-c.lists:
			_, _ = w.Write([]byte(l))
		case <-r.Context().Done():
		}
		return
	}
	var events chan string
	select {
	case events = <-c.watches:
	case <-r.Context().Done():
		return
	}
	flush, _ := w.(http.Flusher)
	for {
		select {
		case e, ok := <-events:
			if !ok {
				return
			}
			_, _ = w.Write([]byte(e + "\n"))
			flush.Flush()
		case <-r.Context().Done():
			return
		}
	}
}

// watch follows the service until the test ends.
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

// within waits for something, but not for ever.
func within[T any](t *testing.T, c <-chan T) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(10 * time.Second):
		t.Fatal("nothing came")
		panic("unreachable")
	}
}

func send[T any](t *testing.T, c chan<- T, v T) {
	t.Helper()
	select {
	case c <- v:
	case <-time.After(10 * time.Second):
		t.Fatal("nobody asked")
	}
}

// sliceOf is an EndpointSlice as the API has it. pods are names, a "!" before
// which means that it is not ready.
func sliceOf(name, version string, pods ...string) string {
	var endpoints []string
	for _, p := range pods {
		pod, down := strings.CutPrefix(p, "!")
		endpoints = append(endpoints, fmt.Sprintf(
			`{"addresses":["10.0.0.%d"],"conditions":{"ready":%t},"targetRef":{"kind":"Pod","name":%q},"zone":"z%d"}`, len(pod), !down, pod, len(pod)))
	}
	return fmt.Sprintf(`{"metadata":{"name":%q,"resourceVersion":%q,"labels":{"kubernetes.io/service-name":"vllm"}},"addressType":"IPv4",
		"ports":[{"name":"metrics","port":9090},{"name":"http","port":8000}],"endpoints":[%s]}`, name, version, strings.Join(endpoints, ","))
}

func listOf(version string, slices ...string) string {
	return fmt.Sprintf(`{"kind":"EndpointSliceList","metadata":{"resourceVersion":%q},"items":[%s]}`, version, strings.Join(slices, ","))
}

func change(kind, slice string) string {
	return strings.ReplaceAll(fmt.Sprintf(`{"type":%q,"object":%s}`, kind, slice), "\n", "")
}

func ids(endpoints []balance.EndpointConfig) (out []string) {
	for _, e := range endpoints {
		out = append(out, e.ID)
	}
	return out
}

func TestAServiceIsFollowed(t *testing.T) {
	t.Parallel()
	c, conf := newCluster(t)
	conf.Port = "http"
	got := watch(t, conf)
	send(t, c.lists, listOf("10", sliceOf("s1", "9", "a", "!bb"), sliceOf("s2", "8", "ccc")))
	want := []balance.EndpointConfig{
		{ID: "a", Address: "10.0.0.1:8000", Region: "eu", Zone: "z1"}, {ID: "ccc", Address: "10.0.0.3:8000", Region: "eu", Zone: "z3"},
	}
	if diff := cmp.Diff(want, within(t, got)); diff != "" {
		t.Error(diff)
	}
	events := make(chan string)
	send(t, c.watches, events)
	for _, step := range []struct {
		event string
		want  []string // nil: nothing changes
	}{
		{change("MODIFIED", sliceOf("s1", "11", "a", "bb")), []string{"a", "bb", "ccc"}},
		{change("BOOKMARK", `{"metadata":{"resourceVersion":"15"}}`), nil},
		{change("ADDED", sliceOf("s3", "16", "ccc")), nil}, // it moves to another slice
		{change("DELETED", sliceOf("s2", "17")), nil},
		{change("DELETED", sliceOf("s1", "18")), []string{"ccc"}},
		{change("MODIFIED", sliceOf("s3", "19", "!ccc")), nil}, // none is ready: they stay
		{change("MODIFIED", sliceOf("s3", "20", "dddd")), []string{"dddd"}},
	} {
		send(t, events, step.event)
		if step.want != nil {
			if diff := cmp.Diff(step.want, ids(within(t, got))); diff != "" {
				t.Error(diff)
			}
		}
	}
	// The watch ends and goes on from where it was.
	close(events)
	events = make(chan string)
	send(t, c.watches, events)
	<-c.queries // the list
	for _, version := range []string{"10", "20"} {
		if q := within(t, c.queries); !strings.Contains(q, "resourceVersion="+version) || !strings.Contains(q, "labelSelector=kubernetes.io%2Fservice-name%3Dvllm") {
			t.Errorf("asked for %s, want version %s", q, version)
		}
	}
	// The version is too old: everything is listed again.
	send(t, events, `{"type":"ERROR","object":{"kind":"Status","code":410,"reason":"Expired"}}`)
	send(t, c.lists, listOf("99", sliceOf("s9", "98", "new")))
	if diff := cmp.Diff([]string{"new"}, ids(within(t, got))); diff != "" {
		t.Error(diff)
	}
}

func TestARotatedTokenIsReadAgain(t *testing.T) {
	t.Parallel()
	c, conf := newCluster(t)
	if err := os.WriteFile(conf.TokenFile, []byte("old"), 0o600); err != nil {
		t.Fatal(err)
	}
	got := watch(t, conf)
	if err := os.WriteFile(conf.TokenFile, []byte(c.token), 0o600); err != nil {
		t.Fatal(err)
	}
	send(t, c.lists, listOf("1", sliceOf("s", "1", "a")))
	if e := within(t, got); e[0].Address != "10.0.0.1:9090" { // without a name the first port
		t.Errorf("got %v", e)
	}
}

func TestAnotherAuthorityIsNotTrusted(t *testing.T) {
	t.Parallel()
	_, conf := newCluster(t)
	conf.CAFile = "" // the machine's do not know the cluster's
	s := &source{conf, catalog.Env{Log: zap.NewNop()}}
	if err := s.follow(t.Context(), &discover.Feed{Log: zap.NewNop()}); err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("got %v", err)
	}
}

func TestMistakesSayWhatToWrite(t *testing.T) {
	t.Parallel()
	kinds := catalog.New("discovery", Entry)
	for settings, want := range map[string]string{
		`{}`: "service", `{"service":"a","server":"http://plain"}`: "server", `{"service":"a","retry":"0s"}`: "retry",
	} {
		if err := kinds.Check("kubernetes", catalog.Settings(settings)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v does not name %s", settings, err, want)
		}
	}
}

func FuzzWatch(f *testing.F) {
	f.Add(change("ADDED", sliceOf("s", "1", "a", "!bb")) + change("DELETED", sliceOf("s", "2")))
	f.Add(`{"type":"ERROR","object":{"code":410}}`)
	f.Add(`{"type":"MODIFIED","object":{"endpoints":[{"addresses":[]}],"ports":[{"port":70000}]}}`)
	f.Fuzz(func(t *testing.T, events string) {
		known := &service{}
		_, _ = read(strings.NewReader(events), "", known, func() {
			for _, e := range known.endpoints() {
				if e.ID == "" || e.Address == "" {
					t.Errorf("got %+v", e)
				}
			}
		})
		var l list
		if json.Unmarshal([]byte(events), &l) == nil {
			known.reset(l.Items)
			known.endpoints()
		}
	})
}
