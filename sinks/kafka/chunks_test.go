package kafka

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	pkafka "github.com/sira-ai/sira/pipeline/kafka"
	"github.com/sira-ai/sira/schemas"
)

func TestChunksOfAStreamAreOnTheTopicInOrder(t *testing.T) {
	t.Parallel()
	d, _ := newDeliverer(t)
	broker, err := pkafka.StartEmbedded(pkafka.EmbeddedConfig{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(broker.Close)
	client, err := pkafka.Config{Brokers: broker.Brokers()}.NewClient(nil, nil, kgo.ConsumeTopics("chunks"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	if _, err := pkafka.EnsureTopics(t.Context(), client, []pkafka.TopicSpec{{Name: "chunks", Partitions: 2}}); err != nil {
		t.Fatal(err)
	}
	chunks := &Chunks{Client: client, Codec: d.Codecs.Chunk, Topic: "chunks"}
	quiet := job()
	if err := chunks.Handle(t.Context(), quiet); err != nil || quiet.Emit != nil {
		t.Errorf("a request without stream got an Emit, error %v", err)
	}
	for _, asJSON := range []bool{false, true} {
		j := job()
		j.Request.Stream, j.Origin.JSON = true, asJSON
		if err := chunks.Handle(t.Context(), j); err != nil {
			t.Fatal(err)
		}
		for i := range 5 {
			j.Emit(schemas.Chunk{RequestID: "r1", Attempt: 1, Seq: int64(i), Type: schemas.ChunkText, Text: "x"})
		}
		for want := int64(0); want < 5; {
			fetches := client.PollFetches(t.Context())
			if err := fetches.Err(); err != nil {
				t.Fatal(err)
			}
			fetches.EachRecord(func(r *kgo.Record) {
				var c schemas.Chunk
				err := json.Unmarshal(r.Value, &c)
				if !asJSON {
					err = d.Codecs.Chunk.Decode(t.Context(), r.Value, &c)
				}
				if err != nil || c.Seq != want || c.Tenant != "acme" || string(r.Key) != "r1" {
					t.Errorf("chunk %+v, error %v, want number %d of acme", c, err, want)
				}
				want++
			})
		}
	}
	if n := chunks.Dropped(); n != 0 {
		t.Errorf("%d chunks were dropped", n)
	}
}

// A broker that takes nothing must not slow a provider's stream.
func TestChunksAreDroppedWhenKafkaTakesNone(t *testing.T) {
	t.Parallel()
	d, _ := newDeliverer(t)
	client, err := pkafka.Config{Brokers: []string{"127.0.0.1:1"}}.NewClient(nil, nil, kgo.MaxBufferedRecords(10))
	if err != nil {
		t.Fatal(err)
	}
	chunks := &Chunks{Client: client, Codec: d.Codecs.Chunk, Topic: "chunks"}
	j := job()
	j.Request.Stream = true
	if err := chunks.Handle(t.Context(), j); err != nil {
		t.Fatal(err)
	}
	begin := time.Now()
	for i := range 100 {
		j.Emit(schemas.Chunk{RequestID: "r1", Seq: int64(i), Type: schemas.ChunkText})
	}
	if took := time.Since(begin); took > 2*time.Second {
		t.Errorf("100 chunks took %s", took)
	}
	client.Close()
	for deadline := time.Now().Add(10 * time.Second); chunks.Dropped() != 100; {
		if time.Now().After(deadline) {
			t.Fatalf("%d chunks were dropped, want 100", chunks.Dropped())
		}
		<-time.After(time.Millisecond)
	}
}
