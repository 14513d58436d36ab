package cost

import (
	"math/big"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/shopspring/decimal"

	"github.com/sira-ai/sira/schemas"
)

func load(t testing.TB, text string) *Book {
	t.Helper()
	b, err := Load(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func day(t testing.TB, s string) time.Time {
	t.Helper()
	at, err := time.Parse(time.RFC3339Nano, s)
	if err != nil {
		t.Fatal(err)
	}
	return at
}

const rows = `
prices:
  - {provider: openai, model: m, from: 2026-01-01, currency: USD, input: 1, output: 2, cache_read: 0.5}
  - {provider: openai, model: m, from: 2026-03-01, currency: USD, input: 10, output: 20}
  - {provider: openai, model: m, tier: flex, from: 2026-01-01, currency: USD, input: 0.25, output: 0.5}
  - {provider: contract, model: m, from: 2026-02-01, currency: EUR, input: 3, output: 4}
  - {provider: anthropic, model: c, from: 2026-01-01, currency: USD, input: 6, output: 22.5}
  - {provider: anthropic, model: c, from: 2026-01-01, currency: USD, max_input_tokens: 200, input: 3, output: 15, cache_read: 0.3, cache_write: 3.75, cache_write_1h: 6}
  - {provider: anthropic, model: bounded, from: 2026-01-01, currency: USD, max_input_tokens: 200, input: 3, output: 15}
`

func TestTheRowOfTheMomentTierBandAndNameApplies(t *testing.T) {
	t.Parallel()
	b := load(t, rows)
	openai := schemas.Target{Provider: "main", Kind: "openai", Model: "m"}
	contract := schemas.Target{Provider: "contract", Kind: "openai", Model: "m"}
	claude := schemas.Target{Provider: "claude", Kind: "anthropic", Model: "c"}
	bounded := schemas.Target{Provider: "claude", Kind: "anthropic", Model: "bounded"}
	million := schemas.Usage{InputTokens: 1_000_000}
	for _, c := range []struct {
		name    string
		target  schemas.Target
		at      string
		usage   schemas.Usage
		version string // empty: unknown
		amount  string
	}{
		{"before the first day nothing is known", openai, "2025-12-31T23:59:59.999999999Z", million, "", ""},
		{"a row applies from midnight UTC", openai, "2026-01-01T00:00:00Z", million, "openai/m@2026-01-01", "1"},
		{"midnight elsewhere is not midnight", openai, "2026-01-01T00:30:00+01:00", million, "", ""},
		{"until the last moment before the next", openai, "2026-02-28T23:59:59.999999999Z", million, "openai/m@2026-01-01", "1"},
		{"then the next applies", openai, "2026-03-01T00:00:00Z", million, "openai/m@2026-03-01", "10"},
		{"a name comes before its kind", contract, "2026-02-01T00:00:00Z", million, "contract/m@2026-02-01", "3"},
		{"but not before its day", contract, "2026-01-31T12:00:00Z", million, "openai/m@2026-01-01", "1"},
		{"a tier has its own rows", openai, "2026-03-01T00:00:00Z", schemas.Usage{InputTokens: 4, Tier: "flex"}, "openai/m@2026-01-01:flex", "0.000001"},
		{"an unknown tier is not the usual one", openai, "2026-03-01T00:00:00Z", schemas.Usage{InputTokens: 4, Tier: "priority"}, "", ""},
		{"default is the usual tier", openai, "2026-03-01T00:00:00Z", schemas.Usage{InputTokens: 4, Tier: "default"}, "openai/m@2026-03-01", "0.00004"},
		{"a band includes its limit", claude, "2026-01-01T00:00:00Z", schemas.Usage{InputTokens: 200}, "anthropic/c@2026-01-01<=200", "0.0006"},
		{"above it the next applies to all", claude, "2026-01-01T00:00:00Z", schemas.Usage{InputTokens: 201}, "anthropic/c@2026-01-01", "0.001206"},
		{"above the last band nothing is known", bounded, "2026-01-01T00:00:00Z", schemas.Usage{InputTokens: 201}, "", ""},
		{"an unknown model", schemas.Target{Kind: "openai", Model: "x"}, "2026-01-01T00:00:00Z", million, "", ""},
		{
			"every kind of token at its price", claude, "2026-01-01T00:00:00Z",
			schemas.Usage{InputTokens: 150, CacheReadTokens: 20, CacheWriteTokens: 30, CacheWrite1h: 10, OutputTokens: 7},
			"anthropic/c@2026-01-01<=200", "0.000546", // 100*3 + 20*0.3 + 20*3.75 + 10*6 + 7*15
		},
		{"a price that is not there is not derived", openai, "2026-03-01T00:00:00Z", schemas.Usage{InputTokens: 5, CacheReadTokens: 1}, "", ""},
		{"nothing used costs nothing", openai, "2026-03-01T00:00:00Z", schemas.Usage{}, "openai/m@2026-03-01", "0"},
		{"more cache reads than input", openai, "2026-01-01T00:00:00Z", schemas.Usage{InputTokens: 5, CacheReadTokens: 6}, "", ""},
		{"less than no tokens", openai, "2026-01-01T00:00:00Z", schemas.Usage{InputTokens: -5}, "", ""},
	} {
		amount, currency, version, known := b.Price(c.target, day(t, c.at), c.usage)
		if known != (c.version != "") || version != c.version || known != (currency != "") {
			t.Errorf("%s: got %q in %q, known %v; want %q", c.name, version, currency, known, c.version)
			continue
		}
		if known && amount.String() != c.amount {
			t.Errorf("%s: got %s, want %s", c.name, amount, c.amount)
		}
	}
}

func TestHalvesAreRoundedToEven(t *testing.T) {
	t.Parallel()
	b := load(t, `
prices:
  - {provider: p, model: half, from: 2026-01-01, currency: USD, per: 1, input: 0.0000000000005, output: 0}
  - {provider: p, model: third, from: 2026-01-01, currency: USD, per: 3, input: 1, output: 0}
  - {provider: p, model: split, from: 2026-01-01, currency: USD, per: 1, input: 0.0000000000003, output: 0.0000000000003}
`)
	for _, c := range []struct {
		model         string
		input, output int64
		want          string
	}{
		{"half", 1, 0, "0"},
		{"half", 2, 0, "0.000000000001"},
		{"half", 3, 0, "0.000000000002"},
		{"half", 5, 0, "0.000000000002"},
		{"third", 1, 0, "0.333333333333"},
		{"third", 2, 0, "0.666666666667"},
		{"split", 1, 1, "0.000000000001"}, // each rounded alone would be nothing
	} {
		got, _, _, _ := b.Price(schemas.Target{Provider: "p", Model: c.model}, day(t, "2026-06-01T00:00:00Z"), schemas.Usage{InputTokens: c.input, OutputTokens: c.output})
		if got.String() != c.want {
			t.Errorf("%s, %d in, %d out: got %s, want %s", c.model, c.input, c.output, got, c.want)
		}
	}
}

func TestPricesThatLookLikeFloatsAreExact(t *testing.T) {
	t.Parallel()
	// No float64 is 0.1234567890123456789 or 100000000.000000001.
	b := load(t, `
prices:
  - {provider: p, model: bare, from: 2026-01-01, currency: USD, per: 1, input: 0.123456789012345678, output: 100000000.000000001}
  - {provider: p, model: quoted, from: 2026-01-01, currency: USD, per: 1, input: "0.123456789012345678", output: '100000000.000000001'}
  - {provider: p, model: power, from: 2026-01-01, currency: USD, per: 1, input: 123456789012345678e-18, output: 1.00000000000000001e8}
`)
	for _, model := range []string{"bare", "quoted", "power"} {
		in, _, _, _ := b.Price(schemas.Target{Provider: "p", Model: model}, day(t, "2026-06-01T00:00:00Z"), schemas.Usage{InputTokens: 1_000_000})
		out, _, _, known := b.Price(schemas.Target{Provider: "p", Model: model}, day(t, "2026-06-01T00:00:00Z"), schemas.Usage{OutputTokens: 3})
		if !known || in.String() != "123456.789012345678" || out.String() != "300000000.000000003" {
			t.Errorf("%s: got %s and %s, known %v", model, in, out, known)
		}
	}
}

func TestAmountsBeyondTheLedgerAreUnknown(t *testing.T) {
	t.Parallel()
	b := load(t, "prices:\n  - {provider: p, model: m, from: 2026-01-01, currency: USD, per: 1, input: 999999999}\n")
	at := day(t, "2026-06-01T00:00:00Z")
	if got, _, _, known := b.Price(schemas.Target{Provider: "p", Model: "m"}, at, schemas.Usage{InputTokens: 1 << 50}); !known || got.String() != "1125899905716724093157376" {
		t.Errorf("got %s, known %v", got, known)
	}
	if got, _, _, known := b.Price(schemas.Target{Provider: "p", Model: "m"}, at, schemas.Usage{InputTokens: 1 << 62}); known {
		t.Errorf("got %s, which decimal(38,12) can't hold", got)
	}
}

// TestAmountsEqualRationalArithmetic compares both ways of computing with big.Rat
// over prices and counts of all sizes.
func TestAmountsEqualRationalArithmetic(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(1, 2))
	fast := 0
	for i := range 20_000 {
		var prices [columns]*decimal.Decimal
		for c := range prices {
			places := rng.Int32N(maxPlaces + 1)
			d := decimal.New(rng.Int64N(1+1_000_000_000>>rng.IntN(30)), -places)
			prices[c] = &d
		}
		per := []int64{1, 1000, 1_000_000, 3, 7, maxPer, 1 + rng.Int64N(maxPer)}[rng.IntN(7)]
		r := newRow(prices, nil, per)
		size := int64(1) << (4 + rng.IntN(44))
		u := schemas.Usage{CacheReadTokens: rng.Int64N(size), CacheWriteTokens: rng.Int64N(size), OutputTokens: rng.Int64N(size)}
		u.InputTokens = u.CacheReadTokens + u.CacheWriteTokens + rng.Int64N(size)
		u.CacheWrite1h = rng.Int64N(u.CacheWriteTokens + 1)

		got, ok := r.amount(&u)
		if want := reference(prices, per, &u); !ok || !got.Equal(want) {
			t.Fatalf("case %d: got %s (%v), want %s", i, got, ok, want)
		}
		tokens := [columns]int64{output: u.OutputTokens}
		if _, ok := r.fast(&tokens); ok {
			fast++
		}
	}
	if fast < 5000 {
		t.Errorf("only %d cases took the fast way; the test compares little", fast)
	}
}

// reference is the formula of CANONICAL.md section 4 in rationals.
func reference(prices [columns]*decimal.Decimal, per int64, u *schemas.Usage) decimal.Decimal {
	sum := new(big.Rat)
	add := func(tokens int64, price *decimal.Decimal) {
		sum.Add(sum, new(big.Rat).Mul(new(big.Rat).SetInt64(tokens), price.Rat()))
	}
	add(u.InputTokens-u.CacheReadTokens-u.CacheWriteTokens, prices[input])
	add(u.CacheReadTokens, prices[cacheRead])
	add(u.CacheWriteTokens-u.CacheWrite1h, prices[cacheWrite])
	add(u.CacheWrite1h, prices[cacheWrite1h])
	add(u.OutputTokens, prices[output])
	sum.Quo(sum, new(big.Rat).SetInt64(per))
	sum.Mul(sum, new(big.Rat).SetInt64(1_000_000_000_000))
	twice := new(big.Int).Mul(sum.Num(), big.NewInt(2))
	q := new(big.Int).Quo(twice.Add(twice, sum.Denom()), new(big.Int).Mul(sum.Denom(), big.NewInt(2)))
	// q is rounded half up; an exact half must not make it odd.
	exact := new(big.Rat).Sub(new(big.Rat).SetInt(q), sum)
	if exact.Cmp(big.NewRat(1, 2)) == 0 && q.Bit(0) == 1 {
		q.Sub(q, big.NewInt(1))
	}
	return decimal.NewFromBigInt(q, -12)
}
