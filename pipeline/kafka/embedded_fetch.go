package kafka

import (
	"math"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// What a fetch from the embedded broker may hold of all its partitions together at most, and of each at least, in bytes.
// Clients refuse answers over 100 MiB.
const (
	embeddedFetch     = 64 << 20
	embeddedPartition = 256 << 10
)

// boundFetches bounds every fetch by its partitions instead of by its whole. The broker (kfake of September 2026) leaves out
// which transactions of a partition were aborted when the whole is full in the middle of that partition, and a reader of
// committed records then takes aborted ones for committed. A limit of the whole is a wish in Kafka's protocol; that of a
// partition leads to a right answer, so each partition gets its part of what the whole may be.
func boundFetches(c *kfake.Cluster) {
	c.ControlKey(kmsg.Fetch.Int16(), func(req kmsg.Request) (kmsg.Response, error, bool) {
		if r, ok := req.(*kmsg.FetchRequest); ok {
			boundFetch(r)
		}
		return nil, nil, false
	})
}

func boundFetch(r *kmsg.FetchRequest) {
	n := 0
	for _, t := range r.Topics {
		n += len(t.Partitions)
	}
	most := max(embeddedPartition, min(r.MaxBytes, embeddedFetch)/int32(max(n, 1)))
	for _, t := range r.Topics {
		for i := range t.Partitions {
			p := &t.Partitions[i]
			p.PartitionMaxBytes = min(p.PartitionMaxBytes, most)
		}
	}
	r.MaxBytes = math.MaxInt32
}
