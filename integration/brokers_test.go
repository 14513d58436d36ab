package integration

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/sira-ai/sira/cmd/app"
	"github.com/sira-ai/sira/integration/kafkatest"
)

// trio is a site on three brokers of Apache Kafka, each of them a controller too.
type trio struct {
	*rig
	cluster *kafkatest.Cluster
}

func newTrio(t *testing.T) *trio {
	t.Helper()
	// Brokers first: they open many connections, and one of them may begin at a port
	// that the site has found free and does not listen on yet.
	cluster := kafkatest.Start(t, kafkatest.Options{Brokers: 3, Properties: map[string]string{
		"min.insync.replicas": "2", "transaction.state.log.min.isr": "2", "unclean.leader.election.enable": "false",
	}})
	r := newRig(t)
	c := &trio{r, cluster}
	kafka := r.Shared["kafka"].(Document)
	kafka["brokers"], kafka["replication_factor"], kafka["min_insync_replicas"] = c.cluster.Brokers(), 3, 2
	r.start("registry", "registry", nil)
	return c
}

// places returns the indices of the broker that leads the first partition of the
// requests and of the active controller.
func (c *trio) places() (leader, controller int) {
	c.t.Helper()
	cl, err := c.cfg.Client().NewClient(nil, nil)
	if err != nil {
		c.t.Fatal(err)
	}
	defer cl.Close()
	ctx, cancel := context.WithTimeout(c.t.Context(), 30*time.Second)
	defer cancel()
	topic := c.cfg.RequestTopic("standard")
	meta, err := kadm.NewClient(cl).Metadata(ctx, topic)
	if err != nil {
		c.t.Fatal(err)
	}
	// Metadata names any broker as the controller; who leads the quorum is told here.
	req := kmsg.NewPtrDescribeQuorumRequest()
	log := kmsg.NewDescribeQuorumRequestTopic()
	log.Topic, log.Partitions = "__cluster_metadata", []kmsg.DescribeQuorumRequestTopicPartition{kmsg.NewDescribeQuorumRequestTopicPartition()}
	req.Topics = []kmsg.DescribeQuorumRequestTopic{log}
	quorum, err := req.RequestWith(ctx, cl)
	if err != nil || len(quorum.Topics) != 1 || len(quorum.Topics[0].Partitions) != 1 {
		c.t.Fatalf("asking who leads the controllers: %v", err)
	}
	index := func(id int32) int { // node ids count from 1
		return max(0, min(int(id)-1, 2))
	}
	return index(meta.Topics[topic].Partitions[0].Leader), index(quorum.Topics[0].Partitions[0].LeaderID)
}

// Workers, recorder and brokers are killed at random: each time first the broker
// that leads a partition, then the one that leads the controllers.
func TestThreeBrokersLoseTheirLeaderAndTheirController(t *testing.T) {
	c := newTrio(t)
	killed := 0
	c.survives(killRequests(t, 20_000), 200, func() {
		for _, ofControllers := range []bool{false, true} {
			victim, controller := c.places()
			if ofControllers {
				victim = controller
			}
			c.cluster.Kill(victim)
			killed++
			c.pause(2*time.Second, func() bool { return false }) // two brokers carry on
			c.cluster.Restart(victim)
		}
	})
	if killed == 0 {
		t.Error("no broker was killed: there were too few requests")
	}
}

// Brokers are restarted one after the other, in order, while workers run: nothing
// is lost, doubled or called again.
func TestARollingRestartOfThreeBrokersIsNotNoticed(t *testing.T) {
	c := newTrio(t)
	c.ready()
	c.start("clickhouse", "clickhouse", nil)
	c.start("simulator", "simulator", nil)
	c.simulate(fast())
	n := killRequests(t, 20_000)
	c.enqueue(n)
	tuned := Document{"worker": Document{"concurrency": 300}}
	processes := []*Process{c.start("w0", "worker", tuned), c.start("w1", "worker", tuned), c.start("recorder", "recorder", nil)}
	answered := c.answered()
	c.until("the first answers", time.Minute, func() bool { return answered.Load() > 500 })
	began, from := time.Now(), answered.Load()
	c.pause(5*time.Second, func() bool { return answered.Load() >= int64(n) })
	t.Logf("three brokers at rest: %.0f requests/s", float64(answered.Load()-from)/time.Since(began).Seconds())
	began, from = time.Now(), answered.Load()
	for i := range 3 {
		c.cluster.StopGraceful(i)
		c.cluster.Restart(i)
		c.synced()
	}
	t.Logf("while they were restarted: %.0f requests/s for %s", float64(answered.Load()-from)/time.Since(began).Seconds(), time.Since(began).Round(time.Second))
	c.until("all answers", 3*time.Minute, func() bool { return answered.Load() >= int64(n) })
	c.account(n, processes)
	keys := c.stats().Keys
	t.Logf("finished calls repeated: %d, calls repeated: %d", keys.RepeatedFinished, keys.Repeated)
	if keys.RepeatedFinished > int64(n)/50 {
		t.Errorf("%d finished calls were repeated", keys.RepeatedFinished)
	}
}

// synced waits until every replica of Sira's topics follows again, as an operator
// does between two restarts.
func (c *trio) synced() {
	c.t.Helper()
	cl, err := c.cfg.Client().NewClient(nil, nil)
	if err != nil {
		c.t.Fatal(err)
	}
	defer cl.Close()
	c.until("replicas to follow", 90*time.Second, func() bool {
		ctx, cancel := context.WithTimeout(c.t.Context(), 5*time.Second)
		defer cancel()
		meta, err := kadm.NewClient(cl).Metadata(ctx, c.cfg.RequestTopic("standard"), c.cfg.Topic(app.TopicResults), "__transaction_state", "__consumer_offsets")
		if err != nil {
			return false
		}
		for _, t := range meta.Topics {
			if t.Err != nil || slices.ContainsFunc(t.Partitions.Sorted(), func(p kadm.PartitionDetail) bool { return p.Err != nil || len(p.ISR) < 3 }) {
				return false
			}
		}
		return true
	})
}
