package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// bareCommand makes this program the bare loop.
const bareCommand = "bare-loop"

// bareJob is what the bare loop needs to know.
type bareJob struct {
	Brokers  []string
	Prefix   string // of topics and group
	Provider string // address to post to
	InFlight int
	Flush    time.Duration // between transactions
	Samples  string        // file of what Sira wrote to the output topics, as JSON
}

func (j *bareJob) text() (string, error) {
	b, err := json.Marshal(j)
	return string(b), err
}

// samples are values of the four output topics, see outputTopics. The loop writes
// them over and over, so that its records are as long and compress as well as
// Sira's.
type samples [4][][]byte

// bare is what someone writes who needs no gateway: read a request, post it,
// write four records and the offset in one transaction. It neither decodes nor
// routes, prices, retries or encodes. After a crash it would lose requests: it
// commits the highest finished offset, which costs as much as the right one.
type bare struct {
	job      bareJob
	consumer *kgo.Client
	producer *kgo.Client
	http     *http.Client
	outputs  samples
	highest  map[int32]int64          // finished offset of each partition, plus one
	topicID  atomic.Pointer[[16]byte] // brokers want it with offsets
	requests chan *kgo.Record
	done     chan *kgo.Record
}

func runBare(text string) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	b := &bare{highest: map[int32]int64{}}
	if err := json.Unmarshal([]byte(text), &b.job); err != nil {
		return fmt.Errorf("reading job: %w", err)
	}
	file, err := os.ReadFile(b.job.Samples)
	if err != nil {
		return fmt.Errorf("reading samples: %w", err)
	}
	if err := json.Unmarshal(file, &b.outputs); err != nil {
		return fmt.Errorf("reading samples: %w", err)
	}
	n := b.job.InFlight
	b.requests, b.done = make(chan *kgo.Record, n), make(chan *kgo.Record, 4*n)
	b.http = &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: n, DisableCompression: true}}
	b.consumer, err = kgo.NewClient(kgo.SeedBrokers(b.job.Brokers...), kgo.ConsumerGroup(b.group()), kgo.ConsumeTopics(b.job.Prefix+"requests.standard"),
		kgo.DisableAutoCommit(), kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.FetchMaxBytes(8<<20), kgo.FetchMaxPartitionBytes(1<<20), kgo.FetchMaxWait(500*time.Millisecond))
	if err != nil {
		return err
	}
	defer b.consumer.Close()
	b.producer, err = kgo.NewClient(kgo.SeedBrokers(b.job.Brokers...), kgo.TransactionalID(b.group()), kgo.ProducerLinger(0), kgo.MaxBufferedRecords(1<<20))
	if err != nil {
		return err
	}
	defer b.producer.Close()
	return b.loop(ctx)
}

func (b *bare) group() string { return b.job.Prefix + "worker.standard" }

func (b *bare) loop(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var wg sync.WaitGroup
	for range b.job.InFlight {
		wg.Go(func() {
			for {
				select {
				case r := <-b.requests:
					if err := b.post(ctx, r); err != nil {
						cancel(err)
						return
					}
				case <-ctx.Done():
					return
				}
			}
		})
	}
	wg.Go(func() { cancel(b.commitLoop(ctx)) })
	for ctx.Err() == nil {
		fetches := b.consumer.PollRecords(ctx, 2*b.job.InFlight)
		fetches.EachTopic(func(t kgo.FetchTopic) { b.topicID.Store(&t.TopicID) })
		for r := range fetches.RecordsAll() {
			select {
			case b.requests <- r:
			case <-ctx.Done():
			}
		}
	}
	wg.Wait()
	if err := context.Cause(ctx); !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

const bareBody = `{"model":"gpt-4o-mini","messages":[{"role":"system","content":"You answer in one sentence."},{"role":"user","content":"Why does a log-structured store write so fast, and what does it pay for that when it reads?"}]}`

func (b *bare) post(ctx context.Context, r *kgo.Record) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, b.job.Provider, strings.NewReader(bareBody))
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer any")
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Idempotency-Key", string(r.Key))
	resp, err := b.http.Do(req)
	if err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, resp.Body)
	if err := errors.Join(err, resp.Body.Close()); err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("the provider answers %s", resp.Status)
	}
	select {
	case b.done <- r:
	case <-ctx.Done():
	}
	return nil
}

// commitLoop writes what is finished in transactions, one each flush interval.
func (b *bare) commitLoop(ctx context.Context) error {
	tick := time.NewTicker(b.job.Flush)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
		var batch []*kgo.Record
		for n := len(b.done); n > 0; n-- {
			batch = append(batch, <-b.done)
		}
		if len(batch) == 0 {
			continue
		}
		if err := b.transact(context.WithoutCancel(ctx), batch); err != nil {
			return err
		}
	}
}

func (b *bare) transact(ctx context.Context, batch []*kgo.Record) error {
	if err := b.producer.BeginTransaction(); err != nil {
		return err
	}
	first := kgo.AbortingFirstErrPromise(b.producer)
	for _, r := range batch {
		b.highest[r.Partition] = max(b.highest[r.Partition], r.Offset+1)
		for i, topic := range outputTopics {
			b.producer.Produce(ctx, &kgo.Record{Topic: b.job.Prefix + topic, Key: r.Key, Value: b.outputs[i][int(r.Offset)%len(b.outputs[i])]}, first.Promise())
		}
	}
	if err := errors.Join(b.producer.Flush(ctx), first.Err()); err != nil {
		return err
	}
	if err := b.commitOffsets(ctx, batch[0].Topic); err != nil {
		return err
	}
	return b.producer.EndTransaction(ctx, kgo.TryCommit)
}

func (b *bare) commitOffsets(ctx context.Context, topic string) error {
	id, epoch, err := b.producer.ProducerID(ctx)
	if err != nil {
		return err
	}
	add := kmsg.NewPtrAddOffsetsToTxnRequest()
	add.TransactionalID, add.ProducerID, add.ProducerEpoch, add.Group = b.group(), id, epoch, b.group()
	if _, err := add.RequestWith(ctx, b.producer); err != nil {
		return err
	}
	req := kmsg.NewPtrTxnOffsetCommitRequest()
	req.TransactionalID, req.Group, req.ProducerID, req.ProducerEpoch = b.group(), b.group(), id, epoch
	req.MemberID, req.Generation = b.consumer.GroupMetadata()
	rt := kmsg.NewTxnOffsetCommitRequestTopic()
	rt.Topic, rt.TopicID = topic, *b.topicID.Load()
	for p, offset := range b.highest {
		rp := kmsg.NewTxnOffsetCommitRequestTopicPartition()
		rp.Partition, rp.Offset = p, offset
		rt.Partitions = append(rt.Partitions, rp)
	}
	req.Topics = append(req.Topics, rt)
	resp, err := req.RequestWith(ctx, b.producer)
	if err != nil {
		return err
	}
	for _, t := range resp.Topics {
		for _, p := range t.Partitions {
			if err := kerr.ErrorForCode(p.ErrorCode); err != nil {
				return fmt.Errorf("committing offset of partition %d: %w", p.Partition, err)
			}
		}
	}
	return nil
}
