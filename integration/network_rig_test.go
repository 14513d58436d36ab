package integration

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	toxiproxy "github.com/Shopify/toxiproxy/v2"
	"github.com/Shopify/toxiproxy/v2/stream"
	"github.com/Shopify/toxiproxy/v2/toxics"
	"github.com/goccy/go-yaml"
	"github.com/rs/zerolog"
	"github.com/twmb/franz-go/pkg/kgo"
	"go.uber.org/zap"

	"github.com/sira-ai/sira/cmd/app"
	"github.com/sira-ai/sira/schemas"
	"github.com/sira-ai/sira/sinks/clickhouse"
)

// The edges of a worker and a recorder.
var edges = []string{"kafka", "registry", "clickhouse", "provider"}

// network is a worker and a recorder whose every connection goes through a proxy
// that can be disturbed. Their services, the load and the counting are not
// disturbed.
type network struct {
	t        *testing.T
	services *app.App
	cfg      app.Config // of the services
	proxies  map[string]*toxiproxy.Proxy
	client   *kgo.Client
	sent     atomic.Int64
	schema   atomic.Int64 // of requests in Avro; 0: they are JSON

	mu      sync.Mutex
	results map[string]int // by request id
	costs   map[string]int
	failed  map[string]string // request id -> code
}

func newNetwork(t *testing.T) *network {
	t.Helper()
	n := &network{t: t, proxies: map[string]*toxiproxy.Proxy{}, results: map[string]int{}, costs: map[string]int{}, failed: map[string]string{}}
	base := Document{
		"http": Document{"addr": "off"},
		"kafka": Document{
			"embedded": Document{"addr": "127.0.0.1:0"}, "partitions": 4, "retry": []string{"1s", "2s", "4s", "8s", "15s"},
			"lanes": []Document{{"name": "standard", "max_age": "5m"}},
		},
		"invoke": Document{"attempt_timeout": "4s", "first_token_timeout": "2s", "stall_timeout": "2s", "backoff": Document{"initial": "100ms", "max": "400ms"}},
	}
	n.services = n.run(n.document("services", base, Document{"registry": Document{"listen": "127.0.0.1:0"}, "clickhouse": Document{"listen": "127.0.0.1:0"}, "simulator": Document{"listen": "127.0.0.1:0", "seed": 1}}),
		app.RoleKafka, app.RoleRegistry, app.RoleClickHouse, app.RoleSimulator)
	n.cfg = n.services.Effective()
	registry, err := n.cfg.OpenRegistry()
	if err != nil {
		t.Fatal(err)
	}
	if err := n.services.Codecs().Request.Register(t.Context(), registry, n.cfg.RequestTopic("standard")); err != nil {
		t.Fatal(err)
	}
	server := toxiproxy.NewServer(toxiproxy.NewMetricsContainer(nil), zerolog.Nop())
	for edge, upstream := range map[string]string{"kafka": n.cfg.Kafka.Embedded.Addr, "registry": n.cfg.Registry.Listen, "clickhouse": n.cfg.ClickHouse.Listen, "provider": n.cfg.Simulator.Listen} {
		p := toxiproxy.NewProxy(server, edge, "127.0.0.1:0", upstream)
		if err := server.Collection.Add(p, true); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(p.Stop)
		n.proxies[edge] = p
	}
	at := func(edge string) string { return n.proxies[edge].Listen }
	cfg := n.document("site", base, Document{
		"registry": Document{"url": "http://" + at("registry")}, "clickhouse": Document{"dsn": "http://default:@" + at("clickhouse") + "/sira"},
		"providers": []Document{{"name": "openai", "kind": "openai", "base_url": "http://" + at("provider") + "/llm/openai/v1", "api_key": "any"}},
		"models":    []Document{{"name": "gpt-4o-mini", "targets": []Document{{"provider": "openai", "model": "gpt-4o-mini"}}}},
	})
	cfg.Kafka.Brokers = []string{n.cfg.Kafka.Embedded.Addr}
	cfg.Kafka.Dial = func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "tcp", at("kafka"))
	}
	n.run(cfg, app.RoleWorker, app.RoleRecorder)
	n.follow()
	return n
}

// document reads the document of an instance, made of parts.
func (n *network) document(instance string, parts ...Document) app.Config {
	n.t.Helper()
	all := Document{"instance": instance, "data_dir": n.t.TempDir()}
	for _, part := range parts {
		maps.Copy(all, part)
	}
	text, err := yaml.Marshal(all)
	if err != nil {
		n.t.Fatal(err)
	}
	cfg, err := app.Parse(instance+".yaml", text)
	if err != nil {
		n.t.Fatal(err)
	}
	return cfg
}

// run starts an app and stops it when the test ends.
func (n *network) run(cfg app.Config, roles ...app.Role) *app.App {
	n.t.Helper()
	a := app.New(cfg, roles, zap.NewNop())
	ctx, stop := context.WithCancel(context.Background())
	ready, ended := make(chan struct{}), make(chan error, 1)
	go func() { ended <- a.Run(ctx, func() { close(ready) }) }()
	n.t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			n.t.Errorf("stopping: %v", err)
		}
	})
	select {
	case <-ready:
	case err := <-ended:
		ended <- nil
		n.t.Fatalf("starting: %v", err)
	case <-time.After(time.Minute):
		n.t.Fatal("the gateway does not start")
	}
	return a
}

