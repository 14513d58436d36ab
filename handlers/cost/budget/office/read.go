package office

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/shopspring/decimal"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// Account is how a budget stands, as its owner kept it.
type Account struct {
	Seq      uint64          // of the last decision
	Window   time.Time       // start of the window that Spent is of; zero: nothing was decided yet
	Spent    decimal.Decimal // settled in the window
	Reserved decimal.Decimal // set aside
	Warning  int             // highest percentage of the limit that was passed in the window
	Owner    string          // instance that took the partition over last
	Since    time.Time       // when it did
	Open     []Reservation   // money that is set aside, in order of expiry
}

// Reservation is money that is set aside for a call.
type Reservation struct {
	Call   string          `json:"call"` // origin of the request record
	Amount decimal.Decimal `json:"amount"`
	Until  time.Time       `json:"until"`
}

// quiet is how long a topic whose last records were compacted away is waited for.
const quiet = 3 * time.Second

// Read returns how all budgets stand that the state topic knows of.
func Read(ctx context.Context, newClient func(...kgo.Opt) (*kgo.Client, error), topic string) (map[string]Account, error) {
	cl, err := newClient(kgo.ConsumeTopics(topic), kgo.ConsumeStartOffset(kgo.NewOffset().AtStart()), kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.FetchMaxWait(200*time.Millisecond), kgo.KeepControlRecords())
	if err != nil {
		return nil, err
	}
	defer cl.Close()
	ends, err := kadm.NewClient(cl).ListCommittedOffsets(ctx, topic)
	if err = errors.Join(err, ends.Error()); err != nil {
		return nil, fmt.Errorf("looking up topic %s: %w", topic, err)
	}
	left, tables := map[int32]int64{}, map[int32]*table{}
	ends.Each(func(o kadm.ListedOffset) {
		tables[o.Partition] = newTable()
		if o.Offset > 0 {
			left[o.Partition] = o.Offset
		}
	})
	for len(left) > 0 {
		poll, cancel := context.WithTimeout(ctx, quiet)
		fetches := cl.PollFetches(poll)
		cancel()
		if err := fetches.Err0(); errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
			break
		}
		if err := errors.Join(ctx.Err(), fetches.Err()); err != nil {
			return nil, fmt.Errorf("reading %s: %w", topic, err)
		}
		for r := range fetches.RecordsAll() {
			if !r.Attrs.IsControl() {
				if err := tables[r.Partition].take(r.Key, r.Value); err != nil {
					return nil, fmt.Errorf("partition %d offset %d: %w", r.Partition, r.Offset, err)
				}
			}
			if r.Offset+1 >= left[r.Partition] {
				delete(left, r.Partition)
			}
		}
	}
	out := map[string]Account{}
	for _, t := range tables {
		t.accounts(out)
	}
	return out, nil
}

func (t *table) accounts(out map[string]Account) {
	for id, s := range t.states {
		a := Account{Seq: s.Seq, Window: s.Window, Spent: s.Spent, Warning: s.Warning, Owner: t.owner.Owner, Since: t.owner.Since, Open: make([]Reservation, 0, len(s.Open))}
		for call, r := range s.Open {
			a.Reserved = a.Reserved.Add(r.Amount)
			a.Open = append(a.Open, Reservation{call, r.Amount, r.Until})
		}
		slices.SortFunc(a.Open, func(a, b Reservation) int {
			return cmp.Or(a.Until.Compare(b.Until), cmp.Compare(a.Call, b.Call))
		})
		if s.Seq > 0 {
			out[id] = a
		}
	}
}
