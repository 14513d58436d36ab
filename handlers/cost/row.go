package cost

import (
	"math"
	"math/big"
	"math/bits"

	"github.com/shopspring/decimal"

	"github.com/sira-ai/sira/schemas"
)

// The columns of a row.
const (
	input = iota
	output
	cacheRead
	cacheWrite
	cacheWrite1h
	columns
)

// columnNames are the columns' keys in a price book.
var columnNames = [columns]string{"input", "output", "cache_read", "cache_write", "cache_write_1h"}

// row is one row of the book, with its prices as integers of one common scale: an
// amount in units of 10^-12 is the sum of tokens times price, times num, over den.
type row struct {
	currency string
	version  string
	maxInput int64 // largest input that the row is for; 0 is any
	has      [columns]bool
	price    [columns]uint64
	wide     [columns]*big.Int // the same without a limit
	parts    map[string]*big.Int
	units    map[string]decimal.Decimal // for one unit
	tiers    map[string]*row            // the same row at another tier's share
	small    bool                       // whether all prices fit in price
	num, den uint64
}

// newRow scales prices, per tokens, to integers. It expects prices of at most
// maxPlaces and maxFactorPlaces places together and per of at most maxPer, which
// keeps num and den small. A part that is nil costs what its side costs.
func newRow(prices [columns]*decimal.Decimal, parts map[string]*decimal.Decimal, per int64) *row {
	r := &row{small: true}
	var scale int32
	for _, p := range prices {
		if p != nil {
			scale = max(scale, -p.Exponent())
		}
	}
	for _, p := range parts {
		if p != nil {
			scale = max(scale, -p.Exponent())
		}
	}
	for i, p := range prices {
		if p == nil {
			continue
		}
		r.has[i], r.wide[i] = true, p.Shift(scale).BigInt()
		if r.wide[i].IsUint64() {
			r.price[i] = r.wide[i].Uint64()
		} else {
			r.small = false
		}
	}
	if len(parts) > 0 {
		r.parts = make(map[string]*big.Int, len(parts))
	}
	for name, p := range parts {
		r.parts[name] = nil
		if p != nil {
			r.parts[name] = p.Shift(scale).BigInt()
		}
	}
	ten := big.NewInt(10)
	den := new(big.Int).Exp(ten, big.NewInt(int64(scale)), nil)
	den.Mul(den, big.NewInt(per))
	ratio := new(big.Rat).SetFrac(new(big.Int).Exp(ten, big.NewInt(schemas.MoneyScale), nil), den)
	r.num, r.den = ratio.Num().Uint64(), ratio.Denom().Uint64()
	return r
}

// amount returns what usage costs (CANONICAL.md section 4), rounded half to even
// once. It reports false where the price of a column, a part or a unit is
// missing, where the counts contradict each other, and where the amount is beyond
// the ledger.
func (r *row) amount(u *schemas.Usage) (decimal.Decimal, bool) {
	if u.CacheReadTokens < 0 || u.CacheReadTokens > u.InputTokens || u.CacheWriteTokens > u.InputTokens-u.CacheReadTokens {
		return decimal.Decimal{}, false
	}
	tokens := [columns]int64{
		input:        u.InputTokens - u.CacheReadTokens - u.CacheWriteTokens,
		output:       u.OutputTokens,
		cacheRead:    u.CacheReadTokens,
		cacheWrite:   u.CacheWriteTokens - u.CacheWrite1h,
		cacheWrite1h: u.CacheWrite1h,
	}
	var apart *big.Int // what parts cost that have a price of their own
	if len(u.Details) > 0 || r.parts != nil {
		var ok bool
		if apart, ok = r.split(u, &tokens); !ok {
			return decimal.Decimal{}, false
		}
	}
	for i, n := range tokens {
		if n < 0 || n > 0 && !r.has[i] {
			return decimal.Decimal{}, false
		}
	}
	if len(u.Units) > 0 {
		return r.withUnits(u, &tokens, apart)
	}
	if apart == nil {
		if units, ok := r.fast(&tokens); ok {
			return decimal.New(units, -schemas.MoneyScale), true
		}
	}
	return r.exact(&tokens, apart)
}

// fast returns the amount in units of 10^-12, or false where 64 bits are too few.
func (r *row) fast(tokens *[columns]int64) (int64, bool) {
	if !r.small {
		return 0, false
	}
	var sum uint64
	for i, n := range tokens {
		hi, lo := bits.Mul64(uint64(n), r.price[i])
		var carry uint64
		sum, carry = bits.Add64(sum, lo, 0)
		if hi != 0 || carry != 0 {
			return 0, false
		}
	}
	hi, lo := bits.Mul64(sum, r.num)
	if hi >= r.den {
		return 0, false
	}
	q, rest := bits.Div64(hi, lo, r.den)
	if up := r.den - rest; rest > up || rest == up && q%2 == 1 {
		q++
	}
	return int64(q), q <= math.MaxInt64
}

// exact is fast without a limit, and with parts.
func (r *row) exact(tokens *[columns]int64, apart *big.Int) (decimal.Decimal, bool) {
	sum := r.sum(tokens, apart)
	return rounded(sum, new(big.Int).SetUint64(r.den))
}

// sum returns tokens times price times num.
func (r *row) sum(tokens *[columns]int64, apart *big.Int) *big.Int {
	sum := new(big.Int)
	if apart != nil {
		sum.Set(apart)
	}
	for i, n := range tokens {
		if n > 0 {
			sum.Add(sum, new(big.Int).Mul(big.NewInt(n), r.wide[i]))
		}
	}
	return sum.Mul(sum, new(big.Int).SetUint64(r.num))
}

// rounded returns the ratio as units of 10^-12, half to even, and whether the
// ledger can hold it.
func rounded(sum, den *big.Int) (decimal.Decimal, bool) {
	q, rest := new(big.Int).QuoRem(sum, den, new(big.Int))
	if c := rest.Cmp(new(big.Int).Sub(den, rest)); c > 0 || c == 0 && q.Bit(0) == 1 {
		q.Add(q, big.NewInt(1))
	}
	amount := decimal.NewFromBigInt(q, -schemas.MoneyScale)
	return amount, amount.LessThan(decimal.New(1, maxDigits-schemas.MoneyScale))
}

// maxDigits is what an amount in the ledger may have: decimal(38,12).
const maxDigits = 38
