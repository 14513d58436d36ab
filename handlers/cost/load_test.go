package cost

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/shopspring/decimal"

	"github.com/sira-ai/sira/schemas"
)

func TestAllFaultsAreReportedAtOnceWithTheirPlaces(t *testing.T) {
	t.Parallel()
	_, err := Load(strings.NewReader(`prices:
  - provider: openai
    model: m
    from: 2026-13-01
    currency: usd
    input: two
    output: -1
    cache_reed: 1
  - {provider: openai, from: 2026-01-01, currency: USD, per: 0, input: 1, input: 2}
  - {provider: openai, model: m, from: 2026-01-01, currency: USD}
  - just text
  - {provider: openai, model: [m], from: 2026-01-01, currency: USD, input: 0.1234567890123456789, output: 1e10}
  - {provider: openai, model: twice, from: 2026-01-01, currency: USD, input: 1}
  - {provider: openai, model: twice, from: 2026-01-01, currency: USD, input: 2}
price: []
`))
	faults, ok := errors.AsType[Faults](err)
	if !ok {
		t.Fatalf("got %v, want Faults", err)
	}
	const price = "write a price such as 2.50: from 0 to below 1000000000, with at most 18 decimal places"
	const keys = "provider, model, tier, from, currency, per, max_input_tokens, source, parts, units, tiers, input, output, cache_read, cache_write, cache_write_1h"
	want := []string{
		"4:11: prices[0].from: write a day such as 2026-01-31",
		"5:15: prices[0].currency: write three capital letters (ISO 4217) such as USD",
		"6:12: prices[0].input: " + price,
		"7:13: prices[0].output: " + price,
		"8:5: prices[0].cache_reed: unknown key; there are " + keys,
		"9:5: prices[1].model: the key is missing",
		"9:62: prices[1].per: write a whole number from 1 to 1000000000",
		"9:75: prices[1].input: this key is here twice; keep one",
		"10:5: prices[2]: the row has no price; write input and output, parts or units",
		"11:5: prices[3]: write a mapping with the keys " + keys,
		"12:31: prices[4].model: write a single value, in quotes if it looks like something else",
		"12:76: prices[4].input: " + price,
		"12:107: prices[4].output: " + price,
		"14:5: prices[6]: openai/twice@2026-01-01 is in line 13 already; keep one",
		"15:1: price: unknown key; there are prices",
	}
	if diff := cmp.Diff(want, strings.Split(faults.Error(), "\n")); diff != "" {
		t.Error(diff)
	}
}

func TestWhatIsNoPriceBookIsRefused(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{
		"nothing":         "",
		"a comment":       "# prices\n",
		"no YAML":         "prices: [",
		"no list":         "prices: 3\n",
		"null":            "prices:\n",
		"a list alone":    "- {}\n",
		"two documents":   "prices: []\n---\nprices: []\n",
		"an alias":        "prices:\n  - &a {provider: p, model: m, from: 2026-01-01, currency: USD, input: 1}\n  - *a\n",
		"infinite price":  "prices:\n  - {provider: p, model: m, from: 2026-01-01, currency: USD, input: .inf}\n",
		"hex price":       "prices:\n  - {provider: p, model: m, from: 2026-01-01, currency: USD, input: 0x10}\n",
		"huge exponent":   "prices:\n  - {provider: p, model: m, from: 2026-01-01, currency: USD, input: 1e999999999}\n",
		"a float for per": "prices:\n  - {provider: p, model: m, from: 2026-01-01, currency: USD, input: 1, per: 1.5}\n",
	} {
		_, err := Load(strings.NewReader(text))
		faults, ok := errors.AsType[Faults](err)
		if !ok || faults[0].Line < 1 || faults[0].Column < 1 {
			t.Errorf("%s: got %v, want faults with a place", name, err)
		}
	}
	broken := errors.New("disk on fire")
	if _, err := Load(iotest.ErrReader(broken)); !errors.Is(err, broken) {
		t.Errorf("got %v, want what the reader said", err)
	}
}

func TestTheBuiltInBookKnowsItsModels(t *testing.T) {
	t.Parallel()
	b, err := DefaultBook()
	if err != nil {
		t.Fatal(err)
	}
	usage := schemas.Usage{InputTokens: 1000, CacheReadTokens: 400, OutputTokens: 100}
	for _, c := range []struct{ kind, model, amount string }{
		{"openai", "gpt-4o", "0.003"},
		{"openai", "gpt-4o-mini", "0.00018"},
		{"openai", "gpt-4.1", "0.0022"},
		{"openai", "gpt-4.1-mini", "0.00044"},
		{"openai", "o4-mini", "0.00121"},
		{"anthropic", "claude-sonnet-4-5", "0.00342"},
		{"anthropic", "claude-haiku-4-5", "0.00114"},
	} {
		amount, currency, version, known := b.Price(schemas.Target{Provider: "any", Kind: c.kind, Model: c.model}, time.Date(2026, 11, 23, 0, 0, 0, 0, time.UTC), usage)
		if !known || currency != "USD" || amount.String() != c.amount || !strings.HasPrefix(version, c.kind+"/"+c.model+"@") {
			t.Errorf("%s: got %s %s from %q, known %v; want %s", c.model, amount, currency, version, known, c.amount)
		}
	}
}

