// Package kafkatest starts and stops a real Apache Kafka for tests.
//
// kfake answers most questions about Kafka in milliseconds. This package is for the others: whether a killed broker
// keeps what it acknowledged, what a real transaction coordinator does, which limits the broker itself enforces.
//
// The brokers run in KRaft mode, each of them broker and controller at once, on 127.0.0.1 with ports of their own. They
// are Java processes made of the jars that .ci/fetch-kafka (make kafka) puts into the cache. Where the jars are missing
// and a Docker engine answers, they are containers instead, with the same configuration. The environment decides:
//
//	SIRA_KAFKA=jars    Java processes or nothing
//	SIRA_KAFKA=docker  containers or nothing
//	JAVA_HOME          whose java to run, rather than the one on the PATH
//	SIRA_CACHE         where the jars are, rather than in sira below the user's cache folder
//
// A test without a Kafka to run on is skipped with the reason. Where CI is true, missing jars fail it.
package kafkatest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

const (
	// readyWithin leaves room for three JVMs on a machine that is busy with other tests. An idle one needs 4 s.
	readyWithin = 90 * time.Second
	stopWithin  = 30 * time.Second
	pollEvery   = 50 * time.Millisecond
)

// Options describe a cluster. The zero value is one broker in a temporary folder.
type Options struct {
	// Brokers is how many there are, 1 to 3; 0 means 1. Each is broker and controller. Internal topics have as many
	// replicas as there are brokers.
	Brokers int

	// Properties are added to every broker's server.properties and win over those of this package.
	Properties map[string]string

	// Client is how Start and Restart reach the brokers where Properties change the
	// listener CLIENT: encryption and the login of someone who may see the cluster.
	Client []kgo.Opt

	// Dir receives data, configuration and logs, one folder per broker, and is left as it is afterwards. Empty means
	// t.TempDir(). Containers keep their data and logs to themselves.
	Dir string
}

// Cluster is a running Kafka. Its methods fail the test rather than return errors. They are called from the test's own
// goroutine, one at a time.
type Cluster struct {
	t       testing.TB
	nodes   []node
	running []bool
	brokers []string
	ports   *ports
	client  []kgo.Opt
	stopped bool
}

// node is one broker that can be started, stopped and started again with its data and ports.
// No method may be called while another one runs.
type node interface {
	// start returns when the broker is launched, which is long before it answers.
	start(ctx context.Context) error
	// stop returns when the broker is gone. Orderly means a controlled shutdown, otherwise it is killed.
	stop(ctx context.Context, orderly bool) error
	// alive tells whether the broker still runs, be it ready or not.
	alive(ctx context.Context) bool
	// tail returns the last lines of the broker's log.
	tail(ctx context.Context) string
}

// Start starts a cluster and returns when every broker answers. The cluster is killed when the test ends, and also when
// the test process dies before that.
func Start(t testing.TB, opts Options) *Cluster {
	t.Helper()
	if os.Getenv("SIRA_INTEGRATION") == "" {
		t.Skip("starts real brokers: run `make integration`, which sets SIRA_INTEGRATION=1")
	}
	if opts.Brokers == 0 {
		opts.Brokers = 1
	}
	if opts.Brokers < 1 || opts.Brokers > 3 {
		t.Fatalf("kafkatest: Options.Brokers is %d; write 1, 2 or 3", opts.Brokers)
	}
	if opts.Dir == "" {
		opts.Dir = t.TempDir()
	}
	newNodes := choose(t)

	c := &Cluster{t: t, running: make([]bool, opts.Brokers), client: opts.Client}
	var err error
	if c.ports, err = reservePorts(t.Context(), portsPerNode*opts.Brokers); err != nil {
		t.Fatalf("kafkatest: %v", err)
	}
	t.Cleanup(c.ports.release)

	ctx, cancel := context.WithTimeout(context.Background(), readyWithin)
	defer cancel()
	layout := newLayout(c.ports.numbers, opts)
	if c.nodes, err = newNodes(ctx, t, layout); err != nil {
		t.Fatalf("kafkatest: %v", err)
	}
	t.Cleanup(c.cleanup)
	for _, m := range layout.members {
		c.brokers = append(c.brokers, m.clientAddress())
	}
	c.Restart()
	return c
}

// Brokers returns the brokers' addresses as host:port. They stay the same when brokers are restarted.
func (c *Cluster) Brokers() []string { return slices.Clone(c.brokers) }

// Kill ends brokers with SIGKILL, as a power cut would, and returns when they are gone. The indices count from 0 in the
// order of [Cluster.Brokers]; none means all.
func (c *Cluster) Kill(brokers ...int) {
	c.t.Helper()
	c.halt(false, brokers)
}

// StopGraceful asks brokers to shut down as an operator would (SIGTERM, a controlled shutdown), one after the other,
// and returns when they are gone. Of three brokers the last has no other controller to let it go and is killed. The
// indices are those of [Cluster.Kill].
func (c *Cluster) StopGraceful(brokers ...int) {
	c.t.Helper()
	c.halt(true, brokers)
}

