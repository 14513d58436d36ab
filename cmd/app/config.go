package app

import (
	"errors"
	"fmt"
	"maps"
	"net/url"
	"os"
	"slices"
	"time"

	"github.com/sira-ai/sira/handlers/alert"
	"github.com/sira-ai/sira/handlers/anomaly/fleet"
	"github.com/sira-ai/sira/handlers/balance"
	"github.com/sira-ai/sira/handlers/balance/limit"
	"github.com/sira-ai/sira/handlers/cost/budget"
	"github.com/sira-ai/sira/handlers/invoke"
	"github.com/sira-ai/sira/handlers/provider/fetch"
	"github.com/sira-ai/sira/handlers/routing"
	"github.com/sira-ai/sira/handlers/simulate"
	"github.com/sira-ai/sira/pipeline/catalog"
	"github.com/sira-ai/sira/pipeline/kafka"
	"github.com/sira-ai/sira/pipeline/tracing"
	"github.com/sira-ai/sira/schemas"
	"github.com/sira-ai/sira/schemas/avro"
	"github.com/sira-ai/sira/sinks/clickhouse"
	"github.com/sira-ai/sira/sinks/webhook"
)

// Config is the configuration document, sira.yaml. See docs/configuration.md.
type Config struct {
	// Instance is the stable name of this process: two that run at once must not
	// share it. Empty means the host's name.
	Instance string `json:"instance,omitempty"`
	// DataDir holds everything that the embedded services keep.
	DataDir    string                `json:"data_dir,omitempty"`
	HTTP       HTTPConfig            `json:"http,omitzero"`
	Kafka      KafkaConfig           `json:"kafka,omitzero"`
	Registry   RegistryConfig        `json:"registry,omitzero"`
	ClickHouse ClickHouseConfig      `json:"clickhouse,omitzero"`
	Blobs      BlobConfig            `json:"blobs,omitzero"`
	Worker     WorkerConfig          `json:"worker,omitzero"`
	Providers  []ProviderConfig      `json:"providers,omitempty"`
	Balance    balance.Config        `json:"balance,omitzero"`
	Limits     limit.Config          `json:"limits,omitzero"`
	Prediction fleet.Config          `json:"prediction,omitzero"`
	Invoke     invoke.Config         `json:"invoke,omitzero"`
	Batch      BatchConfig           `json:"batch,omitzero"`
	Fetch      fetch.Config          `json:"fetch,omitzero"`
	Models     []routing.ModelConfig `json:"models,omitempty"`
	Routes     []routing.RouteConfig `json:"routes,omitempty"`
	Prices     PricesConfig          `json:"prices,omitzero"`
	Budgets    []budget.Config       `json:"budgets,omitempty"`
	Webhooks   []webhook.Config      `json:"webhooks,omitempty"`
	Tracing    tracing.Config        `json:"tracing,omitzero"`
	Alerts     AlertsConfig          `json:"alerts,omitzero"`
	Simulator  simulate.Config       `json:"simulator,omitzero"`

	// Version names the document's content: the first 12 hex digits of its SHA-256.
	Version string `json:"-"`
}

// HTTPConfig is the process's own listener: health, metrics, profiles.
type HTTPConfig struct {
	Addr  string `json:"addr,omitempty"`  // 127.0.0.1:8088
	Pprof bool   `json:"pprof,omitempty"` // profiles under /debug/pprof; on for loopback addresses
}

// KafkaConfig says which Kafka and which topics.
type KafkaConfig struct {
	kafka.Config    `json:",inline" yaml:",inline"`
	Embedded        kafka.EmbeddedConfig `json:"embedded,omitzero"`          // of the role kafka
	Prefix          string               `json:"prefix,omitempty"`           // of topics and groups; "sira."
	Partitions      int32                `json:"partitions,omitempty"`       // of request, result and event topics; 8
	EventPartitions int32                `json:"event_partitions,omitempty"` // of event topics; 2
	Replication     int16                `json:"replication_factor,omitempty"`
	MinInsync       int                  `json:"min_insync_replicas,omitempty"`
	Retention       time.Duration        `json:"retention,omitempty"`    // of all but compacted topics; 168h
	ReplyTopics     []string             `json:"reply_topics,omitempty"` // what requests may name in reply_to
	Retry           []time.Duration      `json:"retry,omitempty"`        // delays of the retry topics; 30s, 2m, 10m
	Lanes           []LaneConfig         `json:"lanes,omitempty"`
}

