package integration

import (
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"math"
	"math/rand/v2"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/sira-ai/sira/cmd/app"
	"github.com/sira-ai/sira/schemas"
)

// attack is a record that means harm, or is only broken.
type attack struct {
	name string
	rec  kgo.Record
	// raw, if set, is what the batch's records section holds in place of rec, with
	// this compression.
	raw   []byte
	codec int8
	// want are the codes that its result may have; none: any failure.
	want []schemas.Code
	// dead is the reason on the dead-letter topic; empty: there need not be a letter.
	dead schemas.DeadReason
}

// siege is a gateway under attack. It remembers where every record went, and holds
// results against that.
type siege struct {
	*gateway
	sent    map[string]*attack // by topic/partition/offset
	results map[string][]schemas.Result
	letters map[string][]schemas.DeadReason
}

func besiege(t *testing.T, g *gateway) *siege {
	t.Helper()
	var err error
	if g.client, err = g.app.Client().NewClient(nil, nil, kgo.ProducerLinger(0), kgo.ProducerBatchMaxBytes(64<<20),
		kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerBatchCompression(kgo.ZstdCompression())); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(g.client.Close)
	return &siege{gateway: g, sent: map[string]*attack{}}
}

// strike puts an attack on a lane's topic and notes where it went.
func (s *siege) strike(t *testing.T, partition int32, a *attack) {
	t.Helper()
	topic := s.cfg.RequestTopic("standard")
	var offset int64
	if a.raw != nil {
		offset = s.rawBatch(t, topic, partition, a)
	} else {
		rec := a.rec
		rec.Topic, rec.Partition = topic, partition
		if err := s.client.ProduceSync(t.Context(), &rec).FirstErr(); err != nil {
			t.Fatalf("%s: %v", a.name, err)
		}
		offset = rec.Offset
	}
	s.sent[fmt.Sprintf("%s/%d/%d", topic, partition, offset)] = a
}

// rawBatch produces a batch of one record whose records section is what the attack
// says, with a checksum that is right.
func (s *siege) rawBatch(t *testing.T, topic string, partition int32, a *attack) int64 {
	t.Helper()
	now := time.Now().UnixMilli()
	b := kmsg.RecordBatch{
		PartitionLeaderEpoch: -1, Magic: 2, Attributes: int16(a.codec), FirstTimestamp: now, MaxTimestamp: now,
		ProducerID: -1, ProducerEpoch: -1, FirstSequence: -1, NumRecords: 1, Records: a.raw,
	}
	b.Length = int32(49 + len(a.raw))
	wire := b.AppendTo(nil)
	binary.BigEndian.PutUint32(wire[17:], crc32.Checksum(wire[21:], crc32.MakeTable(crc32.Castagnoli)))
	req := kmsg.NewPtrProduceRequest()
	req.Acks, req.TimeoutMillis = -1, 10_000
	part := kmsg.NewProduceRequestTopicPartition()
	part.Partition, part.Records = partition, wire
	at := kmsg.NewProduceRequestTopic()
	at.Topic, at.Partitions = topic, []kmsg.ProduceRequestTopicPartition{part}
	at.TopicID = s.topicID(t, topic)
	req.Topics = []kmsg.ProduceRequestTopic{at}
	resp, err := req.RequestWith(t.Context(), s.client)
	if err != nil {
		t.Fatalf("%s: %v", a.name, err)
	}
	got := resp.Topics[0].Partitions[0]
	if err := kerr.ErrorForCode(got.ErrorCode); err != nil {
		t.Fatalf("%s: the broker refuses it: %v", a.name, err)
	}
	return got.BaseOffset
}

func (s *siege) topicID(t *testing.T, topic string) [16]byte {
	t.Helper()
	req := kmsg.NewPtrMetadataRequest()
	rt := kmsg.NewMetadataRequestTopic()
	rt.Topic = &topic
	req.Topics = []kmsg.MetadataRequestTopic{rt}
	resp, err := req.RequestWith(t.Context(), s.client)
	if err != nil {
		t.Fatal(err)
	}
	return resp.Topics[0].TopicID
}

