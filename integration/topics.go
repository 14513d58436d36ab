package integration

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/sira-ai/sira/cmd/app"
	"github.com/sira-ai/sira/handlers/simulate"
	"github.com/sira-ai/sira/pipeline/kafka"
	"github.com/sira-ai/sira/schemas"
	"github.com/sira-ai/sira/schemas/avro"
)

// Producer puts requests on the lane "standard".
type Producer struct {
	Client *kgo.Client
	Codecs *avro.Codecs
	topic  string
}

// NewProducer makes the topics, registers the schemas and returns a producer.
func NewProducer(ctx context.Context, cfg app.Config) (*Producer, error) {
	cl, err := cfg.Client().NewClient(nil, nil, kgo.ProducerBatchMaxBytes(1<<20), kgo.MaxBufferedRecords(50_000), kgo.ProducerLinger(0))
	if err != nil {
		return nil, err
	}
	p := &Producer{Client: cl, topic: cfg.RequestTopic("standard")}
	if err := p.prepare(ctx, cfg); err != nil {
		cl.Close()
		return nil, err
	}
	return p, nil
}

func (p *Producer) prepare(ctx context.Context, cfg app.Config) error {
	if _, err := kafka.EnsureTopics(ctx, p.Client, cfg.Topics()); err != nil {
		return err
	}
	registry, err := cfg.OpenRegistry()
	if err != nil {
		return err
	}
	p.Codecs = avro.NewCodecs(registry)
	return p.Codecs.Register(ctx, registry, avro.Topics{Requests: []string{p.topic}})
}

// Request returns the request with the given id. Its prompt has the length of a
// short question.
func Request(id string) *schemas.Request {
	return &schemas.Request{
		ID: id, Tenant: "acme", Model: "gpt-4o-mini", CreatedAt: time.Now(), Labels: map[string]string{"team": "search"},
		Messages: []schemas.Message{
			schemas.TextMessage(schemas.RoleSystem, "You answer in one sentence."),
			schemas.TextMessage(schemas.RoleUser, "Why does a log-structured store write so fast, and what does it pay for that when it reads?"),
		},
	}
}

// Record writes a request as Avro, or as JSON.
func (p *Producer) Record(r *schemas.Request, asJSON bool) (*kgo.Record, error) {
	var value []byte
	var err error
	if asJSON {
		value, err = json.Marshal(r)
	} else {
		value, err = p.Codecs.Request.Append(nil, r)
	}
	return &kgo.Record{Topic: p.topic, Key: []byte(r.ID), Value: value, Headers: []kgo.RecordHeader{
		{Key: schemas.HeaderID, Value: []byte(r.ID)}, {Key: schemas.HeaderTenant, Value: []byte(r.Tenant)},
	}}, err
}

// Enqueue produces requests r0 to r(n-1), every second one as JSON, and returns
// when the broker has them.
func (p *Producer) Enqueue(ctx context.Context, n int) error {
	first := new(kgo.FirstErrPromise)
	for i := range n {
		rec, err := p.Record(Request(fmt.Sprintf("r%d", i)), i%2 == 0)
		if err != nil {
			return err
		}
		p.Client.Produce(ctx, rec, first.Promise())
	}
	return errors.Join(p.Client.Flush(ctx), first.Err())
}

// EachCommitted calls do for every record of a topic that is committed now, as
// readers of committed records see them.
func EachCommitted(ctx context.Context, cfg kafka.Config, topic string, do func(*kgo.Record) error) error {
	cl, err := cfg.NewClient(nil, nil)
	if err != nil {
		return err
	}
	ends, err := kadm.NewClient(cl).ListCommittedOffsets(ctx, topic)
	cl.Close()
	if err = errors.Join(err, ends.Error()); err != nil {
		return fmt.Errorf("listing offsets of %s: %w", topic, err)
	}
	left := map[int32]int64{}
	from := map[int32]kgo.Offset{}
	ends.Each(func(o kadm.ListedOffset) {
		if o.Offset > 0 {
			left[o.Partition], from[o.Partition] = o.Offset, kgo.NewOffset().At(0)
		}
	})
	if len(left) == 0 {
		return nil
	}
	// Control records say how far a partition was read: the last one may be such.
	cl, err = cfg.NewClient(nil, nil, kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: from}),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.KeepControlRecords())
	if err != nil {
		return err
	}
	defer cl.Close()
	for len(left) > 0 {
		fetches := cl.PollFetches(ctx)
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("reading %s: %w", topic, err)
		}
		for r := range fetches.RecordsAll() {
			end, ok := left[r.Partition]
			if !ok || r.Offset >= end {
				continue
			}
			if !r.Attrs.IsControl() {
				if err := do(r); err != nil {
					return err
				}
			}
			if r.Offset == end-1 {
				delete(left, r.Partition)
			}
		}
	}
	return nil
}

// SetSimulator sets how the provider of a site behaves.
func SetSimulator(ctx context.Context, cfg app.Config, b simulate.Behaviour) error {
	text, err := json.Marshal(b)
	if err != nil {
		return fmt.Errorf("writing behaviour: %w", err)
	}
	return call(ctx, http.MethodPut, "http://"+cfg.Simulator.Listen+"/_sim/instances/llm", text, nil)
}

// SimulatorStats returns what the provider of a site counted.
func SimulatorStats(ctx context.Context, cfg app.Config) (simulate.Stats, error) {
	var s simulate.Stats
	err := call(ctx, http.MethodGet, "http://"+cfg.Simulator.Listen+"/_sim/stats", nil, &s)
	return s, err
}