// LaneConfig is a class of requests. Its topic is the prefix, "requests." and its
// name.
type LaneConfig struct {
	Name           string        `json:"name"`
	Weight         int           `json:"weight,omitempty"`
	Reserve        int           `json:"reserve,omitempty"`
	Guarantee      string        `json:"guarantee,omitempty"`
	Order          string        `json:"order,omitempty"`
	MaxAge         time.Duration `json:"max_age,omitempty"`
	TenantInFlight int           `json:"tenant_in_flight,omitempty"`
}

// RegistryConfig says which schema registry: URL "embedded" or an address of any
// registry with Confluent's interface.
type RegistryConfig struct {
	URL      string           `json:"url,omitempty"`
	Username string           `json:"username,omitempty"`
	Password avro.Credential  `json:"password,omitempty"`
	Token    avro.Credential  `json:"token,omitempty"`
	TLS      avro.RegistryTLS `json:"tls,omitzero"`
	Listen   string           `json:"listen,omitempty"` // of the embedded one; 127.0.0.1:8081
}

// ClickHouseConfig says which ClickHouse: DSN "embedded", clickhouse://… or
// http(s)://….
type ClickHouseConfig struct {
	DSN      string         `json:"dsn,omitempty"`
	Listen   string         `json:"listen,omitempty"`   // of the embedded one; 127.0.0.1:8123
	Password catalog.Secret `json:"password,omitempty"` // of the embedded one
	MaxRows  int            `json:"max_rows,omitempty"` // of a batch; 20000
	MaxWait  time.Duration  `json:"max_wait,omitempty"` // of a row for its batch; 1s

	Retention     map[string]time.Duration `json:"retention,omitempty"`      // of rows, by table; 0 or unset: for ever
	StoragePolicy string                   `json:"storage_policy,omitempty"` // of the tables whose rows may age
	MoveAfter     time.Duration            `json:"move_after,omitempty"`     // of rows of these tables, to MoveTo
	MoveTo        string                   `json:"move_to,omitempty"`        // a volume of the storage policy
}

// ages is what becomes of old rows.
func (c *ClickHouseConfig) ages() clickhouse.Ages {
	return clickhouse.Ages{Delete: c.Retention, Policy: c.StoragePolicy, Move: c.MoveAfter, Volume: c.MoveTo}
}

// BlobConfig says where payloads above 256 KiB are kept. All workers and
// producers need to see the same folder.
type BlobConfig struct {
	Dir string `json:"dir,omitempty"`
	// PublicDir is a folder whose files a web server shows below PublicURL, for media
	// that are too large for a vendor's requests. Both or none.
	PublicDir string `json:"public_dir,omitempty"`
	PublicURL string `json:"public_url,omitempty"`
}

// validate reports what can't work.
func (c *BlobConfig) validate() error {
	if c.PublicDir == "" && c.PublicURL == "" {
		return nil
	}
	u, err := url.Parse(c.PublicURL)
	switch {
	case err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" || u.RawQuery != "" || u.Fragment != "":
		return errors.New("public_url is no address: write one such as https://media.example.com/sira, or leave out public_dir")
	case c.PublicDir == "":
		return errors.New("public_dir is empty: write the folder that " + u.Redacted() + " shows, or leave out public_url")
	case c.PublicDir == c.Dir:
		return errors.New("public_dir is the folder of payloads, which hold requests and results: write another one")
	}
	return nil
}

