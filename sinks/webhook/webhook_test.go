package webhook

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/shopspring/decimal"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/sira-ai/sira/pipeline/catalog"
	"github.com/sira-ai/sira/pipeline/kafka"
	"github.com/sira-ai/sira/pipeline/pubsub"
	"github.com/sira-ai/sira/schemas"
	"github.com/sira-ai/sira/schemas/avro"
)

const secretText = "0123456789abcdef0123456789abcdef"

var secret = catalog.Secret("whsec_" + base64.StdEncoding.EncodeToString([]byte(secretText)))

// receiver answers with the statuses in turn, then 204, and remembers the POSTs.
type receiver struct {
	*httptest.Server
	mu       sync.Mutex
	statuses []int
	posts    []post
	got      chan post
}

type post struct {
	header http.Header
	body   []byte
}

func newReceiver(t *testing.T, statuses ...int) *receiver {
	t.Helper()
	r := &receiver{statuses: statuses, got: make(chan post, 64)}
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		body, _ := io.ReadAll(req.Body)
		r.mu.Lock()
		status := http.StatusNoContent
		if n := len(r.posts); n < len(r.statuses) {
			status = r.statuses[n]
		}
		p := post{req.Header.Clone(), body}
		r.posts = append(r.posts, p)
		r.mu.Unlock()
		if status == http.StatusFound {
			w.Header().Set("Location", r.URL+"/elsewhere")
		}
		w.WriteHeader(status)
		r.got <- p
	}))
	t.Cleanup(r.Close)
	return r
}

func (r *receiver) next(t *testing.T) post {
	t.Helper()
	select {
	case p := <-r.got:
		return p
	case <-time.After(15 * time.Second):
		t.Fatal("no notification came in 15 s")
		return post{}
	}
}

// rig is a broker with results and a webhook that reads them.
type rig struct {
	t      *testing.T
	client *kgo.Client
	codecs *avro.Codecs
	broker *kafka.Embedded
}

