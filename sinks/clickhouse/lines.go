package clickhouse

import (
	"github.com/shopspring/decimal"

	"github.com/sira-ai/sira/schemas"
)

// costLines turns the lines of a cost event into the eight parallel arrays of the
// costs table.
func costLines(lines []schemas.CostLine) []any {
	n := len(lines)
	kinds, attempts, providers, models := make([]string, n), make([]uint16, n), make([]string, n), make([]string, n)
	states, amounts, prices := make([]string, n), make([]decimal.Decimal, n), make([]string, n)
	usages := make([]string, n)
	for i := range lines {
		l := &lines[i]
		kinds[i], attempts[i], providers[i], models[i] = l.Kind, uint16(l.Attempt), l.Provider, l.Model
		states[i], amounts[i], prices[i] = string(l.State), l.Amount, l.PriceVersion
		usages[i] = l.Usage
	}
	return []any{kinds, attempts, providers, models, states, amounts, prices, usages}
}