// follow counts results and costs by request, as they are committed.
func (n *network) follow() {
	n.t.Helper()
	var err error
	n.client, err = n.services.Client().NewClient(nil, nil, kgo.ConsumeTopics(n.cfg.Topic(app.TopicResults), n.cfg.Topic(app.TopicCosts)),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.ConsumeStartOffset(kgo.NewOffset().AtStart()), kgo.ProducerLinger(0))
	if err != nil {
		n.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for ctx.Err() == nil {
			for r := range n.client.PollFetches(ctx).RecordsAll() {
				n.count(ctx, r)
			}
		}
	}()
	n.t.Cleanup(func() { cancel(); n.client.Close(); <-done })
}

func (n *network) count(ctx context.Context, r *kgo.Record) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if r.Topic == n.cfg.Topic(app.TopicResults) {
		n.results[string(r.Key)]++
		var res schemas.Result
		if err := decode(ctx, n.services.Codecs().Result, r.Value, &res); err != nil {
			n.t.Errorf("decoding result: %v", err)
		}
		if res.Failure != nil {
			n.failed[res.RequestID] = string(res.Failure.Code)
		}
		return
	}
	var cost schemas.CostEvent
	if err := n.services.Codecs().Cost.Decode(ctx, r.Value, &cost); err != nil {
		n.t.Errorf("decoding cost: %v", err)
		return
	}
	n.costs[cost.RequestID]++
}

// encode writes a request as JSON, or as Avro with the schema of newSchema.
func (n *network) encode(req *schemas.Request) ([]byte, error) {
	id := n.schema.Load()
	if id == 0 {
		return json.Marshal(req)
	}
	value, err := n.services.Codecs().Request.Append(nil, req)
	if err == nil {
		binary.BigEndian.PutUint32(value[1:], uint32(id))
	}
	return value, err
}

// newSchema has the load go on in Avro, with a schema that the worker has not seen.
func (n *network) newSchema(ctx context.Context, name string) {
	n.t.Helper()
	registry, err := n.cfg.OpenRegistry()
	if err != nil {
		n.t.Fatal(err)
	}
	var schema map[string]any
	if err := json.Unmarshal([]byte(n.services.Codecs().Request.Schema()), &schema); err != nil {
		n.t.Fatal(err)
	}
	schema["doc"] = "written while the registry was disturbed: " + name
	text, err := json.Marshal(schema)
	if err != nil {
		n.t.Fatal(err)
	}
	id, err := registry.Register(ctx, name+"-value", string(text))
	if err != nil {
		n.t.Fatal(err)
	}
	n.schema.Store(int64(id))
}

// load sends requests of a name at a rate until ctx is done and returns their
// number.
func (n *network) load(ctx context.Context, name string, every time.Duration) (sent int) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return sent
		}
		req := question(fmt.Sprintf("%s-%d", name, sent), "gpt-4o-mini", sent%3 == 0)
		value, err := n.encode(req)
		if err != nil {
			n.t.Error(err)
			return sent
		}
		rec := &kgo.Record{Topic: n.cfg.RequestTopic("standard"), Key: []byte(req.ID), Value: value}
		if err := n.client.ProduceSync(context.WithoutCancel(ctx), rec).FirstErr(); err != nil {
			n.t.Errorf("sending: %v", err)
			return sent
		}
		sent++
		n.sent.Add(1)
	}
}

// answered returns how many of the first sent requests of a name have a result.
func (n *network) answered(name string, sent int) (have int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for i := range sent {
		if n.results[fmt.Sprintf("%s-%d", name, i)] > 0 {
			have++
		}
	}
	return have
}

// recorded returns how many results and costs ClickHouse holds.
func (n *network) recorded(ctx context.Context) (rows map[string]uint64, err error) {
	conn, _, err := clickhouse.Open(n.cfg.ClickHouseDSN())
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	rows = map[string]uint64{}
	for _, table := range []string{"requests", "costs", "attempts", "audit"} {
		var c uint64
		if err := conn.QueryRow(ctx, "SELECT count() FROM "+table).Scan(&c); err != nil {
			return nil, err
		}
		rows[table] = c
	}
	return rows, nil
}

// records counts the committed records of a topic.
func (n *network) records(t *testing.T, topic string) (count uint64) {
	t.Helper()
	err := EachCommitted(t.Context(), n.services.Client(), n.cfg.Topic(topic), func(*kgo.Record) error { count++; return nil })
	if err != nil {
		t.Fatal(err)
	}
	return count
}

// poison disturbs an edge until the returned function is called.
func (n *network) poison(edge string, toxic ...string) (heal func()) {
	n.t.Helper()
	p := n.proxies[edge]
	for _, text := range toxic {
		if _, err := p.Toxics.AddToxicJson(strings.NewReader(text)); err != nil {
			n.t.Fatalf("%s: %v", text, err)
		}
	}
	return func() { p.Toxics.ResetToxics(context.Background()) }
}

// corrupt is a toxic that changes one byte in about a thousand.
type corrupt struct {
	Every int `json:"every"`
}

// Pipe implements toxics.Toxic.
func (c *corrupt) Pipe(stub *toxics.ToxicStub) {
	rng := rand.New(rand.NewPCG(1, uint64(time.Now().UnixNano())))
	for {
		select {
		case <-stub.Interrupt:
			return
		case chunk := <-stub.Input:
			if chunk == nil {
				stub.Close()
				return
			}
			chunk.Data = append([]byte(nil), chunk.Data...)
			for i := range chunk.Data {
				if rng.IntN(c.Every) == 0 {
					chunk.Data[i] ^= byte(1 + rng.IntN(255))
				}
			}
			stub.Output <- &stream.StreamChunk{Data: chunk.Data, Timestamp: chunk.Timestamp}
		}
	}
}
