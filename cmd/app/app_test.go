package app

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"go.uber.org/goleak"
	"go.uber.org/zap"

	"github.com/sira-ai/sira/pipeline/kafka"
	"github.com/sira-ai/sira/schemas"
)

const patience = 30 * time.Second

// isolated returns a configuration that shares nothing with other processes.
func isolated(t *testing.T) Config {
	t.Helper()
	cfg := Defaults()
	cfg.Instance, cfg.DataDir = "test", t.TempDir()
	for _, addr := range []*string{&cfg.HTTP.Addr, &cfg.Kafka.Embedded.Addr, &cfg.Registry.Listen, &cfg.ClickHouse.Listen, &cfg.Simulator.Listen} {
		*addr = "127.0.0.1:0"
	}
	cfg.Kafka.Partitions = 2
	return cfg
}

// started is an App that runs, or tries to.
type started struct {
	*App
	ready chan struct{}
	ended chan error
	stop  context.CancelFunc
}

func start(t *testing.T, cfg Config, roles ...Role) *started {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	s := &started{App: New(cfg, roles, zap.NewNop()), ready: make(chan struct{}), ended: make(chan error, 1), stop: cancel}
	go func() { s.ended <- s.Run(ctx, func() { close(s.ready) }) }()
	t.Cleanup(cancel)
	return s
}

func (s *started) up(t *testing.T) {
	t.Helper()
	select {
	case <-s.ready:
	case err := <-s.ended:
		t.Fatalf("ended at start: %v", err)
	case <-time.After(patience):
		t.Fatal("does not start")
	}
}

func (s *started) down(t *testing.T) {
	t.Helper()
	s.stop()
	select {
	case err := <-s.ended:
		if err != nil {
			t.Errorf("stopping: %v", err)
		}
	case <-time.After(patience):
		t.Fatal("does not stop")
	}
}

func get(t *testing.T, url string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	c := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 5 * time.Second}
	resp, err := c.Do(req)
	if err != nil {
		return 0, err.Error()
	}
	defer resp.Body.Close()
	b, _ := io.ReadAll(resp.Body)
	return resp.StatusCode, string(b)
}

// eventually waits until f returns "".
func eventually(t *testing.T, f func() string) {
	t.Helper()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(patience); ; <-tick.C {
		why := f()
		if why == "" {
			return
		}
		if time.Now().After(end) {
			t.Fatal(why)
		}
	}
}

func (s *started) isReady(t *testing.T) {
	t.Helper()
	eventually(t, func() string {
		if status, body := get(t, "http://"+s.HTTPAddr()+"/readyz"); status != http.StatusOK {
			return "readyz: " + body
		}
		return ""
	})
}

// ask sends one request and returns its result.
func (s *started) ask(t *testing.T, id string) schemas.Result {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	cfg := s.Effective()
	cl, err := s.Client().NewClient(zap.NewNop(), nil, kgo.ConsumeTopics(cfg.Topic(TopicResults)), kgo.ConsumeStartOffset(kgo.NewOffset().AtStart()), kgo.FetchIsolationLevel(kgo.ReadCommitted()))
	if err != nil {
		t.Fatal(err)
	}
	defer cl.Close()
	value, err := json.Marshal(schemas.Request{ID: id, Tenant: "acme", Model: "gpt-4o-mini", Messages: []schemas.Message{schemas.TextMessage(schemas.RoleUser, "hi")}})
	if err != nil {
		t.Fatal(err)
	}
	if err := cl.ProduceSync(ctx, &kgo.Record{Topic: cfg.RequestTopic("interactive"), Value: value}).FirstErr(); err != nil {
		t.Fatal(err)
	}
	for {
		fetches := cl.PollFetches(ctx)
		if err := fetches.Err0(); err != nil {
			t.Fatalf("waiting for the result: %v", err)
		}
		for _, r := range fetches.Records() {
			var res schemas.Result
			if err := json.NewDecoder(bytes.NewReader(r.Value)).Decode(&res); err != nil {
				t.Fatal(err)
			}
			if res.RequestID == id {
				return res
			}
		}
	}
}

func TestOneProcessAnswersARequestAndStopsCleanly(t *testing.T) {
	before := goleak.IgnoreCurrent()
	s := start(t, isolated(t), RoleKafka, RoleRegistry, RoleSimulator, RoleWorker)
	s.up(t)
	s.isReady(t)
	if res := s.ask(t, "r1"); res.Status != schemas.Succeeded || res.Response.Text() == "" {
		t.Errorf("result %+v", res)
	}
	if status, body := get(t, "http://"+s.HTTPAddr()+"/livez"); status != http.StatusOK {
		t.Errorf("livez %d %s", status, body)
	}
	_, metrics := get(t, "http://"+s.HTTPAddr()+"/metrics")
	for _, name := range []string{"sira_engine_", "go_goroutines", "process_start_time_seconds"} {
		if !strings.Contains(metrics, name) {
			t.Errorf("metrics lack %s", name)
		}
	}
	for _, a := range s.Addresses() {
		if strings.HasSuffix(a.Addr, ":0") {
			t.Errorf("%s is said to be at %s", a.Name, a.Addr)
		}
	}
	began := time.Now()
	s.down(t)
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("stopping took %s", took)
	}
	if err := goleak.Find(before); err != nil {
		t.Error(err)
	}
}

