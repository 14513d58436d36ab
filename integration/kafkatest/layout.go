package kafkatest

import (
	_ "embed"
	"encoding/base64"
	"fmt"
	"maps"
	"net"
	"slices"
	"strconv"
	"strings"

	"github.com/google/uuid"
)

//go:embed pom.xml
var pom string

// Version returns the version of Apache Kafka that is started, as in "4.4.0".
func Version() string {
	_, rest, _ := strings.Cut(pom, "<kafka.version>")
	version, _, _ := strings.Cut(rest, "</kafka.version>")
	return version
}

// layout is a cluster on paper.
type layout struct {
	clusterID string
	dir       string
	members   []member
	extra     map[string]string
}

// member is one broker of a layout.
type member struct {
	id                           int
	client, internal, controller int // Ports.
}

const (
	loopback     = "127.0.0.1"
	portsPerNode = 3
)

func newLayout(ports []int, opts Options) layout {
	id := uuid.New()
	l := layout{
		clusterID: base64.RawURLEncoding.EncodeToString(id[:]),
		dir:       opts.Dir,
		extra:     opts.Properties,
	}
	for i := range opts.Brokers {
		p := ports[portsPerNode*i:]
		l.members = append(l.members, member{id: i + 1, client: p[0], internal: p[1], controller: p[2]})
	}
	return l
}

func (m member) clientAddress() string { return address(loopback, m.client) }

// place tells where the brokers run: listen is the address they bind, and peer that at which others find them.
type place struct {
	listen string
	peer   func(member) string
}

// properties returns the server.properties of one broker that keeps its data in dataDir.
//
// Three listeners, because a container is not reached at the same address by the test as by other containers: CLIENT is
// for the test, INTERNAL for replication, CONTROLLER for KRaft.
func (l layout) properties(m member, at place, dataDir string) string {
	copies := strconv.Itoa(len(l.members))
	settings := map[string]string{
		"process.roles":                  "broker,controller",
		"node.id":                        strconv.Itoa(m.id),
		"log.dirs":                       dataDir,
		"controller.quorum.voters":       l.voters(at),
		"controller.listener.names":      "CONTROLLER",
		"inter.broker.listener.name":     "INTERNAL",
		"listener.security.protocol.map": "CLIENT:PLAINTEXT,INTERNAL:PLAINTEXT,CONTROLLER:PLAINTEXT",
		"listeners": fmt.Sprintf("CLIENT://%s,INTERNAL://%s,CONTROLLER://%s",
			address(at.listen, m.client), address(at.listen, m.internal), address(at.listen, m.controller)),
		"advertised.listeners": fmt.Sprintf("CLIENT://%s,INTERNAL://%s",
			m.clientAddress(), address(at.peer(m), m.internal)),

		"auto.create.topics.enable":                "false",
		"default.replication.factor":               copies,
		"offsets.topic.num.partitions":             "4",
		"offsets.topic.replication.factor":         copies,
		"transaction.state.log.num.partitions":     "4",
		"transaction.state.log.replication.factor": copies,
		"transaction.state.log.min.isr":            "1",

		// After a kill the controller refuses the broker until its last session has run out: 9 s by default.
		"broker.session.timeout.ms":    "3000",
		"broker.heartbeat.interval.ms": "500",

		// Tests wait for groups and for abandoned transactions; the defaults are 3 s, 45 s and 10 s.
		"group.initial.rebalance.delay.ms":                            "0",
		"group.min.session.timeout.ms":                                "6000",
		"group.consumer.session.timeout.ms":                           "6000",
		"group.consumer.min.session.timeout.ms":                       "6000",
		"group.consumer.heartbeat.interval.ms":                        "1000",
		"group.consumer.min.heartbeat.interval.ms":                    "1000",
		"transaction.abort.timed.out.transaction.cleanup.interval.ms": "1000",

		// A small broker: few threads, and 2 MiB rather than 128 MiB for the log cleaner.
		"num.network.threads":               "1",
		"num.io.threads":                    "2",
		"num.replica.fetchers":              "1",
		"background.threads":                "2",
		"num.recovery.threads.per.data.dir": "1",
		"log.cleaner.dedupe.buffer.size":    "2097152",
	}
	maps.Copy(settings, l.extra)

	escape := strings.NewReplacer(`\`, `\\`, "\n", `\n`)
	var b strings.Builder
	for _, key := range slices.Sorted(maps.Keys(settings)) {
		fmt.Fprintf(&b, "%s=%s\n", key, escape.Replace(settings[key]))
	}
	return b.String()
}

func (l layout) voters(at place) string {
	voters := make([]string, len(l.members))
	for i, m := range l.members {
		voters[i] = fmt.Sprintf("%d@%s", m.id, address(at.peer(m), m.controller))
	}
	return strings.Join(voters, ",")
}

func address(host string, port int) string { return net.JoinHostPort(host, strconv.Itoa(port)) }
