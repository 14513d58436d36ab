package cost

import (
	"math/big"
	"strings"

	"github.com/shopspring/decimal"

	"github.com/sira-ai/sira/schemas"
)

// reasoning is the part that a Usage counts in a field of its own.
const reasoning = "output.reasoning"

// partSides maps every part that a row may price to the column that it is a part
// of. The names are those of [schemas.Usage.Details].
var partSides = map[string]int{
	"input.audio": input, "input.image": input, "input.video": input, "input.document": input, "input.tool_prompt": input,
	"cache_read.audio": cacheRead, "cache_read.image": cacheRead, "cache_read.video": cacheRead, "cache_read.document": cacheRead,
	"output.audio": output, "output.image": output, "output.video": output, reasoning: output,
}

// atSidePrice are the parts that cost what their side costs unless a row says
// otherwise: they are text, whatever it is used for. All others are sold apart by
// some vendors, so that a row has to say what they cost.
var atSidePrice = map[string]bool{
	"input.text": true, "cache_read.text": true, "output.text": true, "input.tool_prompt": true, reasoning: true,
	"prediction.accepted": true, "prediction.rejected": true,
}

// split takes the tokens that have a price of their own out of tokens, and returns
// what they cost in the row's scale, or nil where there are none. It reports false
// where a part is unknown to the row, or where the counts do not say how much of
// a part came from a cache.
func (r *row) split(u *schemas.Usage, tokens *[columns]int64) (*big.Int, bool) {
	var apart *big.Int
	take := func(side int, n int64, price *big.Int) {
		if apart == nil {
			apart = new(big.Int)
		}
		apart.Add(apart, new(big.Int).Mul(big.NewInt(n), price))
		tokens[side] -= n
	}
	if price := r.parts[reasoning]; price != nil && u.ReasoningTokens > 0 {
		take(output, u.ReasoningTokens, price)
	}
	for name, n := range u.Details {
		price, said := r.parts[name]
		switch {
		case n == 0 || name == reasoning:
			continue
		case n < 0 || !said && !atSidePrice[name]:
			return nil, false
		case price == nil:
			continue // at the price of its side
		}
		side := partSides[name]
		if side == input && u.CacheReadTokens+u.CacheWriteTokens > 0 {
			cached, known := cachedPart(u, name)
			if !known {
				return nil, false
			}
			n -= cached
		}
		take(side, n, price)
	}
	return apart, true
}

// cachedPart returns how much of a part of the input was read from a cache. It is
// not known where nothing was said about the parts of the cache, or where part of
// the input was written to one.
func cachedPart(u *schemas.Usage, name string) (int64, bool) {
	if u.CacheWriteTokens > 0 {
		return 0, false
	}
	kind := strings.TrimPrefix(name, "input.")
	if n, ok := u.Details["cache_read."+kind]; ok {
		return n, n >= 0 && n <= u.Details[name]
	}
	for other := range u.Details {
		if strings.HasPrefix(other, "cache_read.") {
			return 0, true // the parts of the cache are known, and this is not among them
		}
	}
	return 0, false
}

// Limits of a quantity, far from any real one.
const (
	maxUnitPlaces = 18
	maxUnitDigits = 36
)

// withUnits adds what is billed by unit. Every unit needs a price, be it 0.
func (r *row) withUnits(u *schemas.Usage, tokens *[columns]int64, apart *big.Int) (decimal.Decimal, bool) {
	total := new(big.Rat).SetFrac(r.sum(tokens, apart), new(big.Int).SetUint64(r.den))
	scale := new(big.Rat).SetInt(new(big.Int).Exp(big.NewInt(10), big.NewInt(schemas.MoneyScale), nil))
	for name, n := range u.Units {
		if n.IsZero() {
			continue
		}
		price, ok := r.units[name]
		if !ok || n.IsNegative() || n.Exponent() < -maxUnitPlaces || n.Exponent() > maxUnitDigits || n.NumDigits() > maxUnitDigits {
			return decimal.Decimal{}, false
		}
		total.Add(total, new(big.Rat).Mul(new(big.Rat).Mul(n.Rat(), price.Rat()), scale))
	}
	return rounded(total.Num(), total.Denom())
}
