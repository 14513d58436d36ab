package integration

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/sira-ai/sira/cmd/app"
	"github.com/sira-ai/sira/integration/kafkatest"
	"github.com/sira-ai/sira/sinks/clickhouse"
)

// The kill tests are worth what they would notice. That they notice a worker that
// forgets what it finished above a slow request is shown where the offset map
// lives: pipeline/kafka, TestFinishedRequestsAboveAStragglerSurviveACrash.

func TestWholeKillPromiseOnTheEmbeddedBroker(t *testing.T) {
	r := newRig(t)
	broker := r.start("broker", "kafka,registry", nil)
	repeatedLittle(t, r.survives(killRequests(t, 100_000), 2000, func() {
		broker.Kill()
		r.again(broker)
	}))
}

func TestWholeKillPromiseOnApacheKafka(t *testing.T) {
	r := newRig(t)
	cluster := kafkatest.Start(t, kafkatest.Options{})
	r.Shared["kafka"].(Document)["brokers"] = cluster.Brokers()
	r.start("registry", "registry", nil)
	repeatedLittle(t, r.survives(killRequests(t, 40_000), 2000, func() {
		cluster.Kill()
		cluster.Restart()
	}))
}

func repeatedLittle(t *testing.T, share float64) {
	t.Helper()
	if share >= 0.02 {
		t.Errorf("%.2f %% of the finished calls were repeated, want less than 2 %%", 100*share)
	}
}

func killRequests(t *testing.T, n int) int {
	t.Helper()
	if s := os.Getenv("SIRA_KILL_REQUESTS"); s != "" {
		var err error
		if n, err = strconv.Atoi(s); err != nil {
			t.Fatalf("SIRA_KILL_REQUESTS: %v", err)
		}
	}
	return n
}

// killLimit bounds the part with kills.
const killLimit = 5 * time.Minute

// survives answers n requests while workers and recorder are killed at random,
// and every fifth time the broker, if it may be, and then counts. It returns the
// share of finished calls that were made again.
func (r *rig) survives(n, concurrency int, restartBroker func()) float64 {
	r.t.Helper()
	t := r.t
	r.ready()
	r.start("clickhouse", "clickhouse", nil)
	r.start("simulator", "simulator", nil)
	r.simulate(fast())
	r.enqueue(n)
	// What a provider has finished and a worker had no time to read is called again
	// after a kill; two cores keep up with about 200 calls in flight a worker.
	tuned := Document{"worker": Document{"concurrency": concurrency}}
	mortal := []*Process{
		r.start("w0", "worker", tuned), r.start("w1", "worker", tuned), r.start("w2", "worker", tuned), r.start("recorder", "recorder", nil),
	}
	answered := r.answered()
	rng := rand.New(rand.NewPCG(1, 2))
	kills, brokers, began := 0, 0, time.Now()
	repeated := func(what string, before int64) {
		t.Logf("%s %s: %d answered, %d finished calls repeated since the kill before",
			time.Now().Format(time.TimeOnly+".000"), what, answered.Load(), r.stats().Keys.RepeatedFinished-before)
	}
	var counted int64
	for answered.Load() < int64(n) {
		if time.Since(began) > killLimit {
			t.Fatalf("%d of %d requests were answered in %s with %d kills", answered.Load(), n, killLimit, kills)
		}
		r.pause(time.Second+time.Duration(rng.Int64N(int64(3*time.Second))), func() bool { return answered.Load() >= int64(n) })
		kills++
		if kills%5 == 0 && restartBroker != nil {
			brokers++
			repeated("the broker is killed", counted)
			counted = r.stats().Keys.RepeatedFinished
			restartBroker()
			continue
		}
		victim := mortal[rng.IntN(len(mortal))]
		repeated(victim.Name+" is killed", counted)
		counted = r.stats().Keys.RepeatedFinished
		victim.Kill()
		r.again(victim)
	}
	took := time.Since(began)
	r.account(n, mortal)
	keys := r.stats().Keys
	share := float64(keys.RepeatedFinished) / float64(n)
	t.Logf("%d requests in %s (%.0f/s) with %d kills, %d of them of the broker; finished calls repeated: %d (%.2f %%), calls repeated: %d",
		n, took.Round(time.Second), float64(n)/took.Seconds(), kills, brokers, keys.RepeatedFinished, 100*share, keys.Repeated)
	if keys.Untracked > 0 {
		t.Errorf("%d calls were not tracked: the share is too low", keys.Untracked)
	}
	return share
}

// again starts a process at once, without waiting for it.
func (r *rig) again(p *Process) {
	r.t.Helper()
	if err := p.Launch(); err != nil {
		r.t.Fatal(err)
	}
}

// pause waits for a while, or until done.
func (r *rig) pause(d time.Duration, done func() bool) {
	for end := time.Now().Add(d); time.Now().Before(end) && !done(); {
		select {
		case <-time.After(50 * time.Millisecond):
		case <-r.t.Context().Done():
			return
		}
	}
}

