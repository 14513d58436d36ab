package cost

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/shopspring/decimal"

	"github.com/sira-ai/sira/schemas"
)

const partsBook = `
prices:
  - {provider: p, model: ears, from: 2026-01-01, currency: USD, per: 1, input: 1, output: 10, cache_read: 0.5, parts: {input.audio: 7, cache_read.audio: 3, output.audio: 70, input.image: flat}}
  - {provider: p, model: thinks, from: 2026-01-01, currency: USD, per: 1, input: 1, output: 10, parts: {output.reasoning: 2}}
  - {provider: p, model: draws, from: 2026-01-01, currency: USD, per: 1, input: 1, output: 0, units: {images: 0.04, megapixels: 0}}
  - {provider: p, model: draws-only, from: 2026-01-01, currency: USD, units: {images: 0.04}}
  - {provider: p, model: listens, from: 2026-01-01, currency: USD, units: {seconds: 0.0001}}
  - {provider: p, model: tiers, from: 2026-01-01, currency: USD, per: 1, max_input_tokens: 10, input: 3, output: 10, parts: {input.audio: 5}, units: {images: 1}, tiers: {batch: 0.5, priority: 1.7501}}
  - {provider: p, model: tiers, from: 2026-01-01, currency: USD, per: 1, input: 6, output: 10, tiers: {batch: 0.5}}
  - {provider: p, model: tiers, tier: priority, from: 2026-02-01, currency: USD, per: 1, input: 100, output: 100}
  - {provider: p, model: tiers, from: 2026-03-01, currency: USD, per: 1, input: 3, output: 10}
`

func TestPartsUnitsAndTiersHavePricesOfTheirOwn(t *testing.T) {
	t.Parallel()
	b := load(t, partsBook)
	details := func(pairs map[string]int64, u schemas.Usage) schemas.Usage {
		u.Details = pairs
		return u
	}
	units := func(name, n string) schemas.Usage {
		return schemas.Usage{Units: map[string]decimal.Decimal{name: dec(n)}}
	}
	for _, c := range []struct {
		name, model, at string
		usage           schemas.Usage
		amount          string // empty: unknown
	}{
		{"a part replaces the flat rate of its tokens", "ears", "2026-01-01", details(map[string]int64{"input.audio": 4}, schemas.Usage{InputTokens: 10}), "34"},
		{"on both sides", "ears", "2026-01-01", details(map[string]int64{"input.audio": 4, "output.audio": 2}, schemas.Usage{InputTokens: 10, OutputTokens: 3}), "184"},
		{"a cached part is not paid twice", "ears", "2026-01-01", details(map[string]int64{"input.audio": 4, "cache_read.audio": 1}, schemas.Usage{InputTokens: 10, CacheReadTokens: 3}), "29"},
		{"which part was cached is not guessed", "ears", "2026-01-01", details(map[string]int64{"input.audio": 4}, schemas.Usage{InputTokens: 10, CacheReadTokens: 3}), ""},
		{"a known cache without the part", "ears", "2026-01-01", details(map[string]int64{"input.audio": 4, "cache_read.text": 3}, schemas.Usage{InputTokens: 10, CacheReadTokens: 3}), "32.5"},
		{"flat is the rate of the side", "ears", "2026-01-01", details(map[string]int64{"input.image": 4}, schemas.Usage{InputTokens: 10}), "10"},
		{"a part without a price is unknown", "ears", "2026-01-01", details(map[string]int64{"input.video": 4}, schemas.Usage{InputTokens: 10}), ""},
		{"and so is one that nobody has heard of", "ears", "2026-01-01", details(map[string]int64{"input.smell": 4}, schemas.Usage{InputTokens: 10}), ""},
		{"none of it costs nothing", "ears", "2026-01-01", details(map[string]int64{"input.smell": 0}, schemas.Usage{InputTokens: 10}), "10"},
		{"text is at the rate of its side", "ears", "2026-01-01", details(map[string]int64{"input.tool_prompt": 4, "prediction.rejected": 1}, schemas.Usage{InputTokens: 10, OutputTokens: 1}), "20"},
		{"a part larger than its total contradicts it", "ears", "2026-01-01", details(map[string]int64{"input.audio": 11}, schemas.Usage{InputTokens: 10}), ""},
		{"less than nothing", "ears", "2026-01-01", details(map[string]int64{"input.audio": -1}, schemas.Usage{InputTokens: 10}), ""},
		{"reasoning may have a price", "thinks", "2026-01-01", schemas.Usage{OutputTokens: 10, ReasoningTokens: 4}, "68"},
		{"or the one of output", "ears", "2026-01-01", schemas.Usage{OutputTokens: 10, ReasoningTokens: 4}, "100"},
		{"units add to tokens", "draws", "2026-01-01", schemas.Usage{InputTokens: 2, Units: map[string]decimal.Decimal{"images": dec("3"), "megapixels": dec("3.1")}}, "2.12"},
		{"units alone", "draws-only", "2026-01-01", units("images", "3"), "0.12"},
		{"tokens need a price beside units", "draws-only", "2026-01-01", schemas.Usage{InputTokens: 2, Units: map[string]decimal.Decimal{"images": dec("3")}}, ""},
		{"parts of a unit", "listens", "2026-01-01", units("seconds", "12.345678901"), "0.00123456789"},
		{"are rounded half to even", "listens", "2026-01-01", units("seconds", "0.000000025"), "0.000000000002"},
		{"an unknown unit is unknown", "listens", "2026-01-01", units("minutes", "1"), ""},
		{"none of it costs nothing either", "listens", "2026-01-01", units("minutes", "0"), "0"},
		{"a quantity beyond reason", "listens", "2026-01-01", units("seconds", "1e9999"), ""},
		{"less than none", "listens", "2026-01-01", units("seconds", "-1"), ""},
		{"a tier pays its share", "tiers", "2026-01-01", schemas.Usage{InputTokens: 4, OutputTokens: 1, Tier: "batch"}, "11"},
		{"of parts, too, and not of units", "tiers", "2026-01-01", schemas.Usage{InputTokens: 4, Tier: "batch", Details: map[string]int64{"input.audio": 1}, Units: map[string]decimal.Decimal{"images": dec("1")}}, "8"},
		{"in its band", "tiers", "2026-01-01", schemas.Usage{InputTokens: 11, Tier: "batch"}, "33"},
		{"a share is exact", "tiers", "2026-01-01", schemas.Usage{InputTokens: 1, Tier: "priority"}, "5.2503"},
		{"a row of the tier comes first", "tiers", "2026-02-01", schemas.Usage{InputTokens: 1, Tier: "priority"}, "100"},
		{"a share ends with its row", "tiers", "2026-03-01", schemas.Usage{InputTokens: 1, Tier: "batch"}, ""},
		{"a tier that no row names", "tiers", "2026-01-01", schemas.Usage{InputTokens: 1, Tier: "flex"}, ""},
	} {
		amount, _, _, known := b.Price(schemas.Target{Provider: "p", Model: c.model}, day(t, c.at+"T00:00:00Z"), c.usage)
		if known != (c.amount != "") || known && amount.String() != c.amount {
			t.Errorf("%s: got %s, known %v; want %q", c.name, amount, known, c.amount)
		}
	}
}

