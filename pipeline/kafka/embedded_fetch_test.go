package kafka

import (
	"context"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// A fetch that was full in the middle of a partition came without that partition's aborted transactions: the recorder then
// took 18,295 aborted audit records for committed ones. It happened to readers that were behind, after kills of the broker.
func TestReaderThatIsBehindSeesNothingAborted(t *testing.T) {
	e := startWithTopic(t, "")
	random, big := rand.NewChaCha8([32]byte{}), make([]byte, 100_000)
	_, _ = random.Read(big) // which doesn't compress
	aborted := begin(t, e, "one")
	for range 20 {
		aborted.write(t, string(big), 0, 1)
	}
	aborted.end(t, kgo.TryAbort)
	begin(t, e, "two").write(t, "committed", 0, 1).end(t, kgo.TryCommit)

	// Each partition fits a fetch, both do not.
	cl := embeddedClient(t, e.Brokers(), kgo.ConsumeTopics("out"), kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.FetchMaxBytes(3_000_000), kgo.FetchMaxPartitionBytes(2_500_000))
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	seen := 0
	for seen < 2 {
		fetches := cl.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			t.Fatal(err)
		}
		for r := range fetches.RecordsAll() {
			if string(r.Value) != "committed" {
				t.Fatalf("partition %d, offset %d: a record of an aborted transaction", r.Partition, r.Offset)
			}
			seen++
		}
	}
}