// Restart starts brokers with the data and ports they had, and returns when all running brokers answer. One that still
// runs is stopped in order first. The indices are those of [Cluster.Kill].
func (c *Cluster) Restart(brokers ...int) {
	c.t.Helper()
	if c.stopped {
		c.t.Fatalf("kafkatest: Restart after Stop; use Kill or StopGraceful for a cluster that comes back")
	}
	c.halt(true, brokers)
	ctx, cancel := context.WithTimeout(context.Background(), readyWithin)
	defer cancel()
	for _, i := range c.pick(brokers) {
		if err := c.nodes[i].start(ctx); err != nil {
			c.t.Fatalf("kafkatest: starting broker %d: %v", i, err)
		}
		c.running[i] = true
	}
	if err := c.waitReady(ctx); err != nil {
		c.t.Fatalf("kafkatest: %v", err)
	}
}

// Stop ends the cluster for good and gives its ports back. It is quick: brokers are killed. Calling it again does
// nothing. A test need not call it.
func (c *Cluster) Stop() {
	c.t.Helper()
	if c.stopped {
		return
	}
	c.stopped = true
	c.halt(false, nil)
	c.ports.release()
}

func (c *Cluster) cleanup() {
	if c.t.Failed() {
		ctx, cancel := context.WithTimeout(context.Background(), stopWithin)
		defer cancel()
		for i, n := range c.nodes {
			if tail := n.tail(ctx); tail != "" {
				c.t.Logf("log of Kafka broker %d ends with:\n%s", i, tail)
			}
		}
	}
	c.Stop()
}

func (c *Cluster) pick(brokers []int) []int {
	if len(brokers) > 0 {
		return brokers
	}
	all := make([]int, len(c.nodes))
	for i := range all {
		all[i] = i
	}
	return all
}

// halt stops those of the given brokers that run, all at once, or one after the other if in order: a broker leaves in
// order only while a majority of the controllers lets it go. One without a majority is killed, since Kafka would have
// it wait for a controller for ever.
func (c *Cluster) halt(orderly bool, brokers []int) {
	c.t.Helper()
	results := make(chan error, len(c.nodes))
	var waiting int
	var errs []error
	for _, i := range c.pick(brokers) {
		if !c.running[i] {
			continue
		}
		quorate := c.quorate()
		c.running[i] = false
		waiting++
		go func() {
			ctx, cancel := context.WithTimeout(context.Background(), stopWithin)
			defer cancel()
			err := c.nodes[i].stop(ctx, orderly && quorate)
			if err != nil {
				err = fmt.Errorf("stopping broker %d: %w", i, err)
			}
			results <- err
		}()
		if orderly {
			waiting--
			errs = append(errs, <-results)
		}
	}
	for range waiting {
		errs = append(errs, <-results)
	}
	if err := errors.Join(errs...); err != nil {
		c.t.Errorf("kafkatest: %v", err)
	}
}

// quorate tells whether a majority of the controllers runs.
func (c *Cluster) quorate() bool {
	n := 0
	for _, running := range c.running {
		if running {
			n++
		}
	}
	return n > len(c.running)/2
}

// waitReady returns when each running broker answers and knows all the others.
func (c *Cluster) waitReady(ctx context.Context) error {
	var addresses []string
	for i, address := range c.brokers {
		if c.running[i] {
			addresses = append(addresses, address)
		}
	}
	client, err := kgo.NewClient(append([]kgo.Opt{kgo.SeedBrokers(addresses...), kgo.DialTimeout(time.Second)}, c.client...)...)
	if err != nil {
		return fmt.Errorf("making a client: %w", err)
	}
	defer client.Close()

	ticker := time.NewTicker(pollEvery)
	defer ticker.Stop()
	for {
		err := answers(ctx, client, len(addresses))
		if err == nil {
			return nil
		}
		for i, n := range c.nodes {
			if c.running[i] && !n.alive(ctx) {
				c.running[i] = false
				return fmt.Errorf("broker %d ended while starting", i)
			}
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return fmt.Errorf("brokers are not ready after %s: %w", readyWithin, err)
		}
	}
}

// answers asks every seed broker for the cluster as it sees it. A broker takes requests only once the controller has
// let it in, so an answer means that it is up; it may not have heard of the others yet.
func answers(ctx context.Context, client *kgo.Client, brokers int) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	for _, seed := range client.SeedBrokers() {
		req := kmsg.NewPtrMetadataRequest()
		req.Topics = []kmsg.MetadataRequestTopic{}
		resp, err := seed.Request(ctx, req)
		if err != nil {
			return fmt.Errorf("asking for metadata: %w", err)
		}
		if known := len(resp.(*kmsg.MetadataResponse).Brokers); known < brokers {
			return fmt.Errorf("a broker knows %d of %d brokers", known, brokers)
		}
	}
	return nil
}
