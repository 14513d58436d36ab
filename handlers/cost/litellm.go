package cost

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/shopspring/decimal"
)

// litellmKinds maps the providers of LiteLLM's list to kinds, and to the prefix
// that its names of models carry.
var litellmKinds = map[string]struct{ kind, prefix string }{
	"openai": {"openai", ""}, "anthropic": {"anthropic", ""}, "gemini": {"gemini", "gemini/"}, "azure": {"azure_openai", "azure/"},
	"cohere": {"cohere", "cohere/"}, "cohere_chat": {"cohere", ""}, "ai21": {"ai21", ""}, "together_ai": {"together", "together_ai/"},
	"replicate": {"replicate", "replicate/"}, "stability": {"stability", "stability/"}, "huggingface": {"huggingface", "huggingface/"},
}

// litellmTokens are its prices for one token, by column or part.
var litellmTokens = []struct {
	theirs, ours string
	part         bool
}{
	{"input_cost_per_token", "input", false},
	{"output_cost_per_token", "output", false},
	{"cache_read_input_token_cost", "cache_read", false},
	{"cache_creation_input_token_cost", "cache_write", false},
	{"cache_creation_input_token_cost_above_1hr", "cache_write_1h", false},
	{"input_cost_per_audio_token", "input.audio", true},
	{"output_cost_per_audio_token", "output.audio", true},
	{"cache_read_input_audio_token_cost", "cache_read.audio", true},
	{"input_cost_per_image_token", "input.image", true},
	{"output_cost_per_image_token", "output.image", true},
}

// litellmUnits are its prices for one of something else.
var litellmUnits = map[string]string{
	"output_cost_per_image": "images", "input_cost_per_character": "characters", "input_cost_per_second": "seconds",
	"output_cost_per_video_per_second": "seconds", "input_cost_per_query": "search_units", "input_cost_per_request": "requests", "ocr_cost_per_page": "pages",
}

// maxList is the size that a price list may have, in bytes.
const maxList = 64 << 20

// ReadLiteLLM reads a price list in the form of LiteLLM's
// model_prices_and_context_window.json: the rows of the vendors that Sira speaks
// to, in USD for a million tokens, of the usual tier and the smallest size of input. The rows
// have no day and no version. Numbers never become floats; what is no price is
// left out.
func ReadLiteLLM(r io.Reader) ([]PriceRow, error) {
	var list map[string]json.RawMessage
	if err := json.NewDecoder(io.LimitReader(r, maxList)).Decode(&list); err != nil {
		return nil, fmt.Errorf("reading price list: write a JSON object with an object for each model: %w", err)
	}
	var out []PriceRow
	for _, name := range slices.Sorted(maps.Keys(list)) {
		var entry map[string]any
		d := json.NewDecoder(bytes.NewReader(list[name]))
		d.UseNumber()
		if d.Decode(&entry) != nil {
			continue // a remark
		}
		provider, _ := entry["litellm_provider"].(string)
		kind, ok := litellmKinds[provider]
		if !ok {
			continue
		}
		row := PriceRow{Provider: kind.kind, Model: strings.TrimPrefix(name, kind.prefix), Currency: "USD", Per: defaultPer}
		row.take(entry)
		if row.Prices != nil || row.Parts != nil || row.Units != nil {
			out = append(out, row)
		}
	}
	return out, nil
}

// take sets the prices of an entry.
func (p *PriceRow) take(entry map[string]any) {
	for _, t := range litellmTokens {
		d, ok := listed(entry[t.theirs])
		if !ok {
			continue
		}
		d = d.Shift(6)
		if t.part {
			p.set(&p.Parts, t.ours, d)
		} else {
			p.set(&p.Prices, t.ours, d)
		}
	}
	for _, theirs := range slices.Sorted(maps.Keys(litellmUnits)) {
		d, ok := listed(entry[theirs])
		if _, there := p.Units[litellmUnits[theirs]]; ok && !there {
			p.set(&p.Units, litellmUnits[theirs], d)
		}
	}
}

// listed returns a price that a book could hold.
func listed(v any) (decimal.Decimal, bool) {
	n, ok := v.(json.Number)
	if !ok || !number.MatchString(n.String()) {
		return decimal.Decimal{}, false
	}
	d, err := decimal.NewFromString(n.String())
	return d, err == nil && d.Exponent() >= -maxPlaces && d.Shift(6).LessThan(decimal.NewFromInt(maxPrice))
}

// Difference is a price on which two books do not agree.
type Difference struct {
	Provider string           `json:"provider"`
	Model    string           `json:"model"`
	Price    string           `json:"price"` // a column, a part, or a unit, such as input or images
	Ours     *decimal.Decimal `json:"ours"`  // for a million tokens or one unit; null: not known
	Theirs   *decimal.Decimal `json:"theirs"`
}

// Compare returns the prices on which the rows of both disagree, and how many they
// agree on. Rows of a tier and larger sizes of input are not compared, nor are
// models that only one of them has, unless all is true; prices in another currency than
// the other's always differ. A price that one of them lacks is no difference unless all is true.
func Compare(ours, theirs []PriceRow, all bool) (differences []Difference, same int) {
	mine, other := flatten(ours), flatten(theirs)
	for _, k := range slices.SortedFunc(maps.Keys(joined(mine, other)), func(a, b priceKey) int {
		return cmp.Or(strings.Compare(a.provider, b.provider), strings.Compare(a.model, b.model), strings.Compare(a.price, b.price))
	}) {
		a, inMine := mine[k]
		b, inOther := other[k]
		switch {
		case inMine && inOther && a.currency == b.currency && a.price.Equal(b.price):
			same++
		case inMine && inOther:
			differences = append(differences, Difference{k.provider, k.model, k.price, &a.price, &b.price})
		case all && inMine:
			differences = append(differences, Difference{k.provider, k.model, k.price, &a.price, nil})
		case all:
			differences = append(differences, Difference{k.provider, k.model, k.price, nil, &b.price})
		}
	}
	return differences, same
}

type priceKey struct{ provider, model, price string }

type pricedAt struct {
	price    decimal.Decimal
	currency string
}

// flatten returns the prices of the usual tier and, of several sizes, the
// smallest, for a million tokens.
func flatten(rows []PriceRow) map[priceKey]pricedAt {
	out := make(map[priceKey]pricedAt)
	smallest := make(map[[2]string]uint64)
	for _, r := range rows {
		model := [2]string{r.Provider, r.Model}
		size := uint64(r.MaxInput - 1) // no limit is the largest
		if have, ok := smallest[model]; r.Tier != "" || ok && have < size {
			continue
		}
		smallest[model] = size
		million := decimal.NewFromInt(defaultPer)
		for _, prices := range []map[string]decimal.Decimal{r.Prices, r.Parts} {
			for name, d := range prices {
				out[priceKey{r.Provider, r.Model, name}] = pricedAt{d.Mul(million).Div(decimal.NewFromInt(r.Per)), r.Currency}
			}
		}
		for name, d := range r.Units {
			out[priceKey{r.Provider, r.Model, name}] = pricedAt{d, r.Currency}
		}
	}
	return out
}

func joined(a, b map[priceKey]pricedAt) map[priceKey]pricedAt {
	all := maps.Clone(a)
	maps.Copy(all, b)
	return all
}
