package avro

import (
	"bytes"
	"errors"
	"math/big"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/shopspring/decimal"
	"github.com/twmb/avro"

	"github.com/sira-ai/sira/schemas"
)

func TestAmountIsExactOrRefused(t *testing.T) {
	t.Parallel()
	c, _ := registered(t)
	nines := strings.Repeat("9", 26) + "." + strings.Repeat("9", 12)
	tests := []struct {
		amount string
		fits   bool
	}{
		{"0", true},
		{"-0", true},
		{"1", true},
		{"-1", true},
		{"0.000000000001", true},
		{"-0.000000000001", true},
		{"0.00000012800", true},
		{"0.128", true},
		{"-0.128", true},
		{"0.000000000127", true},
		{"-0.000000000128", true},
		{"-0.000000000129", true},
		{"1e25", true},
		{nines, true},
		{"-" + nines, true},
		{"1.50000000000000000000000000", true},
		{"0e9999", true},
		{"0e-9999", true},
		{"0.0000000000001", false},
		{"1.0000000000000001", false},
		{"1e26", false},
		{"-1e26", false},
		{"1e9999", false},
		{"1e-9999", false},
		{"1" + strings.Repeat("0", 2000) + "e-2000", false},
	}
	for _, test := range tests {
		want := decimal.RequireFromString(test.amount)
		b, err := c.Cost.Append(nil, &schemas.CostEvent{Amount: want})
		if !test.fits {
			if !errors.Is(err, ErrAmount) || len(b) != 0 {
				t.Errorf("%.40s: got %v and %d bytes", test.amount, err, len(b))
			}
			continue
		}
		var got schemas.CostEvent
		if err != nil || c.Cost.Decode(t.Context(), b, &got) != nil || !got.Amount.Equal(want) {
			t.Errorf("%.40s: got %v, %v", test.amount, got.Amount, err)
		}
	}
}

func TestForeignAmountBeyondThePrecisionIsRefused(t *testing.T) {
	t.Parallel()
	for name, b := range map[string][]byte{
		"39 digits": twosComplement(powerOfTen(38)),
		"too long":  make([]byte, maxDecimalBytes+1),
	} {
		if got, err := rescale(b, 12, 38); !errors.Is(err, ErrAmount) {
			t.Errorf("%s: got %v, %v", name, got, err)
		}
	}
	padded := append(make([]byte, 8), twosComplement(big.NewInt(1_500_000_000_000))...)
	if got, err := rescale(padded, 12, 38); err != nil || got.String() != "1.5" {
		t.Errorf("padded with zeros: got %v, %v", got, err)
	}
	if got, err := rescale(nil, 12, 38); err != nil || !got.IsZero() {
		t.Errorf("no bytes: got %v, %v", got, err)
	}
}

// FuzzAmount holds our reading of an amount's bytes against the library's own
// and writes it back.
func FuzzAmount(f *testing.F) {
	f.Add([]byte{0x80})
	f.Add([]byte{0x00, 0x80})
	f.Add([]byte{0xff, 0x7f})
	f.Fuzz(func(t *testing.T, b []byte) {
		got, err := rescale(b, 12, 38)
		if err != nil {
			return
		}
		if want := avro.RatFromBytes(b, 12); want.Cmp(got.Rat()) != 0 {
			t.Fatalf("% x: got %v, want %v", b, got, want)
		}
		n, err := unscale(got, 12, 38)
		if err != nil {
			t.Fatal(err)
		}
		short := twosComplement(n)
		if back, err := rescale(short, 12, 38); err != nil || !back.Equal(got) || len(b) > 0 && len(short) > len(b) {
			t.Fatalf("% x was written back as % x: %v, %v", b, short, back, err)
		}
	})
}

func TestAmountsOfFewDigitsAreTheSameBytes(t *testing.T) {
	t.Parallel()
	rnd := rand.New(rand.NewPCG(1, 1))
	edges := []int64{0, 1, -1, 127, 128, -128, -129, 255, 256, 32767, 32768, -32768, -32769, 1e17, -1e17, 999_999_999_999_999_999}
	for i := range 20_000 {
		n := rnd.Int64() >> rnd.IntN(64)
		if i < len(edges) {
			n = edges[i]
		}
		d := decimal.New(n, -int32(rnd.IntN(13)))
		small, ok := unscaleSmall(d, schemas.MoneyScale)
		if !ok {
			continue
		}
		want, err := unscale(d, schemas.MoneyScale, 38)
		if err != nil || !want.IsInt64() || want.Int64() != small || !bytes.Equal(appendSmallTwosComplement(nil, small), twosComplement(want)) {
			t.Fatalf("%s: %d in %x, want %v in %x, %v", d, small, appendSmallTwosComplement(nil, small), want, twosComplement(want), err)
		}
	}
}