// closedPort returns a loopback address where nobody listens.
func closedPort(t *testing.T) string {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// notReadyFor waits until readiness names the service that is missing.
func (s *started) notReadyFor(t *testing.T, addr, name string) {
	t.Helper()
	eventually(t, func() string {
		status, body := get(t, "http://"+addr+"/readyz")
		var reasons map[string]string
		if status != http.StatusServiceUnavailable || json.Unmarshal([]byte(body), &reasons) != nil || reasons[name] == "" || reasons[name] == "ok" || reasons["start"] == "ok" {
			return "readyz: " + body
		}
		return ""
	})
	select {
	case <-s.ready:
		t.Errorf("says it is ready without %s", name)
	case err := <-s.ended:
		t.Fatalf("ended instead of waiting for %s: %v", name, err)
	default:
	}
}

func TestWorkerWaitsForKafkaAndSaysSo(t *testing.T) {
	t.Parallel()
	cfg := isolated(t)
	broker := closedPort(t)
	cfg.Kafka.Brokers, cfg.HTTP.Addr = []string{broker}, closedPort(t)
	s := start(t, cfg, RoleRegistry, RoleSimulator, RoleWorker)
	s.notReadyFor(t, cfg.HTTP.Addr, "kafka")
	b, err := kafka.StartEmbedded(kafka.EmbeddedConfig{Addr: broker})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	s.up(t)
	s.isReady(t)
	s.down(t)
}

func TestRecorderWaitsForClickHouseAndStopsWhileItWaits(t *testing.T) {
	t.Parallel()
	cfg := isolated(t)
	cfg.HTTP.Addr, cfg.ClickHouse.DSN = closedPort(t), "clickhouse://default:hush@"+closedPort(t)+"/sira"
	s := start(t, cfg, RoleKafka, RoleRegistry, RoleRecorder)
	s.notReadyFor(t, cfg.HTTP.Addr, "clickhouse")
	if _, body := get(t, "http://"+cfg.HTTP.Addr+"/readyz"); strings.Contains(body, "hush") {
		t.Errorf("readyz shows the password: %s", body)
	}
	s.down(t)
}

func TestAddressInUseEndsTheStartWithoutLeftovers(t *testing.T) {
	t.Parallel()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	cfg := isolated(t)
	cfg.Registry.Listen = l.Addr().String()
	s := start(t, cfg, RoleKafka, RoleRegistry)
	select {
	case err := <-s.ended:
		if err == nil || strings.Count(err.Error(), l.Addr().String()) != 1 {
			t.Errorf("error %v, want one that names %s once", err, l.Addr())
		}
	case <-time.After(patience):
		t.Fatal("does not end")
	}
}

// A service that fails was reported twice: as the reason of the stop and by the
// stop itself.
func TestFailureOfAServiceIsReportedOnce(t *testing.T) {
	t.Parallel()
	g := &group{failed: make(chan error, 1)}
	g.run("sampler", func(context.Context) error { return errors.New("broken") })
	if err := <-g.failed; err == nil {
		t.Error("no error came")
	}
	if err := g.stop(); err == nil || err.Error() != "running sampler: broken" {
		t.Errorf("error %v", err)
	}
}

func TestServicesStopInTheOppositeOrder(t *testing.T) {
	t.Parallel()
	g := &group{failed: make(chan error, 1)}
	var order []string
	for _, name := range []string{"kafka", "worker"} {
		g.onStop(name, func() error { order = append(order, name); return nil })
	}
	if err := g.stop(); err != nil || strings.Join(order, " ") != "worker kafka" {
		t.Errorf("stopped %v, %v", order, err)
	}
}

func TestRolesAreReadFromAList(t *testing.T) {
	t.Parallel()
	got, err := ParseRoles(" worker, kafka,,")
	if err != nil || len(got) != 2 || got[0] != RoleWorker || got[1] != RoleKafka {
		t.Errorf("got %v, %v", got, err)
	}
	for _, bad := range []string{"", ",", "worker,boss"} {
		if _, err := ParseRoles(bad); err == nil || !strings.Contains(err.Error(), "recorder") {
			t.Errorf("%q: error %v, want one that lists the roles", bad, err)
		}
	}
}
