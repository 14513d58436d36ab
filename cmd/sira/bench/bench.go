// Package bench puts requests on Kafka at the times of a schedule, whatever the
// answers take, and measures how long after its intended time the result of each
// was visible to a reader of committed records.
//
// The schedule does not wait for anyone: a request that could not be sent in time,
// because the broker or this process was slow, is late by its own fault and by
// that of all before it, as it is for users. Measuring from the moment of sending
// would leave out what is worst (coordinated omission).
package bench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/sira-ai/sira/pipeline/kafka"
	"github.com/sira-ai/sira/schemas"
	"github.com/sira-ai/sira/schemas/avro"
)

// The formats of requests.
const (
	JSON = "json"
	Avro = "avro"
)

// Kind is a sort of request that is measured apart.
type Kind struct {
	Format string `json:"format"` // JSON or Avro
	Stream bool   `json:"stream,omitempty"`
}

// String names the kind in tables.
func (k Kind) String() string {
	if k.Stream {
		return k.Format + ", streamed"
	}
	return k.Format
}

// Config says what a run sends and where.
type Config struct {
	Client   kafka.Config
	Codecs   *avro.Codecs // its requests are registered if a kind is of Avro
	Requests string       // topic
	Results  string       // topic
	Chunks   string       // topic of streams

	Schedule []Arrival         // in order of time
	Kinds    []Kind            // sent in turns
	Model    string            // of arrivals that name none
	Models   map[string]string // what stands for the names of a trace; others become Model
	Tenant   string            // of all requests; with Tenants, the beginning of their names
	Tenants  int               // how many share the requests; up to 1: Tenant alone
	Labels   map[string]string

	Wait     time.Duration           // how long to wait for the last result
	Progress func(sent, settled int) // called now and then, by one goroutine at a time; may be nil
}

// progressEvery is how often Progress is called.
const progressEvery = 100 * time.Millisecond

// Do sends the schedule, waits for the results and returns what was measured. The
// topics exist. Results that never come are counted, not an error.
func (c *Config) Do(ctx context.Context) (*Run, error) {
	name, err := runName()
	if err != nil {
		return nil, err
	}
	t := newTally(c.Schedule, c.Kinds)
	w := &watcher{cfg: c, prefix: name + "-", tally: t}
	if err := w.open(ctx); err != nil {
		return nil, err
	}
	defer w.close()
	s := &sender{cfg: c, prefix: name + "-", tally: t}
	if err := s.open(); err != nil {
		return nil, err
	}
	defer s.close()

	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer stop(nil)
	wg.Go(func() {
		if err := w.watch(ctx); err != nil {
			stop(err)
		}
	})
	if c.Progress != nil {
		wg.Go(func() { c.report(ctx, t) })
	}
	began := time.Now()
	t.start(began)
	if err := s.send(ctx, began); err != nil {
		return nil, err
	}
	if err := t.wait(ctx, c.Wait); err != nil {
		return nil, err
	}
	return t.run(name), nil
}

func (c *Config) report(ctx context.Context, t *tally) {
	tick := time.NewTicker(progressEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			c.Progress(t.progress())
		case <-ctx.Done():
			return
		}
	}
}

// sender puts the requests on their topic.
type sender struct {
	cfg    *Config
	prefix string
	tally  *tally
	client *kgo.Client
}

func (s *sender) open() (err error) {
	s.client, err = s.cfg.Client.NewClient(nil, nil, kgo.ProducerLinger(0), kgo.MaxBufferedRecords(100_000), kgo.ProducerBatchMaxBytes(1<<20))
	return err
}

func (s *sender) close() { s.client.Close() }

// send produces every request at its time, or as soon after as it can.
func (s *sender) send(ctx context.Context, began time.Time) error {
	var first kgo.FirstErrPromise
	timer := time.NewTimer(0)
	defer timer.Stop()
	for i := range s.cfg.Schedule {
		rec, err := s.record(i) // before its time, so that writing it costs no latency
		if err != nil {
			return err
		}
		if ahead := time.Until(began.Add(s.cfg.Schedule[i].At)); ahead > 0 {
			timer.Reset(ahead)
			select {
			case <-timer.C:
			case <-ctx.Done():
				return fmt.Errorf("sending request %d of %d: %w", i+1, len(s.cfg.Schedule), context.Cause(ctx))
			}
		}
		rec.Timestamp = time.Now()
		s.tally.sent(i, rec.Timestamp)
		s.client.Produce(ctx, rec, first.Promise())
	}
	if err := errors.Join(s.client.Flush(ctx), first.Err()); err != nil {
		return fmt.Errorf("sending requests: %w", err)
	}
	return nil
}

func (s *sender) record(i int) (*kgo.Record, error) {
	c, a := s.cfg, &s.cfg.Schedule[i]
	kind := c.Kinds[i%len(c.Kinds)]
	id := s.prefix + strconv.Itoa(i)
	r := &schemas.Request{
		ID: id, Tenant: c.tenant(i), Model: c.model(a.Model), Labels: c.Labels, Stream: kind.Stream, CreatedAt: time.Now(),
		Messages: []schemas.Message{schemas.TextMessage(schemas.RoleUser, prompt(i, a.Input))},
	}
	if a.Output > 0 {
		n := int64(a.Output)
		r.MaxTokens = &n
	}
	rec := &kgo.Record{Topic: c.Requests, Key: []byte(id), Headers: []kgo.RecordHeader{
		{Key: schemas.HeaderID, Value: []byte(id)}, {Key: schemas.HeaderTenant, Value: []byte(r.Tenant)},
	}}
	var err error
	if kind.Format == Avro {
		rec.Value, err = c.Codecs.Request.Append(nil, r)
	} else {
		rec.Headers = append(rec.Headers, kgo.RecordHeader{Key: schemas.HeaderContentType, Value: []byte(schemas.ContentTypeJSON)})
		rec.Value, err = json.Marshal(r)
	}
	if err != nil {
		return nil, fmt.Errorf("writing request %d: %w", i, err)
	}
	return rec, nil
}

func (c *Config) tenant(i int) string {
	if c.Tenants < 2 {
		return c.Tenant
	}
	// Kinds alternate too: a step that shares no factor with their number would tie
	// tenants to kinds.
	return c.Tenant + "-" + strconv.Itoa(i/len(c.Kinds)%c.Tenants)
}

func (c *Config) model(named string) string {
	if m, ok := c.Models[named]; ok {
		return m
	}
	return c.Model
}

const (
	// charsPerToken is what English text has with the vendors' tokenizers.
	charsPerToken = 4
	// maxPrompt keeps requests below the size from which payloads travel by reference.
	maxPrompt = 200 << 10
	question  = "Why does a log-structured store write so fast, and what does it pay for that when it reads? "
)

// filler is cut into prompts. They begin at different places, so that neither
// compression nor a vendor's cache meets the same text every time.
var filler = strings.Repeat(question+"The store keeps recent writes in memory and older ones in sorted files; a reader has to look into several of them. ", maxPrompt*2/200)

func prompt(i, tokens int) string {
	if tokens == 0 {
		return question
	}
	n := min(tokens*charsPerToken, maxPrompt)
	from := i * 61 % (len(filler) - maxPrompt)
	return filler[from : from+n]
}
