package doctor

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/sira-ai/sira/pipeline/kafka"
	"github.com/sira-ai/sira/schemas"
)

// missingTopics reads all topics, for the checks after it.
func missingTopics(ctx context.Context, p *patient) []Finding {
	var names []string
	for _, t := range p.cfg.Topics() {
		names = append(names, t.Name)
	}
	found, err := kafka.ListTopics(ctx, p.kafka, names)
	p.topics = map[string]kafka.TopicInfo{}
	for _, t := range found {
		p.topics[t.Name] = t
	}
	names = slices.DeleteFunc(names, func(n string) bool { _, there := p.topics[n]; return there })
	switch {
	case len(names) == 0:
		return ok("All %d topics are there.", len(found))
	case errors.Is(err, kerr.UnknownTopicOrPartition):
		return []Finding{warn("sira topics create, or let a worker make them when it starts", "missing: %s", strings.Join(names, ", "))}
	}
	return []Finding{fail("rights to describe these topics and their settings (docs/security.md)", "%s can't be described: %v", strings.Join(names, ", "), err)}
}

// each calls do for every topic that exists, in the order of the configuration.
func (p *patient) each(do func(want kafka.TopicSpec, have kafka.TopicInfo) []Finding) (out []Finding) {
	for _, want := range p.cfg.Topics() {
		if have, there := p.topics[want.Name]; there {
			out = append(out, do(want, have)...)
		}
	}
	return out
}

func partitions(_ context.Context, p *patient) []Finding {
	return p.each(func(want kafka.TopicSpec, have kafka.TopicInfo) []Finding {
		if n := int32(len(have.Partitions)); n < want.Partitions {
			return []Finding{fail(fmt.Sprintf("kafka-topics.sh --alter --topic %s --partitions %d, or fewer kafka.partitions", want.Name, want.Partitions),
				"%s has %d partitions and the configuration asks for %d: nothing starts", want.Name, n, want.Partitions)}
		}
		for _, part := range have.Partitions {
			if part.Leader < 0 {
				return []Finding{fail("the broker that is away", "%s: partition %d has no leader: its requests wait", want.Name, part.Partition)}
			}
		}
		return nil
	})
}

func cleanup(_ context.Context, p *patient) []Finding {
	return p.each(func(want kafka.TopicSpec, have kafka.TopicInfo) []Finding {
		policy := have.Config["cleanup.policy"]
		if !want.Compact && strings.Contains(policy, "compact") {
			return []Finding{fail("cleanup.policy=delete for "+want.Name, "%s has cleanup.policy=%s: of two records with one key the older one disappears", want.Name, policy)}
		}
		return nil
	})
}

func retention(_ context.Context, p *patient) []Finding {
	ages := map[string]time.Duration{}
	for _, l := range p.cfg.Kafka.Lanes {
		ages[p.cfg.RequestTopic(l.Name)] = l.MaxAge
	}
	return p.each(func(want kafka.TopicSpec, have kafka.TopicInfo) []Finding {
		if bytes, err := strconv.ParseInt(have.Config["retention.bytes"], 10, 64); err == nil && bytes >= 0 {
			return []Finding{warn("retention.bytes=-1 for "+want.Name, "%s forgets records above %d bytes a partition, read or not", want.Name, bytes)}
		}
		ms, err := strconv.ParseInt(have.Config["retention.ms"], 10, 64)
		if err != nil || ms < 0 {
			return nil
		}
		keeps := time.Duration(ms) * time.Millisecond
		instead := fmt.Sprintf("retention.ms=%d for %s", want.Retention.Milliseconds(), want.Name)
		switch age := ages[want.Name]; {
		case keeps < age:
			return []Finding{fail(instead, "%s forgets records after %s, and requests of its lane may wait for %s: they would be lost without an answer", want.Name, keeps, age)}
		case keeps < want.Retention/2:
			return []Finding{warn(instead+", or a shorter kafka.retention", "%s keeps records for %s and the configuration says %s", want.Name, keeps, want.Retention)}
		}
		return nil
	})
}

func replication(ctx context.Context, p *patient) []Finding {
	listed, err := kadm.NewClient(p.kafka).BrokerMetadata(ctx)
	if err != nil {
		return []Finding{{State: Skipped, Text: fmt.Sprintf("the brokers are not told: %v", err)}}
	}
	brokers := len(listed.Brokers)
	return p.each(func(want kafka.TopicSpec, have kafka.TopicInfo) []Finding {
		insync, err := strconv.Atoi(have.Config["min.insync.replicas"])
		switch {
		case err != nil:
			return nil
		case insync > have.Replicas:
			return []Finding{fail(fmt.Sprintf("min.insync.replicas=%d for %s, or more copies", max(have.Replicas-1, 1), want.Name),
				"%s has %d copies and min.insync.replicas=%d: nothing can be written", want.Name, have.Replicas, insync)}
		case have.Replicas == 1 && brokers > 2:
			return []Finding{fail("three copies (kafka.replication_factor: 3 for new topics, kafka-reassign-partitions.sh for this one)",
				"%s has one copy on a cluster of %d brokers: with its broker its records are gone", want.Name, brokers)}
		case have.Replicas > 1 && insync == have.Replicas:
			return []Finding{warn(fmt.Sprintf("min.insync.replicas=%d for %s", insync-1, want.Name), "%s has %d copies and asks for all of them: one broker away stops it", want.Name, have.Replicas)}
		case have.Replicas > 2 && insync == 1:
			return []Finding{warn("min.insync.replicas=2 for "+want.Name+" (kafka.min_insync_replicas: 2 for new topics)", "%s has %d copies and takes records that only one broker has", want.Name, have.Replicas)}
		}
		return nil
	})
}

// largestRecord is what Sira writes in one record at most: a payload just below
// the size from which it travels by reference, and headers.
const largestRecord = schemas.ClaimCheckBytes + 64<<10

func messageSize(_ context.Context, p *patient) []Finding {
	return p.each(func(want kafka.TopicSpec, have kafka.TopicInfo) []Finding {
		if n, err := strconv.Atoi(have.Config["max.message.bytes"]); err == nil && n < largestRecord {
			return []Finding{fail("max.message.bytes=1048588 for "+want.Name, "%s takes records of up to %d bytes, and Sira writes up to %d", want.Name, n, largestRecord)}
		}
		return nil
	})
}
