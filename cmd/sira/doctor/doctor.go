// Package doctor looks for what is most often wrong with an installation: it reads
// the configuration, this machine and the services around, changes nothing, and
// says what to write instead.
//
// No check shows a credential, and none asks a provider anything but whether its
// address exists.
package doctor

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/sira-ai/sira/cmd/app"
	"github.com/sira-ai/sira/pipeline/kafka"
)

// State is the outcome of a check.
type State string

// The states, from good to bad. Skipped means that what the check asks was not
// there; another check says so.
const (
	OK      State = "ok"
	Skipped State = "skipped"
	Warning State = "warning" // it works, until something happens
	Failure State = "failure" // it does not work
)

// Finding is what one check found. A check that finds several things has several.
type Finding struct {
	Check   string `json:"check"`
	State   State  `json:"state"`
	Text    string `json:"text"`
	Instead string `json:"instead,omitempty"` // what to write or do
}

// Check is one promise about an installation. docs/doctor.md lists them all.
type Check struct {
	Name  string
	Holds string // what is true when nothing is found
	needs string // a service that has to answer
	run   func(context.Context, *patient) []Finding
}

// The services that checks may need.
const (
	needsKafka      = "kafka"
	needsRegistry   = "registry"
	needsClickHouse = "clickhouse"
)

// Checks returns all checks in the order in which they are made.
func Checks() []Check {
	return []Check{
		{"keys", "Every provider that needs a key has one, and none is visibly no key.", "", keys},
		{"base_urls", "Every base_url is well-formed, and somebody listens there.", "", baseURLs},
		{"prices", "Every target has a price.", "", prices},
		{"unused", "Requests can reach every provider and model.", "", unused},
		{"timeouts", "Requests live longer than a call and the first retry.", "", timeouts},
		{"listeners", "Nothing without a login listens beyond this machine.", "", listeners},
		{"data_dir", "data_dir can be written.", "", dataDir},
		{"disk", "data_dir has room.", "", disk},
		{"blobs", "Large payloads are where all workers see them.", "", blobs},
		{"files", "The process may open as many files as it has calls.", "", files},
		{"memory", "Requests fit into memory.", "", memory},
		{"kafka", "Brokers answer.", "", reachKafka},
		{"kafka_login", "No login to Kafka travels in the clear.", "", kafkaLogin},
		{"transactions", "The brokers allow transactions as long as ours.", needsKafka, transactions},
		{"instance", "No two live processes have one name.", needsKafka, instance},
		{"topics", "All topics are there.", needsKafka, missingTopics},
		{"partitions", "Every topic has its partitions, and leaders for them.", needsKafka, partitions},
		{"cleanup", "No topic is compacted.", needsKafka, cleanup},
		{"retention", "Topics keep records as long as they may wait.", needsKafka, retention},
		{"replication", "One broker may go away.", needsKafka, replication},
		{"message_size", "Topics take records of every size that Sira writes.", needsKafka, messageSize},
		{"registry", "The schema registry answers.", "", reachRegistry},
		{"schemas", "The registry takes our schemas.", needsRegistry, schemasFit},
		{"clickhouse", "ClickHouse answers.", "", reachClickHouse},
		{"migrations", "The tables are of this version.", needsClickHouse, migrations},
		{"ttl", "No costs or audit records are deleted by age.", needsClickHouse, ttl},
		{"clock", "This machine's clock is right.", needsClickHouse, clock},
	}
}

// stepLimit bounds one check.
const stepLimit = 10 * time.Second

// look is how long instance watches a consumer group.
const look = 2 * time.Second

// patient is what is examined, with what earlier checks have opened.
type patient struct {
	cfg    app.Config
	up     map[string]bool // services that answer
	kafka  *kgo.Client
	topics map[string]kafka.TopicInfo
	tables driver.Conn
	look   time.Duration
}

// Examine makes all checks and returns what they found, in order; a check that
// found nothing has one finding that says ok.
func Examine(ctx context.Context, cfg app.Config) []Finding {
	p := &patient{cfg: cfg, up: map[string]bool{}, look: look}
	defer p.close()
	var out []Finding
	for _, c := range Checks() {
		out = append(out, p.check(ctx, c)...)
	}
	return out
}

func (p *patient) check(ctx context.Context, c Check) []Finding {
	if c.needs != "" && !p.up[c.needs] {
		return []Finding{{Check: c.Name, State: Skipped, Text: c.needs + " does not answer"}}
	}
	ctx, cancel := context.WithTimeout(ctx, stepLimit)
	defer cancel()
	found := c.run(ctx, p)
	if len(found) == 0 {
		found = []Finding{{State: OK, Text: c.Holds}}
	}
	for i := range found {
		found[i].Check = c.Name
	}
	return found
}

func (p *patient) close() {
	if p.kafka != nil {
		p.kafka.Close()
	}
	if p.tables != nil {
		_ = p.tables.Close()
	}
}

// Worst returns the worst state among findings.
func Worst(found []Finding) State {
	order := []State{OK, Skipped, Warning, Failure}
	worst := 0
	for _, f := range found {
		worst = max(worst, slices.Index(order, f.State))
	}
	return order[worst]
}

func ok(format string, args ...any) []Finding {
	return []Finding{{State: OK, Text: fmt.Sprintf(format, args...)}}
}

func warn(instead, format string, args ...any) Finding {
	return Finding{State: Warning, Text: fmt.Sprintf(format, args...), Instead: instead}
}

func fail(instead, format string, args ...any) Finding {
	return Finding{State: Failure, Text: fmt.Sprintf(format, args...), Instead: instead}
}