// account stops workers and recorder in order and compares requests with results,
// costs, tables, rollups and the audit chains.
func (r *rig) account(n int, processes []*Process) {
	r.t.Helper()
	t := r.t
	recorder := processes[len(processes)-1]
	for _, p := range processes[:len(processes)-1] {
		r.stop(p)
	}
	if failed := r.exactlyOnce(n); failed > 0 {
		t.Errorf("%d of %d requests failed although the provider never did", failed, n)
	}
	conn := r.tables()
	topics := map[string]string{"requests": app.TopicResults, "costs": app.TopicCosts, "attempts": app.TopicAttempts, "audit": app.TopicAudit}
	want := map[string]uint64{}
	for table, topic := range topics {
		want[table] = r.records(topic)
	}
	deadline := time.Now().Add(2 * time.Minute)
	r.pause(2*time.Minute, func() bool {
		for table, rows := range want {
			if r.number(conn, "SELECT count() FROM "+table) < rows {
				return false
			}
		}
		return true
	})
	if time.Now().After(deadline) {
		t.Error("the recorder did not catch up in two minutes")
	}
	r.stop(recorder)
	for table, rows := range want {
		if got := r.number(conn, "SELECT count() FROM "+table); got != rows {
			t.Errorf("%s holds %d rows, want %d%s%s", table, got, rows, r.doubled(conn, table), r.uncommitted(conn, table, topics[table]))
		}
	}
	for table, topic := range topics {
		if table != "audit" { // its chains are verified
			r.held(conn, table, topic)
		}
	}
	differences, err := clickhouse.Differences(t.Context(), conn)
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range differences {
		t.Errorf("%s: only in the %s: %s", d.Rollup, d.In, d.Group)
	}
	t.Logf("tables: %v", want)
	r.verifyAudit(want["audit"])
}

// held checks that a table holds the committed records of a topic, and each once.
func (r *rig) held(conn driver.Conn, table, topic string) {
	r.t.Helper()
	var want, got [2]uint64 // records, and a sum of their places
	r.each(topic, func(rec *kgo.Record) error {
		want[0]++
		want[1] += uint64(rec.Partition)<<32 + uint64(rec.Offset)
		return nil
	})
	sql := "SELECT uniqExact(src_partition, src_offset), sum(bitShiftLeft(toUInt64(src_partition), 32) + src_offset) FROM " + table
	if err := conn.QueryRow(r.t.Context(), sql).Scan(&got[0], &got[1]); err != nil {
		r.t.Fatal(err)
	}
	if got != want {
		r.t.Errorf("%s: records and the sum of their places are %d, want %d", table, got, want)
	}
}

// doubled says which events are in a table more than once, and in which parts: two
// plans of the recorder for the same events are two parts.
func (r *rig) doubled(conn driver.Conn, table string) string {
	r.t.Helper()
	rows, err := conn.Query(r.t.Context(), `SELECT src_topic, src_partition, min(src_offset), max(src_offset), count(), toString(groupUniqArray(_part))
		FROM (SELECT src_topic, src_partition, src_offset, _part, count() OVER (PARTITION BY src_topic, src_partition, src_offset) AS copies FROM `+table+`)
		WHERE copies > 1 GROUP BY src_topic, src_partition`)
	if err != nil {
		r.t.Fatal(err)
	}
	defer rows.Close()
	var out strings.Builder
	for rows.Next() {
		var topic, parts string
		var partition uint32
		var first, last, n uint64
		if err := rows.Scan(&topic, &partition, &first, &last, &n, &parts); err != nil {
			r.t.Fatal(err)
		}
		fmt.Fprintf(&out, "; %s/%d offsets %d to %d: %d rows in parts %s", topic, partition, first, last, n, parts)
	}
	if err := rows.Err(); err != nil {
		r.t.Fatal(err)
	}
	return out.String()
}

// uncommitted says which rows of a table are of events that no reader of committed
// records sees: they were in a transaction that was aborted.
func (r *rig) uncommitted(conn driver.Conn, table, topic string) string {
	r.t.Helper()
	type place struct {
		partition uint32
		offset    uint64
	}
	seen := map[place]bool{}
	r.each(topic, func(rec *kgo.Record) error {
		seen[place{uint32(rec.Partition), uint64(rec.Offset)}] = true
		return nil
	})
	rows, err := conn.Query(r.t.Context(), "SELECT src_partition, src_offset FROM "+table+" ORDER BY src_partition, src_offset")
	if err != nil {
		r.t.Fatal(err)
	}
	defer rows.Close()
	var out strings.Builder
	var at, from, to place
	n := 0
	say := func() {
		if n > 0 {
			fmt.Fprintf(&out, "; partition %d: %d rows of offsets %d to %d were never committed", from.partition, n, from.offset, to.offset)
		}
		n = 0
	}
	for rows.Next() {
		if err := rows.Scan(&at.partition, &at.offset); err != nil {
			r.t.Fatal(err)
		}
		if seen[at] {
			say()
			continue
		}
		if n == 0 {
			from = at
		}
		to = at
		n++
	}
	say()
	if err := rows.Err(); err != nil {
		r.t.Fatal(err)
	}
	return out.String()
}

func (r *rig) stop(p *Process) {
	r.t.Helper()
	select { // a process that is still starting stops too, but says less about why not
	case <-p.up:
	case <-p.done:
		r.t.Errorf("%s ended by itself:\n%s", p.Name, p.Tail())
		return
	case <-time.After(time.Minute):
		r.t.Errorf("%s did not come up again within a minute:\n%s", p.Name, p.Tail())
	}
	if err := p.Stop(time.Minute); err != nil {
		r.t.Error(err)
	}
}

// verifyAudit runs the command that users run.
func (r *rig) verifyAudit(rows uint64) {
	r.t.Helper()
	path, err := r.Document("auditor", nil)
	if err != nil {
		r.t.Fatal(err)
	}
	out, err := exec.CommandContext(r.t.Context(), r.Program, "audit", "verify", "--json", "--config", path).Output()
	if err != nil {
		r.t.Errorf("verifying audit log: %v\n%s", err, out)
		return
	}
	var report struct{ Rows uint64 }
	if err := json.Unmarshal(out, &report); err != nil {
		r.t.Fatalf("reading report: %v\n%s", err, out)
	}
	if report.Rows != rows {
		r.t.Errorf("audit verify saw %d records, want %d", report.Rows, rows)
	}
}
