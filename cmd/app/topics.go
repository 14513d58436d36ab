package app

import (
	"strconv"
	"strings"
	"time"

	"github.com/sira-ai/sira/pipeline/kafka"
	"github.com/sira-ai/sira/schemas/avro"
	"github.com/sira-ai/sira/sinks/clickhouse"
	sinkkafka "github.com/sira-ai/sira/sinks/kafka"
)

// Topic returns the full name of one of Sira's topics, such as results.
func (c *Config) Topic(name string) string { return c.Kafka.Prefix + name }

// RequestTopic returns the topic of a lane.
func (c *Config) RequestTopic(lane string) string { return c.Topic("requests." + lane) }

// The topics by their names without prefix.
const (
	TopicResults  = "results"
	TopicChunks   = "chunks"
	TopicCosts    = "events.costs"
	TopicAttempts = "events.attempts"
	TopicAudit    = "events.audit"
	TopicMetrics  = "events.metrics"
	TopicBudgets  = "events.budgets"
	TopicDead     = "dead"
	TopicCancels  = "cancels" // requests that nobody waits for any more, key: request id
	TopicBatch    = "batch"   // requests that wait for others of their batch
	TopicParked   = "parked"  // only without retry topics

	TopicHealth        = "events.health"
	TopicEndpoints     = "events.endpoints" // what workers saw, key: fleet
	TopicStates        = "state.endpoints"  // what follows from it, key: provider/endpoint
	TopicBudgetReserve = "budgets.reserve"
	TopicBudgetSettle  = "budgets.settle"
	TopicBudgetState   = "state.budgets"
	TopicCanaries      = "state.canaries" // key: canary/worker; compacted
)

// statesRetention is how long the state of an endpoint that is gone is kept.
const statesRetention = 24 * time.Hour

// tiers returns the retry topics: sira.retry.30s, sira.retry.2m, ….
func (c *Config) tiers() []sinkkafka.Tier {
	out := make([]sinkkafka.Tier, 0, len(c.Kafka.Retry))
	for _, d := range c.Kafka.Retry {
		out = append(out, sinkkafka.Tier{Delay: d, Topic: c.Topic("retry." + shortDuration(d))})
	}
	return out
}

// waiting returns the topics in which requests wait: the retry topics or, without
// any, one for those that wait for a vendor's long job.
func (c *Config) waiting() []sinkkafka.Tier {
	if tiers := c.tiers(); len(tiers) > 0 {
		return tiers
	}
	return []sinkkafka.Tier{{Delay: time.Minute, Topic: c.Topic(TopicParked)}}
}

func shortDuration(d time.Duration) string {
	switch {
	case d%time.Hour == 0:
		return strconv.Itoa(int(d/time.Hour)) + "h"
	case d%time.Minute == 0:
		return strconv.Itoa(int(d/time.Minute)) + "m"
	case d%time.Second == 0:
		return strconv.Itoa(int(d/time.Second)) + "s"
	}
	return strings.ReplaceAll(d.String(), "µ", "u")
}

func (c *Config) outputs() sinkkafka.Topics {
	return sinkkafka.Topics{
		Results: c.Topic(TopicResults), Costs: c.Topic(TopicCosts), Attempts: c.Topic(TopicAttempts),
		Audit: c.Topic(TopicAudit), Dead: c.Topic(TopicDead), Chunks: c.Topic(TopicChunks),
	}
}

func (c *Config) recorded() clickhouse.RecorderTopics {
	return clickhouse.RecorderTopics{
		Results: append([]string{c.Topic(TopicResults)}, c.Kafka.ReplyTopics...), Costs: c.Topic(TopicCosts), Attempts: c.Topic(TopicAttempts),
		Audit: c.Topic(TopicAudit), Metrics: c.Topic(TopicMetrics), Budgets: c.Topic(TopicBudgets), Dead: c.Topic(TopicDead),
		Health: c.Topic(TopicHealth),
	}
}

// Topics returns every topic that Sira needs, as it should be created.
func (c *Config) Topics() []kafka.TopicSpec {
	k := &c.Kafka
	spec := func(name string, partitions int32) kafka.TopicSpec {
		return kafka.TopicSpec{Name: name, Partitions: partitions, ReplicationFactor: k.Replication, MinInsyncReplicas: k.MinInsync, Retention: k.Retention}
	}
	var out []kafka.TopicSpec
	for _, l := range k.Lanes {
		out = append(out, spec(c.RequestTopic(l.Name), k.Partitions))
	}
	out = append(out, spec(c.Topic(TopicResults), k.Partitions), spec(c.Topic(TopicChunks), k.Partitions))
	for _, t := range k.ReplyTopics {
		out = append(out, spec(t, k.Partitions))
	}
	for _, t := range []string{TopicCosts, TopicAttempts, TopicAudit, TopicMetrics, TopicHealth, TopicBudgets, TopicBudgetReserve, TopicBudgetSettle, TopicCancels} {
		out = append(out, spec(c.Topic(t), k.EventPartitions))
	}
	state := spec(c.Topic(TopicBudgetState), k.EventPartitions)
	state.Compact, state.Retention = true, 0
	out = append(out, state)
	for _, t := range c.waiting() {
		out = append(out, spec(t.Topic, k.EventPartitions))
	}
	canaries := spec(c.Topic(TopicCanaries), 1)
	canaries.Compact, canaries.Retention = true, 0
	// What endpoints did an hour ago is of no use to anybody, and neither is yesterday's state.
	seen, states := spec(c.Topic(TopicEndpoints), k.EventPartitions), spec(c.Topic(TopicStates), k.EventPartitions)
	seen.Retention, states.Retention, states.Compact = time.Hour, statesRetention, true
	// One partition, so that one worker makes all batches and they are as large as may be.
	return append(out, seen, states, spec(c.Topic(TopicBatch), 1), spec(c.Topic(TopicDead), 1), canaries)
}

// Subjects says which topics carry which kind of value.
func (c *Config) Subjects() avro.Topics {
	t := avro.Topics{
		Results: append([]string{c.Topic(TopicResults)}, c.Kafka.ReplyTopics...), Chunks: []string{c.Topic(TopicChunks)},
		Costs: []string{c.Topic(TopicCosts)}, Attempts: []string{c.Topic(TopicAttempts)}, Audit: []string{c.Topic(TopicAudit)}, Metrics: []string{c.Topic(TopicMetrics)},
		Health: []string{c.Topic(TopicHealth)}, EndpointStats: []string{c.Topic(TopicEndpoints)}, EndpointStates: []string{c.Topic(TopicStates)},
		Budgets: []string{c.Topic(TopicBudgets)}, Cancels: []string{c.Topic(TopicCancels)},
	}
	for _, l := range c.Kafka.Lanes {
		t.Requests = append(t.Requests, c.RequestTopic(l.Name))
	}
	return t
}