// WorkerConfig bounds a worker.
type WorkerConfig struct {
	Concurrency      int  `json:"concurrency,omitempty"`       // requests in flight; 2000
	FixedConcurrency bool `json:"fixed_concurrency,omitempty"` // that many also when this machine does not keep up with them
	// Journal keeps outcomes in data_dir until they are committed, so that a killed
	// worker need not ask for them again.
	Journal         bool          `json:"journal,omitempty"`
	Window          int           `json:"window,omitempty"`            // unfinished requests of one partition; 1000
	MaxBytes        int64         `json:"max_bytes,omitempty"`         // of requests held; 256 MiB
	FlushInterval   time.Duration `json:"flush_interval,omitempty"`    // of transactions; 20ms
	MaxRequestBytes int           `json:"max_request_bytes,omitempty"` // larger ones are answered payload_too_large; 32 MiB
	RevokeDrain     time.Duration `json:"revoke_drain,omitempty"`      // 10s
	Drain           time.Duration `json:"drain,omitempty"`             // 30s
	// Static keeps partitions for a worker that restarts; turn it off only where
	// instances have no stable names.
	Static         *bool         `json:"static_membership,omitempty"`
	SessionTimeout time.Duration `json:"session_timeout,omitempty"` // 10s
}

// ProviderConfig is an account at a vendor. Settings are those of its kind, such
// as base_url and api_key; an endpoint's settings replace the provider's.
type ProviderConfig struct {
	Name    string `json:"name"`
	Kind    string `json:"kind"`
	Region  string `json:"region,omitempty"`
	Balance string `json:"balance,omitempty"` // a kind; least_load
	// BalanceSettings are those of that kind, such as load of consistent_hash.
	BalanceSettings Settings         `json:"balance_settings,omitempty"`
	Endpoints       []EndpointConfig `json:"endpoints,omitempty"`
	Discover        *DiscoverConfig  `json:"discover,omitempty"`
	// Unchecked says that the catalogue does not speak of this provider's models:
	// requests go there as they are, and what can't be done is for the provider to say.
	Unchecked bool     `json:"unchecked,omitempty"`
	Settings  Settings `json:",inline" yaml:",inline"`
}

// DiscoverConfig says where further endpoints of a provider are found.
type DiscoverConfig struct {
	Kind     string   `json:"kind"`
	Settings Settings `json:"settings,omitempty"`
}

// EndpointConfig is one address or credential of a provider.
type EndpointConfig struct {
	ID       string   `json:"id"`
	Region   string   `json:"region,omitempty"`
	Zone     string   `json:"zone,omitempty"`     // within the region
	Priority int      `json:"priority,omitempty"` // 0 is asked first, by balance: spillover
	Key      string   `json:"key,omitempty"`      // name of the credential; endpoints of one key rest together
	Weight   int      `json:"weight,omitempty"`
	Settings Settings `json:",inline" yaml:",inline"`
}

// Settings are the keys that only the kind knows. Some hold credentials, and which
// ones is not known here: fmt shows the names only.
type Settings map[string]any

// Format writes the keys in order, without values, for every verb.
func (s Settings) Format(f fmt.State, _ rune) {
	_, _ = fmt.Fprint(f, slices.Sorted(maps.Keys(s)))
}

// BatchConfig says when requests in batch mode have waited long enough for others:
// whatever comes first.
type BatchConfig struct {
	MaxRequests int           `json:"max_requests,omitempty"` // of one batch; 1000
	MaxBytes    int64         `json:"max_bytes,omitempty"`    // of its request records; 16 MiB
	MaxWait     time.Duration `json:"max_wait,omitempty"`     // of the first request; 1m
}

// validate reports what can't work.
func (c *BatchConfig) validate() error {
	var faults []error
	if c.MaxRequests < 1 || c.MaxRequests > maxBatchRequests {
		faults = append(faults, fmt.Errorf("max_requests is %d: write 1 to %d", c.MaxRequests, maxBatchRequests))
	}
	if c.MaxBytes < 1 || c.MaxBytes > maxBatchBytes {
		faults = append(faults, fmt.Errorf("max_bytes is %d: write 1 to %d", c.MaxBytes, maxBatchBytes))
	}
	if c.MaxWait <= 0 {
		faults = append(faults, fmt.Errorf("max_wait is %s: write a duration above 0, such as 1m", c.MaxWait))
	}
	return errors.Join(faults...)
}

// Bounds of a batch: OpenAI's for requests, and half of what a claim check may be for
// bytes.
const (
	maxBatchRequests = 50_000
	maxBatchBytes    = schemas.MaxRequestBytes / 2
)

// PricesConfig says what is paid.
type PricesConfig struct {
	File string `json:"file,omitempty"` // a price book in YAML; empty: the built-in one
}

