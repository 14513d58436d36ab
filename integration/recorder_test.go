package integration

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// The short one is for every day; `make integration-longer` has the whole promise.

func TestTablesAreExactAfterARecorderDiedFiveTimes(t *testing.T) {
	newRig(t).outlives(recorderTrouble{kills: 5, away: 10 * time.Second, awayKills: 1, perSecond: 150})
}

func TestTablesAreExactAfterTwentyDeadRecordersAndALongOutage(t *testing.T) {
	newRig(t).outlives(recorderTrouble{kills: 20, away: 5 * time.Minute, awayKills: 4, perSecond: 150})
}

// recorderTrouble is what happens to a recorder.
type recorderTrouble struct {
	kills     int           // of the recorder, with SIGKILL
	away      time.Duration // how long nobody answers at ClickHouse's address, after half of the kills
	awayKills int           // how many of the kills happen then
	perSecond int           // requests all the time
}

// outlives kills the recorder and ClickHouse under load and compares the tables
// with the topics, and the rollups with the tables.
func (r *rig) outlives(trouble recorderTrouble) {
	r.t.Helper()
	t := r.t
	r.start("broker", "kafka,registry", nil)
	r.ready()
	house := r.start("clickhouse", "clickhouse", nil)
	r.start("simulator", "simulator", nil)
	r.simulate(fast())
	worker := r.start("w0", "worker", Document{"worker": Document{"concurrency": 500}})
	recorder := r.start("recorder", "recorder", Document{"clickhouse": Document{"max_wait": "200ms"}})
	sent, stopSending := r.steady(trouble.perSecond)
	answered := r.answered()
	rng := rand.New(rand.NewPCG(3, 4))
	kills := 0
	kill := func(within time.Duration) {
		r.pause(within/2+time.Duration(rng.Int64N(int64(within))), func() bool { return false })
		recorder.Kill()
		r.again(recorder)
		kills++
	}
	began := time.Now()
	for kills < (trouble.kills-trouble.awayKills)/2 {
		kill(2 * time.Second)
	}
	house.Kill()
	gone := time.Now()
	for range trouble.awayKills {
		kill(trouble.away / time.Duration(2*trouble.awayKills))
	}
	r.pause(trouble.away-time.Since(gone), func() bool { return false })
	behind := sent.Load()
	r.again(house)
	away := time.Since(gone)
	for kills < trouble.kills {
		kill(2 * time.Second)
	}
	n := stopSending()
	r.pause(killLimit, func() bool { return answered.Load() >= int64(n) })
	if got := answered.Load(); got < int64(n) {
		t.Fatalf("%d of %d requests were answered %s after the last", got, n, killLimit)
	}
	t.Logf("%d requests in %s; the recorder was killed %d times, %d of them while ClickHouse was away for %s, in which %d requests had been sent",
		n, time.Since(began).Round(time.Second), kills, trouble.awayKills, away.Round(time.Second), behind)
	r.account(n, []*Process{worker, recorder})
}

// steady sends requests at a rate until it is told to stop, and then returns how
// many there are: r0 to r(n-1).
func (r *rig) steady(perSecond int) (*atomic.Int64, func() int) {
	r.t.Helper()
	p, err := NewProducer(r.t.Context(), r.cfg)
	if err != nil {
		r.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(r.t.Context())
	n, ended := new(atomic.Int64), make(chan error, 1)
	go func() {
		defer p.Client.Close()
		first := new(kgo.FirstErrPromise)
		tick := time.NewTicker(100 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
			case <-ctx.Done():
				ended <- errors.Join(p.Client.Flush(context.WithoutCancel(ctx)), first.Err())
				return
			}
			for range perSecond / 10 {
				rec, err := p.Record(Request(fmt.Sprintf("r%d", n.Load())), n.Load()%2 == 0)
				if err != nil {
					ended <- err
					return
				}
				p.Client.Produce(context.WithoutCancel(ctx), rec, first.Promise())
				n.Add(1)
			}
		}
	}()
	r.t.Cleanup(cancel)
	return n, func() int {
		r.t.Helper()
		cancel()
		if err := <-ended; err != nil {
			r.t.Fatalf("sending requests: %v", err)
		}
		return int(n.Load())
	}
}
