package avro

import (
	"errors"
	"fmt"
	"math"
	"math/big"
	"reflect"
	"slices"

	"github.com/shopspring/decimal"
	"github.com/twmb/avro"

	"github.com/sira-ai/sira/schemas"
)

const (
	// maxCoefficientBits bounds the work on an amount that someone else made.
	maxCoefficientBits = 4096
	// moneyPrecision is the number of digits that an amount has at most.
	moneyPrecision = 38
	// maxDecimalBytes is more than any amount of 38 digits needs.
	maxDecimalBytes = 32
)

// ErrAmount says that an amount does not fit decimal(38,12). It is never
// rounded to fit.
var ErrAmount = errors.New("amount does not fit decimal(38,12)")

// decimalType maps [decimal.Decimal] to Avro's decimal on bytes: the unscaled
// value as a big-endian two's complement number.
func decimalType() avro.CustomType {
	return avro.CustomType{
		LogicalType: "decimal",
		AvroType:    "bytes",
		GoType:      reflect.TypeFor[decimal.Decimal](),
		Encode: func(v any, node *avro.SchemaNode) (any, error) {
			d, ok := v.(decimal.Decimal)
			if !ok {
				return nil, avro.ErrSkipCustomType
			}
			if n, ok := unscaleSmall(d, node.Scale); ok {
				return appendSmallTwosComplement(nil, n), nil
			}
			unscaled, err := unscale(d, node.Scale, node.Precision)
			if err != nil {
				return nil, err
			}
			return twosComplement(unscaled), nil
		},
		Decode: func(v any, node *avro.SchemaNode) (any, error) {
			b, ok := v.([]byte)
			if !ok {
				return nil, avro.ErrSkipCustomType
			}
			return rescale(b, node.Scale, node.Precision)
		},
	}
}

// smallDigits is how many digits an int64 always holds.
const smallDigits = 18

// unscaleSmall is unscale for amounts of few digits, which nearly all are, without
// big numbers.
func unscaleSmall(d decimal.Decimal, scale int) (int64, bool) {
	if d.IsZero() {
		return 0, true
	}
	shift := int(d.Exponent()) + scale
	if shift < 0 || shift > smallDigits || d.NumDigits()+shift > smallDigits {
		return 0, false
	}
	n := d.CoefficientInt64()
	for range shift {
		n *= 10
	}
	return n, true
}

// unscale returns d * 10^scale, which must be whole and within precision.
func unscale(d decimal.Decimal, scale, precision int) (*big.Int, error) {
	n := d.Coefficient()
	shift := int64(d.Exponent()) + int64(scale)
	switch {
	case n.Sign() == 0:
		return n, nil
	case n.BitLen() > maxCoefficientBits, shift > int64(precision), -shift > maxCoefficientBits:
		return nil, ErrAmount
	case shift > 0:
		n.Mul(n, powerOfTen(int(shift)))
	case shift < 0:
		var left big.Int
		if n.QuoRem(n, powerOfTen(int(-shift)), &left); left.Sign() != 0 {
			return nil, fmt.Errorf("%w: more than %d decimal places", ErrAmount, scale)
		}
	}
	if n.CmpAbs(powerOfTen(precision)) >= 0 {
		return nil, fmt.Errorf("%w: more than %d digits", ErrAmount, precision)
	}
	return n, nil
}

func rescale(b []byte, scale, precision int) (decimal.Decimal, error) {
	if len(b) > maxDecimalBytes {
		return decimal.Decimal{}, fmt.Errorf("%w: %d bytes", ErrAmount, len(b))
	}
	if len(b) <= 8 && precision > smallDigits {
		return rescaleSmall(b, scale), nil
	}
	n := new(big.Int).SetBytes(b)
	if len(b) > 0 && b[0]&0x80 != 0 {
		n.Sub(n, new(big.Int).Lsh(big.NewInt(1), uint(8*len(b))))
	}
	if n.CmpAbs(powerOfTen(precision)) >= 0 {
		return decimal.Decimal{}, fmt.Errorf("%w: more than %d digits", ErrAmount, precision)
	}
	if n.Sign() == 0 {
		return decimal.Decimal{}, nil
	}
	return decimal.NewFromBigInt(n, int32(-scale)), nil
}

// rescaleSmall is rescale for amounts that an int64 holds.
func rescaleSmall(b []byte, scale int) decimal.Decimal {
	var n int64
	if len(b) > 0 && b[0]&0x80 != 0 {
		n = -1
	}
	for _, digits := range b {
		n = n<<8 | int64(digits)
	}
	if n == 0 {
		return decimal.Decimal{}
	}
	return decimal.New(n, int32(-scale))
}

// twosComplement returns the shortest form of n.
func twosComplement(n *big.Int) []byte {
	if n.Sign() >= 0 {
		b := n.Bytes()
		if len(b) == 0 || b[0]&0x80 != 0 {
			b = slices.Insert(b, 0, 0)
		}
		return b
	}
	// -n-1 has the bits of n turned over.
	b := new(big.Int).Not(n).Bytes()
	if len(b) == 0 || b[0]&0x80 != 0 {
		b = slices.Insert(b, 0, 0)
	}
	for i := range b {
		b[i] = ^b[i]
	}
	return b
}

// smallSize returns how many bytes the shortest form of n has.
func smallSize(n int64) int {
	size := 1
	for ; n > math.MaxInt8 || n < math.MinInt8; n >>= 8 {
		size++
	}
	return size
}

// appendSmallTwosComplement appends the shortest form of n.
func appendSmallTwosComplement(dst []byte, n int64) []byte {
	for i := smallSize(n) - 1; i >= 0; i-- {
		dst = append(dst, byte(n>>(8*i)))
	}
	return dst
}

func powerOfTen(n int) *big.Int {
	return new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(n)), nil)
}

// The ledger's scale is part of the contract: another one does not compile.
const _ = uint(schemas.MoneyScale-12) + uint(12-schemas.MoneyScale)