func TestTheVersionNamesTheTier(t *testing.T) {
	t.Parallel()
	b := load(t, partsBook)
	_, _, version, _ := b.Price(schemas.Target{Provider: "p", Model: "tiers"}, day(t, "2026-01-01T00:00:00Z"), schemas.Usage{InputTokens: 4, Tier: "batch"})
	if version != "p/tiers@2026-01-01<=10:batch" {
		t.Errorf("got %q", version)
	}
}

func TestUsageInUnitsWithoutASourceIsPriced(t *testing.T) {
	t.Parallel()
	a := attempt("p", "draws-only", schemas.OK, "", 0, 0)
	a.Usage.Units = map[string]decimal.Decimal{"images": dec("2")}
	j := job(a)
	if err := New(Config{Book: load(t, partsBook)}).Handle(t.Context(), j); err != nil {
		t.Fatal(err)
	}
	if j.Cost.State != schemas.CostEstimated || !j.Cost.Amount.Equal(dec("0.08")) {
		t.Errorf("got %s %s, want estimated 0.08", j.Cost.State, j.Cost.Amount)
	}
}

func TestFaultsInsideARowAreNamed(t *testing.T) {
	t.Parallel()
	_, err := Load(strings.NewReader(`prices:
  - {provider: p, model: a, from: 2026-01-01, currency: USD, input: 1, parts: {input.sound: 1}}
  - {provider: p, model: b, from: 2026-01-01, currency: USD, input: 1, parts: {input.audio: cheap}, tiers: {batch: 0.12345, flex: 101}}
  - {provider: p, model: c, from: 2026-01-01, currency: USD, units: {Images: 1}}
  - {provider: p, model: d, from: 2026-01-01, currency: USD, units: 1}
  - {provider: p, model: e, tier: batch, from: 2026-01-01, currency: USD, input: 1, tiers: {flex: 1}}
  - {provider: p, model: f, from: 2026-01-01, currency: USD, units: {}}
`))
	var got []string
	for line := range strings.SplitSeq(err.Error(), "\n") {
		place, _, _ := strings.Cut(line[strings.Index(line, "prices"):], ": ")
		got = append(got, place)
	}
	want := []string{
		"prices[0].parts.input.sound", "prices[1].parts.input.audio", "prices[1].tiers.batch", "prices[1].tiers.flex",
		"prices[2].units.Images", "prices[2]", "prices[3].units", "prices[3]", "prices[4].tiers", "prices[5]",
	}
	if diff := cmp.Diff(want, got, cmp.Transformer("set", func(s []string) map[string]bool {
		m := map[string]bool{}
		for _, v := range s {
			m[v] = true
		}
		return m
	})); diff != "" {
		t.Errorf("%s\n%v", diff, err)
	}
}

func TestRowsAreListedAsTheyWereWritten(t *testing.T) {
	t.Parallel()
	b := load(t, partsBook)
	if n := len(b.Rows()); n != 9 {
		t.Errorf("%d rows, want 9", n)
	}
	var got []string
	for _, r := range b.RowsAt(day(t, "2026-02-28T12:00:00Z")) {
		if r.Model == "tiers" {
			got = append(got, r.Version)
		}
	}
	want := []string{"p/tiers@2026-01-01<=10", "p/tiers@2026-01-01", "p/tiers@2026-02-01:priority"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}
