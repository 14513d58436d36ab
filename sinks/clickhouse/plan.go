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
//
// born, the announcement's time in microseconds, keeps plans apart that name the
// same offsets: those of a topic that was deleted and made anew begin at 0 again.
type plan struct{ first, last, born int64 }

const planVersion = "p1:"

func (p plan) String() string { return fmt.Sprintf("%s%d-%d@%d", planVersion, p.first, p.last, p.born) }

// token names the batch for ClickHouse's deduplication.
func (p plan) token(topic string, partition int32) string {
	return fmt.Sprintf("%s/%d/%d-%d@%d", topic, partition, p.first, p.last, p.born)
}

// parsePlan reads the metadata of a committed offset. Anything that is no plan,
// or no plan from that offset on, gives none.
func parsePlan(metadata string, offset int64) (plan, bool) {
	text, ok := strings.CutPrefix(metadata, planVersion)
	if !ok {
		return plan{}, false
	}
	offsets, born, _ := strings.Cut(text, "@")
	first, last, _ := strings.Cut(offsets, "-")
	var p plan
	for _, n := range []struct {
		text string
		to   *int64
	}{{first, &p.first}, {last, &p.last}, {born, &p.born}} {
		v, err := strconv.ParseInt(n.text, 10, 64)
		if err != nil {
			return plan{}, false
		}
		*n.to = v
	}
	if p.first < offset || p.last < p.first {
		return plan{}, false
	}
	return p, true
}
