// Package ledger keeps what was booked right: it prices it again with another
// price book and says what has to be added, turns it into statements, and compares
// it with what a provider sends an invoice for. What was booked is never edited.
//
// Nothing here speaks to a database: rows come in and rows go out.
package ledger

import (
	"time"

	"github.com/shopspring/decimal"

	"github.com/sira-ai/sira/schemas"
)

// Cost is the cost of one request as the ledger has it now.
type Cost struct {
	ID            string // origin of the request record
	RequestID     string
	Tenant        string
	Labels        map[string]string
	Time          time.Time
	Model         string // as requested
	Provider      string
	ProviderModel string
	State         schemas.CostState // with all adjustments so far
	Amount        decimal.Decimal   // with all adjustments so far
	Currency      string
	Adjustments   int // so far
	InputTokens   int64
	CacheRead     int64
	CacheWrite    int64
	OutputTokens  int64
	Lines         []Line
}

// Line is what one attempt cost when it was booked.
type Line struct {
	Attempt         int
	Provider, Model string
	State           schemas.CostState
	Amount          decimal.Decimal
	Price           string         // row of the price book; empty: unpriced
	Usage           *schemas.Usage // nil: only the totals of the cost are known
	Whole           bool           // without Usage: the totals are known to be all that was used
}

// Adjustment is an entry that is added to the ledger.
type Adjustment struct {
	Cost          *Cost
	Seq           int    // number among the cost's adjustments, from 1
	Kind          string // price, priced or settled
	State         schemas.CostState
	Amount        decimal.Decimal // added in Currency; may be negative
	Currency      string
	CurrencyAfter string
	Prices        []string // of each line, now
}

// The kinds of Adjustment.
const (
	KindPrice   = "price"   // a price was fixed
	KindPriced  = "priced"  // a price arrived
	KindSettled = "settled" // an estimate became final
)
