package doctor

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"go.uber.org/zap"
)

func reachKafka(ctx context.Context, p *patient) []Finding {
	brokers := strings.Join(p.cfg.Client().Brokers, ", ")
	cl, err := p.cfg.Client().NewClient(zap.NewNop(), nil)
	if err != nil {
		return []Finding{fail("kafka: what docs/configuration.md says of it", "%v", err)}
	}
	p.kafka = cl
	listed, err := kadm.NewClient(cl).BrokerMetadata(ctx)
	if err != nil {
		instead := "kafka.brokers: addresses that answer from here; mind kafka.tls and kafka.sasl, which brokers answer wrongly with silence"
		if p.cfg.UsesEmbeddedKafka() {
			instead = "sira up, which starts the embedded broker; or kafka.brokers"
		}
		return []Finding{fail(instead, "no broker answers at %s: %v", brokers, err)}
	}
	p.up[needsKafka] = true
	if len(listed.Brokers) == 1 && !p.cfg.UsesEmbeddedKafka() {
		return []Finding{warn("three brokers, for anything that must not stop", "one broker answers at %s: while it is away nothing is answered", brokers)}
	}
	return ok("%d brokers answer at %s.", len(listed.Brokers), brokers)
}

func kafkaLogin(_ context.Context, p *patient) []Finding {
	k := p.cfg.Kafka.Config
	if k.SASL == nil || k.TLS != nil {
		return nil
	}
	for _, b := range k.Brokers {
		host, _, _ := strings.Cut(b, ":")
		if !loopback(host) {
			return []Finding{fail("kafka.tls: {}", "kafka.sasl without kafka.tls: the login to %s can be read on the way", b)}
		}
	}
	return nil
}

// ourTransactions is how long the brokers are asked to let a transaction of a
// worker live.
const ourTransactions = 10 * time.Second

func transactions(ctx context.Context, p *patient) []Finding {
	adm := kadm.NewClient(p.kafka)
	configs, err := adm.DescribeBrokerConfigs(ctx)
	if err != nil {
		return []Finding{{State: Skipped, Text: fmt.Sprintf("the brokers do not tell their settings: %v", err)}}
	}
	for _, broker := range configs {
		for _, c := range broker.Configs {
			if c.Key != "transaction.max.timeout.ms" || c.Value == nil {
				continue
			}
			ms, err := strconv.ParseInt(*c.Value, 10, 64)
			if limit := time.Duration(ms) * time.Millisecond; err == nil && limit < ourTransactions {
				return []Finding{fail(fmt.Sprintf("transaction.max.timeout.ms=%d or more for the brokers", ourTransactions.Milliseconds()),
					"broker %s allows transactions of %s, and workers ask for %s: they can't begin", broker.Name, limit, ourTransactions)}
			}
		}
	}
	return nil
}

// instance watches the groups of the lanes: when two processes of one name fence
// each other, the member of that name changes all the time.
func instance(ctx context.Context, p *patient) []Finding {
	before, err := p.members(ctx)
	if err != nil {
		return []Finding{{State: Skipped, Text: fmt.Sprintf("the consumer groups can't be described: %v", err)}}
	}
	if len(before) == 0 {
		if p.cfg.Instance == "localhost" {
			return []Finding{warn("instance: a name that no other process has", "instance is localhost, the name of every machine without one")}
		}
		return ok("No worker named %s is there.", p.cfg.Instance)
	}
	select {
	case <-time.After(p.look):
	case <-ctx.Done():
	}
	after, err := p.members(ctx)
	if err != nil {
		return []Finding{{State: Skipped, Text: fmt.Sprintf("the consumer groups can't be described: %v", err)}}
	}
	return replaced(before, after, p.cfg.Instance)
}

// replaced judges the members of one name at two moments.
func replaced(before, after map[string]string, name string) []Finding {
	for group, was := range before {
		if now := after[group]; now != was {
			return []Finding{fail("instance: a name of its own for every process, such as that of its pod",
				"group %s: the worker named %s was replaced while we looked: it restarts, or two processes have that name and fence each other", group, name)}
		}
	}
	return ok("One worker is named %s, and stays.", name)
}

// members returns by group the member that has the document's instance name.
func (p *patient) members(ctx context.Context) (map[string]string, error) {
	var groups []string
	for _, l := range p.cfg.Kafka.Lanes {
		groups = append(groups, p.cfg.Kafka.Prefix+"worker."+l.Name)
	}
	described, err := kadm.NewClient(p.kafka).DescribeGroups(ctx, groups...)
	var shard *kadm.ShardErrors
	if err != nil && !errors.As(err, &shard) {
		return nil, err
	}
	out := map[string]string{}
	for name, g := range described {
		for _, m := range g.Members {
			if m.InstanceID != nil && *m.InstanceID == p.cfg.Instance {
				out[name] = m.MemberID
			}
		}
	}
	return out, nil
}
