package clickhouse

import (
	"fmt"
	"strconv"
	"strings"
)

// plan is a batch that was announced in the metadata of the committed offset
// before it was inserted: the offsets from first to last of one partition. After
// a crash the very same rows are read again and inserted again with the same
// token, and ClickHouse drops what it has already, in the table and in every
// view.
type plan struct{ first, last int64 }

const planVersion = "p1:"

func (p plan) String() string {
	return planVersion + strconv.FormatInt(p.first, 10) + "-" + strconv.FormatInt(p.last, 10)
}

// token names the batch for ClickHouse's deduplication.
func (p plan) token(topic string, partition int32) string {
	return fmt.Sprintf("%s/%d/%d-%d", topic, partition, p.first, p.last)
}

// parsePlan reads the metadata of a committed offset. Anything that is no plan,
// or no plan from that offset on, gives none.
func parsePlan(metadata string, offset int64) (plan, bool) {
	text, ok := strings.CutPrefix(metadata, planVersion)
	if !ok {
		return plan{}, false
	}
	a, b, ok := strings.Cut(text, "-")
	if !ok {
		return plan{}, false
	}
	first, err1 := strconv.ParseInt(a, 10, 64)
	last, err2 := strconv.ParseInt(b, 10, 64)
	if err1 != nil || err2 != nil || first < offset || last < first {
		return plan{}, false
	}
	return plan{first, last}, true
}
