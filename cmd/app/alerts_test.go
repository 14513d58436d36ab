package app

import (
	"context"
	"testing"

	"github.com/sira-ai/sira/pipeline/kafka"
)

// Of two analysts one keeps the alerts, and the other takes over when it leaves.
func TestOneAnalystAtATimeKeepsTheAlerts(t *testing.T) {
	t.Parallel()
	broker, err := kafka.StartEmbedded(kafka.EmbeddedConfig{})
	if err != nil {
		t.Fatal(err)
	}
	defer broker.Close()
	cfg := kafka.Config{Brokers: broker.Brokers()}
	admin, err := cfg.NewClient(nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer admin.Close()
	if _, err := kafka.EnsureTopics(t.Context(), admin, []kafka.TopicSpec{{Name: "states", Partitions: 2}}); err != nil {
		t.Fatal(err)
	}
	join := func() (*turn, func()) {
		its := new(turn)
		client, err := cfg.NewClient(nil, nil, its.options("alerts", "states")...)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- its.run(ctx, client) }()
		return its, func() {
			cancel()
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
	}
	first, leave := join()
	eventually(t, func() string {
		if !first.mine.Load() {
			return "it is nobody's turn"
		}
		return ""
	})
	second, end := join()
	defer end()
	// Whoever has it after the second came, it is one of them.
	eventually(t, func() string {
		if first.mine.Load() == second.mine.Load() {
			return "it is the turn of both, or of nobody"
		}
		return ""
	})
	leave()
	eventually(t, func() string {
		if !second.mine.Load() {
			return "nobody took over"
		}
		return ""
	})
	if first.mine.Load() {
		t.Error("it is still the turn of the one that left")
	}
}