// Embedded is the word for a service in this process.
const Embedded = "embedded"

// Defaults returns the configuration of an empty document: everything embedded,
// loopback only, simulated providers.
func Defaults() Config {
	host, err := os.Hostname()
	if err != nil {
		host = "sira"
	}
	return Config{
		Instance: host, DataDir: "sira-data",
		HTTP: HTTPConfig{Addr: "127.0.0.1:8088"},
		Kafka: KafkaConfig{
			Embedded: kafka.EmbeddedConfig{Addr: "127.0.0.1:9092"}, Prefix: "sira.", Partitions: 8, EventPartitions: 2, Retention: 7 * 24 * time.Hour,
			Retry: []time.Duration{30 * time.Second, 2 * time.Minute, 10 * time.Minute},
			Lanes: []LaneConfig{
				{Name: "interactive", Weight: 8, MaxAge: 2 * time.Minute},
				{Name: "standard", Weight: 3, MaxAge: 30 * time.Minute},
				{Name: "bulk", Weight: 1, MaxAge: 24 * time.Hour},
			},
		},
		Registry:   RegistryConfig{URL: Embedded, Listen: "127.0.0.1:8081"},
		ClickHouse: ClickHouseConfig{DSN: Embedded, Listen: "127.0.0.1:8123"},
		Worker:     WorkerConfig{Concurrency: 2000, Journal: true, Window: 1000, MaxBytes: 256 << 20, FlushInterval: 20 * time.Millisecond, RevokeDrain: 10 * time.Second, Drain: 30 * time.Second, SessionTimeout: 10 * time.Second},
		Balance:    balance.Defaults(),
		Limits:     limit.Defaults(),
		Prediction: fleet.Defaults(),
		Invoke:     invoke.Defaults(),
		Batch:      BatchConfig{MaxRequests: 1000, MaxBytes: maxBatchBytes, MaxWait: time.Minute},
		Fetch:      fetch.Defaults(),
		Tracing:    tracing.Defaults(),
		Alerts:     AlertsConfig{Config: alert.Defaults()},
		Simulator:  simulate.Config{Listen: "127.0.0.1:8089"},
	}
}

// lanes returns the engine's lanes, with the one of the retry topics.
func (c *Config) lanes() []kafka.LaneConfig {
	lanes := make([]kafka.LaneConfig, 0, len(c.Kafka.Lanes)+1)
	for _, l := range c.Kafka.Lanes {
		lanes = append(lanes, kafka.LaneConfig{
			Name: l.Name, Topics: []string{c.RequestTopic(l.Name)}, Weight: l.Weight, Reserve: l.Reserve, Guarantee: l.Guarantee,
			Order: l.Order, MaxAge: l.MaxAge, TenantInFlight: l.TenantInFlight,
		})
	}
	retry := kafka.LaneConfig{Name: "retry", Retry: true}
	for _, t := range c.waiting() {
		retry.Topics = append(retry.Topics, t.Topic)
	}
	return append(lanes, retry)
}

// client says how clients reach Kafka, given the address of the embedded broker.
func (c *Config) client(embedded string) kafka.Config {
	k := c.Kafka.Config
	if len(k.Brokers) == 0 || (len(k.Brokers) == 1 && k.Brokers[0] == Embedded) {
		k.Brokers = []string{embedded}
	}
	if k.ClientID == "" {
		k.ClientID = "sira"
	}
	return k
}

// Client returns how tools reach Kafka; "embedded" is the broker that another
// process serves at kafka.embedded.addr.
func (c *Config) Client() kafka.Config { return c.client(c.Kafka.Embedded.Addr) }

// UsesEmbeddedKafka reports whether the document names no brokers of its own.
func (c *Config) UsesEmbeddedKafka() bool {
	b := c.Kafka.Brokers
	return len(b) == 0 || (len(b) == 1 && b[0] == Embedded)
}

// ClickHouseDSN returns where clients find ClickHouse.
func (c *Config) ClickHouseDSN() string {
	if c.ClickHouse.DSN != Embedded {
		return c.ClickHouse.DSN
	}
	return fmt.Sprintf("http://default:%s@%s/sira", c.ClickHouse.Password.Reveal(), c.ClickHouse.Listen)
}