// Every provider that Sira speaks to has its main models in the built-in book.
func TestTheBuiltInBookKnowsEveryProvider(t *testing.T) {
	t.Parallel()
	b, err := DefaultBook()
	if err != nil {
		t.Fatal(err)
	}
	at := time.Date(2026, 11, 23, 0, 0, 0, 0, time.UTC)
	one := func(unit string) schemas.Usage {
		return schemas.Usage{Units: map[string]decimal.Decimal{unit: decimal.NewFromInt(1)}}
	}
	chat := schemas.Usage{InputTokens: 1000, OutputTokens: 100}
	for _, c := range []struct {
		kind, model string
		usage       schemas.Usage
		amount      string
	}{
		{"openai", "gpt-5.6", chat, "0.008"},
		{"openai", "gpt-5.6", schemas.Usage{InputTokens: 1000, OutputTokens: 100, Tier: "batch"}, "0.004"},
		{"openai", "gpt-5.6", schemas.Usage{InputTokens: 300_000}, "3"},
		{"openai", "gpt-audio", schemas.Usage{InputTokens: 1000, Details: map[string]int64{"input.audio": 900}}, "0.02905"},
		{"openai", "whisper-1", one("seconds"), "0.0001"},
		{"anthropic", "claude-opus-4-8", chat, "0.0075"},
		{"gemini", "gemini-2.5-flash", schemas.Usage{InputTokens: 1000, Details: map[string]int64{"input.audio": 100, "input.image": 500}}, "0.00037"},
		{"gemini", "imagen-4.0-generate-001", one("images"), "0.04"},
		{"azure_openai", "gpt-4.1", chat, "0.0028"},
		{"cohere", "command-a-03-2025", chat, "0.0035"},
		{"cohere", "rerank-v3.5", one("search_units"), "0.002"},
		{"ai21", "jamba-large-1.7", chat, "0.0028"},
		{"together", "meta-llama/Llama-3.3-70B-Instruct-Turbo", chat, "0.000968"},
		{"replicate", "meta/llama-3-70b-instruct", schemas.Usage{InputTokens: 1000, OutputTokens: 100, Units: map[string]decimal.Decimal{"gpu_seconds": dec("3")}}, "0.000925"},
		{"stability", "stable-image-core", one("images"), "0.03"},
		{"huggingface", "openai/gpt-oss-120b:groq", chat, "0.000225"},
	} {
		amount, _, _, known := b.Price(schemas.Target{Kind: c.kind, Model: c.model}, at, c.usage)
		if !known || amount.String() != c.amount {
			t.Errorf("%s %s: got %s, known %v; want %s", c.kind, c.model, amount, known, c.amount)
		}
	}
	for _, r := range b.Rows() {
		if r.Source == "" {
			t.Errorf("%s does not say where its prices come from", r.Version)
		}
	}
}

// FuzzLoad checks that no text makes Load panic or accept a book that it can't
// compute with.
func FuzzLoad(f *testing.F) {
	f.Add(defaultPrices)
	f.Add([]byte(rows))
	f.Add([]byte(partsBook))
	f.Add([]byte("prices:\n  - &a {provider: p, <<: *a, ? [x] : y}\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		b, err := Load(bytes.NewReader(text))
		if err != nil {
			faults, ok := errors.AsType[Faults](err)
			if !ok || len(faults) == 0 {
				t.Fatalf("got %v, want faults", err)
			}
			for _, fault := range faults {
				if fault.Line < 1 || fault.Message == "" {
					t.Fatalf("fault without place or message: %+v", fault)
				}
			}
			return
		}
		u := schemas.Usage{InputTokens: 900, CacheReadTokens: 300, CacheWriteTokens: 300, CacheWrite1h: 100, OutputTokens: 1 << 40}
		for k, periods := range b.periods {
			u.Tier = k.tier
			for _, p := range periods {
				amount, currency, version, known := b.Price(schemas.Target{Provider: k.provider, Model: k.model}, p.from, u)
				if known && (amount.IsNegative() || len(currency) != 3 || version == "") {
					t.Fatalf("%+v: got %s %q %q", k, amount, currency, version)
				}
			}
		}
	})
}