func newRig(t *testing.T) *rig {
	t.Helper()
	broker, err := kafka.StartEmbedded(kafka.EmbeddedConfig{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(broker.Close)
	client, err := kafka.Config{Brokers: broker.Brokers()}.NewClient(nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	if _, err := kafka.EnsureTopics(t.Context(), client, []kafka.TopicSpec{{Name: "results", Partitions: 1}}); err != nil {
		t.Fatal(err)
	}
	registry, err := avro.OpenEmbedded(avro.EmbeddedConfig{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = registry.Close() })
	codecs := avro.NewCodecs(registry)
	if err := codecs.Register(t.Context(), registry, avro.Topics{Results: []string{"results"}}); err != nil {
		t.Fatal(err)
	}
	return &rig{t, client, codecs, broker}
}

func (r *rig) start(cfg Config) (stop func()) {
	r.t.Helper()
	sub, err := pubsub.NewSubscriber(pubsub.SubscriberConfig{
		Client: kafka.Config{Brokers: r.broker.Brokers()}, Group: "webhook", NackDelay: 20 * time.Millisecond, CommitInterval: 20 * time.Millisecond,
	})
	if err != nil {
		r.t.Fatal(err)
	}
	cfg.Secret, cfg.Topics = secret, []string{"results"}
	w, err := New(cfg, Deps{Subscriber: sub, Codecs: r.codecs})
	if err != nil {
		r.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(r.t.Context())
	done := make(chan error, 1)
	go func() { done <- w.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		select {
		case err := <-done:
			if err != nil {
				r.t.Error(err)
			}
		case <-time.After(15 * time.Second):
			r.t.Error("Run did not return in 15 s")
		}
		if err := sub.Close(); err != nil {
			r.t.Error(err)
		}
	})
	r.t.Cleanup(stop)
	return stop
}

func (r *rig) send(value []byte) {
	r.t.Helper()
	if err := r.client.ProduceSync(r.t.Context(), &kgo.Record{Topic: "results", Value: value}).FirstErr(); err != nil {
		r.t.Fatal(err)
	}
}

func (r *rig) avro(v *schemas.Result) {
	r.t.Helper()
	b, err := r.codecs.Result.Append(nil, v)
	if err != nil {
		r.t.Fatal(err)
	}
	r.send(b)
}

func answered(id string) *schemas.Result {
	at := time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)
	return &schemas.Result{
		RequestID: id, Tenant: "acme", Status: schemas.Succeeded, Model: "fast", Op: schemas.OpChat, Origin: "requests/0/" + id,
		Response: &schemas.Response{Model: "gpt", Choices: []schemas.Choice{{Message: schemas.TextMessage(schemas.RoleAssistant, "the secret answer")}}},
		Target:   &schemas.Target{Provider: "openai", Model: "gpt"}, CreatedAt: at, StartedAt: at, CompletedAt: at,
		Cost: schemas.Cost{State: schemas.CostPriced, Money: &schemas.Money{Amount: decimal.RequireFromString("0.0012"), Currency: "USD"}},
	}
}

func TestNotificationIsSignedAndWithoutTheAnswer(t *testing.T) {
	t.Parallel()
	r, to := newRig(t), newReceiver(t)
	r.start(Config{URL: to.URL})
	r.avro(answered("1"))
	p := to.next(t)
	id, at := p.header.Get("webhook-id"), p.header.Get("webhook-timestamp")
	mac := hmac.New(sha256.New, []byte(secretText))
	mac.Write([]byte(id + "." + at + "." + string(p.body)))
	if got, want := p.header.Get("webhook-signature"), "v1,"+base64.StdEncoding.EncodeToString(mac.Sum(nil)); got != want {
		t.Errorf("signature %q, want %q", got, want)
	}
	if bytes.Contains(p.body, []byte("secret answer")) {
		t.Error("the notification holds the answer")
	}
	var n Notification
	if err := json.Unmarshal(p.body, &n); err != nil {
		t.Fatal(err)
	}
	if d := n.Data; d.RequestID != "1" || d.Tenant != "acme" || d.Outcome != schemas.OK || d.Provider != "openai" || d.Cost.Amount.String() != "0.0012" {
		t.Errorf("notification: %s", p.body)
	}
}

func TestNotificationComesAgainUnderTheSameID(t *testing.T) {
	t.Parallel()
	for _, status := range []int{500, 429, 408, 302} {
		r, to := newRig(t), newReceiver(t, status)
		stop := r.start(Config{URL: to.URL})
		r.avro(answered("1"))
		first, second := to.next(t), to.next(t)
		if a, b := first.header.Get("webhook-id"), second.header.Get("webhook-id"); a == "" || a != b {
			t.Errorf("after %d: ids %q and %q", status, a, b)
		}
		if !bytes.Equal(first.body, second.body) {
			t.Errorf("after %d: the body changed", status)
		}
		stop()
	}
}

func TestRefusedNotificationIsGivenUp(t *testing.T) {
	t.Parallel()
	r, to := newRig(t), newReceiver(t, 410)
	r.start(Config{URL: to.URL, MaxInFlight: 1})
	r.avro(answered("1"))
	to.next(t)
	r.send([]byte("{ no result"))
	r.avro(answered("2"))
	if p := to.next(t); !bytes.Contains(p.body, []byte(`"request_id":"2"`)) {
		t.Errorf("the second POST is %s", p.body)
	}
}

func TestOnlyTheNamedOutcomesAreTold(t *testing.T) {
	t.Parallel()
	r, to := newRig(t), newReceiver(t)
	r.start(Config{URL: to.URL, Only: []string{"timeout"}})
	r.avro(answered("1"))
	failed := answered("2")
	failed.Status, failed.Response, failed.Failure = schemas.Failed, nil, &schemas.Failure{Code: schemas.Timeout, Message: "quotes the prompt"}
	value, err := json.Marshal(failed)
	if err != nil {
		t.Fatal(err)
	}
	r.send(value)
	p := to.next(t)
	if !bytes.Contains(p.body, []byte(`"outcome":"timeout"`)) || bytes.Contains(p.body, []byte("quotes the prompt")) {
		t.Errorf("the POST is %s", p.body)
	}
}

func TestStopCutsOffAReceiverThatHangs(t *testing.T) {
	t.Parallel()
	came := make(chan struct{}, 8)
	release := make(chan struct{})
	hanging := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { came <- struct{}{}; <-release }))
	t.Cleanup(hanging.Close)
	t.Cleanup(func() { close(release) })
	r := newRig(t)
	stop := r.start(Config{URL: hanging.URL, Timeout: time.Hour})
	r.avro(answered("1"))
	select {
	case <-came:
	case <-time.After(15 * time.Second):
		t.Fatal("no POST came")
	}
	stop()
	to := newReceiver(t)
	r.start(Config{URL: to.URL})
	to.next(t) // not told about, so delivered again
}

func TestConfigSaysWhatToWrite(t *testing.T) {
	err := Config{URL: "http://example.com", Secret: "short", Timeout: -1, MaxInFlight: -1}.Validate()
	for _, field := range []string{"url:", "secret:", "topics:", "timeout:", "max_in_flight:"} {
		if err == nil || !strings.Contains(err.Error(), field) {
			t.Errorf("%v does not name %s", err, field)
		}
	}
	ok := Config{URL: "https://example.com/hook", Secret: secret, Topics: []string{"results"}}
	if err := ok.Validate(); err != nil {
		t.Error(err)
	}
	ok.URL = "http://127.0.0.1.example.com/hook"
	if err := ok.Validate(); err == nil {
		t.Error("a name that begins like a loopback address was taken for one")
	}
}
