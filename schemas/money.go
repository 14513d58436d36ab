package schemas

import "github.com/shopspring/decimal"

// MoneyScale is the number of decimal places of an amount in the ledger:
// 10^-12 of a unit, far below the price of a token.
const MoneyScale = 12

// Money is an exact amount in one currency (ISO 4217).
type Money struct {
	Amount   decimal.Decimal `json:"amount" avro:"amount"`
	Currency string          `json:"currency" avro:"currency"`
}

// CostState says what is known of a cost.
type CostState string

// The states. An unknown price is unpriced, never zero.
const (
	CostPriced    CostState = "priced"    // reported usage at a known price
	CostEstimated CostState = "estimated" // a known price, but the usage is the gateway's own count; settled later
	CostUnpriced  CostState = "unpriced"  // usage without a price; settled when the price arrives
	CostNone      CostState = "none"      // nothing was consumed that a provider bills
)
