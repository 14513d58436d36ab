package app

import (
	"context"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/sira-ai/sira/handlers/alert"
	"github.com/sira-ai/sira/handlers/provider"
	"github.com/sira-ai/sira/sinks/clickhouse"
	"github.com/sira-ai/sira/sinks/webhook/alerts"
)

// startAlerts starts what looks at the rules and tells people. Of several analysts
// one does it. Without rules it starts nothing.
func (a *App) startAlerts(g *group) error {
	c := &a.cfg
	if !c.Alerts.On() {
		return nil
	}
	senders, err := c.AlertSenders()
	if err != nil {
		return err
	}
	conn, _, err := clickhouse.Open(c.ClickHouseDSN())
	if err != nil {
		return err
	}
	g.onStop("clickhouse of alerts", conn.Close)
	look, err := NewAlertLooker(c, conn)
	if err != nil {
		return err
	}
	turn := new(turn)
	client, err := a.client.NewClient(a.log, a.reg, turn.options(c.Kafka.Prefix+"alerts", c.Topic(TopicStates))...)
	if err != nil {
		return err
	}
	table := clickhouse.NewAlerts(conn)
	keeper := alert.NewKeeper(alert.KeeperConfig{
		Every: c.Alerts.Every, Rules: c.Alerts.Rules(), Receivers: c.Alerts.Tellers(), Looker: look, Store: table, Silencer: table, Senders: senders,
		Leads: turn.mine.Load, Log: a.log, Metrics: a.reg,
	})
	g.run("turn to keep alerts", func(ctx context.Context) error { return turn.run(ctx, client) })
	g.run("alerts", keeper.Run)
	return nil
}

// AlertSenders returns what tells the receivers of the document, by their names.
func (c *Config) AlertSenders() (map[string]alert.Sender, error) {
	out := make(map[string]alert.Sender, len(c.Alerts.Receivers))
	for i := range c.Alerts.Receivers {
		r := &c.Alerts.Receivers[i]
		s, err := alerts.New(r.Config, provider.NewTransport())
		if err != nil {
			return nil, fmt.Errorf("building receiver %s: %w", r.Name, err)
		}
		out[r.Name] = s
	}
	return out, nil
}

// turn decides which analyst keeps the alerts: the one that Kafka gives the first
// partition of a topic in a group of their own. Nothing is read from it. Two that
// believe for a moment that it is their turn tell the same under the same name, and
// at worst twice.
type turn struct{ mine atomic.Bool }

func (t *turn) options(group, topic string) []kgo.Opt {
	set := func(to bool) func(context.Context, *kgo.Client, map[string][]int32) {
		return func(_ context.Context, _ *kgo.Client, parts map[string][]int32) {
			if slices.Contains(parts[topic], 0) {
				t.mine.Store(to)
			}
		}
	}
	return []kgo.Opt{
		kgo.ConsumerGroup(group), kgo.ConsumeTopics(topic), kgo.ConsumeStartOffset(kgo.NewOffset().AtEnd()), kgo.DisableAutoCommit(),
		kgo.SessionTimeout(10 * time.Second), kgo.HeartbeatInterval(time.Second),
		kgo.OnPartitionsAssigned(set(true)), kgo.OnPartitionsRevoked(set(false)), kgo.OnPartitionsLost(set(false)),
	}
}

// run stays in the group until ctx is done.
func (t *turn) run(ctx context.Context, client *kgo.Client) error {
	defer client.Close()
	client.PauseFetchTopics(client.GetConsumeTopics()...)
	for ctx.Err() == nil {
		client.PollFetches(ctx)
	}
	return nil
}