// settled waits until every record that was sent has its result.
func (s *siege) settled(t *testing.T, limit time.Duration) {
	t.Helper()
	deadline := time.Now().Add(limit)
	for {
		missing := s.missing(t)
		if len(missing) == 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d of %d records have no result after %s, among them: %s", len(missing), len(s.sent), limit, strings.Join(missing[:min(len(missing), 10)], "; "))
		}
		pauseFor(t, 100*time.Millisecond)
	}
}

// missing reads what there is and names the attacks without a result.
func (s *siege) missing(t *testing.T) (names []string) {
	t.Helper()
	s.results, s.letters = map[string][]schemas.Result{}, map[string][]schemas.DeadReason{}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	err := EachCommitted(ctx, s.app.Client(), s.cfg.Topic(app.TopicResults), func(r *kgo.Record) error {
		var res schemas.Result
		if err := decode(ctx, s.codecs.Result, r.Value, &res); err != nil {
			return fmt.Errorf("decoding result: %w", err)
		}
		s.results[res.Origin] = append(s.results[res.Origin], res)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for place, a := range s.sent {
		if len(s.results[place]) == 0 {
			names = append(names, place+": "+a.name)
		}
	}
	slices.SortFunc(names, func(a, b string) int { return cmp.Or(cmp.Compare(len(a), len(b)), cmp.Compare(a, b)) })
	return names
}

// judge checks what became of every record.
func (s *siege) judge(t *testing.T) {
	t.Helper()
	err := EachCommitted(t.Context(), s.app.Client(), s.cfg.Topic(app.TopicDead), func(r *kgo.Record) error {
		var reason, origin string
		for _, h := range r.Headers {
			switch h.Key {
			case schemas.HeaderDeadReason:
				reason = string(h.Value)
			case schemas.HeaderDeadOrigin:
				origin = string(h.Value)
			}
		}
		s.letters[origin] = append(s.letters[origin], schemas.DeadReason(reason))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for place, a := range s.sent {
		for _, wrong := range s.faults(place, a) {
			t.Errorf("%s: %s", a.name, wrong)
		}
	}
	for place := range s.results {
		if s.sent[place] == nil {
			t.Errorf("there is a result for %s, which nobody sent", place)
		}
	}
}

func (s *siege) faults(place string, a *attack) (wrong []string) {
	say := func(format string, args ...any) { wrong = append(wrong, fmt.Sprintf(format, args...)) }
	if n := len(s.results[place]); n != 1 {
		say("%d results", n)
		return wrong
	}
	res, code := &s.results[place][0], schemas.OK
	if res.Failure != nil {
		code = res.Failure.Code
		if res.Failure.Message == "" {
			say("the failure %s does not say why", code)
		}
	}
	allowed := len(a.want) == 0 && code != schemas.OK
	for _, w := range a.want {
		allowed = allowed || w == code
	}
	if !allowed {
		say("outcome %s (%v), want %v", code, res.Failure, a.want)
	}
	switch letters := s.letters[place]; {
	case len(letters) > 1:
		say("%d dead letters", len(letters))
	case a.dead != "" && (len(letters) != 1 || letters[0] != a.dead):
		say("dead letters %v, want %s", letters, a.dead)
	}
	return wrong
}

// memoryWatch watches the memory in use until it is stopped.
type memoryWatch struct {
	peak atomic.Uint64
	stop chan struct{}
	done chan struct{}
	base uint64
}

func watchHeap() *memoryWatch {
	debug.FreeOSMemory()
	h := &memoryWatch{stop: make(chan struct{}), done: make(chan struct{}), base: inUse()}
	go func() {
		defer close(h.done)
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				h.peak.Store(max(h.peak.Load(), inUse()))
			case <-h.stop:
				return
			}
		}
	}()
	return h
}

// growth ends the watch and returns the most that was in use, in MiB above the
// beginning.
func (h *memoryWatch) growth() float64 {
	close(h.stop)
	<-h.done
	return math.Max(0, float64(h.peak.Load())-float64(h.base)) / (1 << 20)
}

func inUse() uint64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapInuse
}

// noise returns n random bytes.
func noise(rng *rand.Rand, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(rng.Uint32())
	}
	return b
}

func repeated(s string, n int) []byte { return bytes.Repeat([]byte(s), n) }
