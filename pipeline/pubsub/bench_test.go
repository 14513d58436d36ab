package pubsub

import (
	"testing"

	"github.com/ThreeDotsLabs/watermill/message"
	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/sira-ai/sira/pipeline/kafka"
)

// Both benchmarks share the machine with the broker. Run with
//
//	go test -run '^$' -bench . -benchtime 100000x ./pipeline/pubsub
func benchmarkTopic(b *testing.B) (*Publisher, *kfake.Cluster) {
	b.Helper()
	c := newCluster(b, kfake.SeedTopics(4, "bench"))
	pub, err := NewPublisher(PublisherConfig{Client: kafka.Config{Brokers: c.ListenAddrs()}})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = pub.Close() })
	return pub, c
}

// publishAll publishes n messages of 1 KiB, 100 to a call.
func publishAll(b *testing.B, pub *Publisher, n int) {
	b.Helper()
	payload := make([]byte, 1024)
	for n > 0 {
		batch := make([]*message.Message, min(n, 100))
		for i := range batch {
			batch[i] = message.NewMessage("0198f0a2-7c1e-7b44-9c39-0a4b0b6f2d11", payload)
			batch[i].Metadata["traceparent"] = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
		}
		if err := pub.Publish("bench", batch...); err != nil {
			b.Fatal(err)
		}
		n -= len(batch)
	}
}

func BenchmarkPublish(b *testing.B) {
	pub, _ := benchmarkTopic(b)
	b.ReportAllocs()
	b.ResetTimer()
	publishAll(b, pub, b.N)
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "msgs/s")
}

func BenchmarkSubscribe(b *testing.B) {
	pub, c := benchmarkTopic(b)
	publishAll(b, pub, b.N)
	cfg := quickConfig(c, "readers")
	cfg.MaxInFlight = 1000
	sub, err := NewSubscriber(cfg)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = sub.Close() })
	b.ReportAllocs()
	b.ResetTimer()
	ch, err := sub.Subscribe(b.Context(), "bench")
	if err != nil {
		b.Fatal(err)
	}
	for range b.N {
		(<-ch).Ack()
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "msgs/s")
}
