package app

import (
	"context"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"go.uber.org/zap"

	"github.com/sira-ai/sira/handlers/routing"
)

// follower is a worker's canaries on a topic of its cluster, as startWorker has them.
func follower(t *testing.T, cluster *kfake.Cluster, worker string) *canaries {
	t.Helper()
	c := newCanaries("state.canaries", worker, zap.NewNop())
	cl, err := kgo.NewClient(kgo.SeedBrokers(cluster.ListenAddrs()...), kgo.ConsumeTopics(c.topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cl.Close)
	c.client = cl
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := c.load(ctx); err != nil {
		t.Fatal(err)
	}
	return c
}

func (c *canaries) flushed(t *testing.T) {
	t.Helper()
	if err := c.client.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func canaryCluster(t *testing.T) *kfake.Cluster {
	t.Helper()
	cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(1, "state.canaries"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cluster.Close)
	return cluster
}

func TestACanaryIsWhereItWasAfterARestart(t *testing.T) {
	t.Parallel()
	cluster := canaryCluster(t)
	began := time.Now().Add(-time.Hour).Round(0).UTC()
	first := follower(t, cluster, "w1")
	first.Exchange("next", routing.Progress{Stage: 1, Since: began, Canary: routing.Tally{Calls: 10}})
	first.flushed(t)

	again := follower(t, cluster, "w1")
	all, _ := again.Exchange("next", routing.Progress{Since: time.Now()})
	if all.Stage != 1 || !all.Since.Equal(began) || all.Canary.Calls != 10 {
		t.Errorf("after a restart: %+v", all)
	}
	all, _ = again.Exchange("next", routing.Progress{Stage: 1, Since: time.Now(), Canary: routing.Tally{Calls: 3}})
	if all.Canary.Calls != 13 {
		t.Errorf("%d calls are known of 10 before the restart and 3 since", all.Canary.Calls)
	}
	all, _ = follower(t, cluster, "w2").Exchange("next", routing.Progress{Since: time.Now(), Canary: routing.Tally{Calls: 4}})
	if all.Stage != 1 || all.Canary.Calls < 10 {
		t.Errorf("a worker that joins begins with %+v", all)
	}
}

func TestARollBackReachesTheOtherWorkersAndOneOfThemIsTheOwner(t *testing.T) {
	t.Parallel()
	cluster := canaryCluster(t)
	one, other := follower(t, cluster, "w1"), follower(t, cluster, "w2")
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 2)
	go func() { ended <- one.run(ctx, func() bool { return false }) }()
	go func() { ended <- other.run(ctx, func() bool { return true }) }()
	one.Exchange("next", routing.Progress{Stage: 1, RolledBack: true, Why: "3 of 3 calls failed"})
	eventually(t, func() string {
		if all, owner := other.Exchange("next", routing.Progress{Stage: 2}); !all.RolledBack || all.Why == "" || !owner {
			return "the other worker goes on, or does not know that it is the owner"
		}
		if _, owner := one.Exchange("next", routing.Progress{Stage: 1, RolledBack: true}); owner {
			return "there are two owners"
		}
		return ""
	})
	stop()
	for range 2 {
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
}

func TestOnlyWorkersWithACanaryFollowTheTopic(t *testing.T) {
	t.Parallel()
	a := New(Defaults(), []Role{RoleWorker}, zap.NewNop())
	if c, err := a.canarySource(t.Context(), nil); c != nil || err != nil {
		t.Errorf("%v, %v", c, err)
	}
}
