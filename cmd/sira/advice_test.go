package main

import (
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/shopspring/decimal"
)

// adviceBook and adviceSite are two models, one of them at two providers, with
// prices that are easy to compute with.
const adviceBook = `prices:
  - {provider: openai, model: large, from: 2026-01-01, currency: USD, input: 10, cache_read: 1, output: 20, tiers: {batch: 0.5}}
  - {provider: openai, model: small, from: 2026-01-01, currency: USD, input: 1, cache_read: 0.1, output: 2, tiers: {batch: 0.5}}
  - {provider: other, model: large, from: 2026-01-01, currency: USD, input: 5, output: 10}
`

const adviceSite = `  - {name: other, kind: openai, api_key: x}
models:
  - {name: any, targets: [{provider: main, model: large}, {provider: main, model: small}, {provider: other, model: large}]}
prices: {file: %FILE%}
`

// adviceRows are 200 requests of acme for large with 2,000 tokens in and 100 out,
// which is 0.022 each, half of them with a key whose prompts are cached; 150 each
// for small and for large elsewhere; one key that was last used in June.
var adviceRows = []string{
	`INSERT INTO costs (event_time, cost_id, request_id, tenant, labels, model, provider, provider_model, outcome, state, amount, currency, input_tokens, cache_read, output_tokens)
SELECT toDateTime64('2026-11-10 00:00:00', 3, 'UTC') + number, concat('sira.requests.', if(number < 20, 'bulk', 'standard'), '/0/', toString(number)), concat('r', toString(number)), 'acme',
 map('key', if(number % 2 = 0, 'warm', 'cold')), 'any', 'main', 'large', 'ok', 'priced', toDecimal128(22, 12) / 1000, 'USD', 2000, if(number % 2 = 0, 1600, 0), 100 FROM numbers(200)`,
	`INSERT INTO costs (event_time, cost_id, tenant, labels, provider, provider_model, state, amount, currency, input_tokens, output_tokens)
VALUES ('2026-06-01 00:00:00', 'x', 'acme', map('key', 'forgotten'), 'main', 'small', 'priced', 3, 'USD', 1, 1)`,
	`INSERT INTO attempts (event_time, provider, provider_model, outcome, latency_ms)
SELECT toDateTime64('2026-11-10 00:00:00', 3, 'UTC') + number, if(number % 3 = 2, 'other', 'main'), if(number % 3 = 1, 'small', 'large'), 'ok', 100 FROM numbers(450)`,
	`INSERT INTO requests (event_time, request_id, tenant, lane, stream)
SELECT toDateTime64('2026-11-10 00:00:00', 3, 'UTC') + number, concat('r', toString(number)), 'acme', 'bulk', number >= 10 FROM numbers(20)`,
	`INSERT INTO audit (chain, seq, event_time, tenant, action, resource, outcome, payload, hash)
SELECT 0, number, toDateTime64('2026-11-10 00:00:00', 3, 'UTC') + number, 'acme', 'request.completed', concat('r', toString(number)), 'ok',
 concat('{"request_hash":"', toString(greatest(number, 4)), '"}') AS payload,
 SHA256(concat(toFixedString('', 32), reinterpretAsFixedString(byteSwap(toUInt16(0))), reinterpretAsFixedString(byteSwap(number)), payload)) FROM numbers(100)`,
}

func TestAdviceSaysWhatWouldHaveBeenSaved(t *testing.T) {
	if !alone(t) {
		return
	}
	conn, config := engine(t)
	book := write(t, "book.yaml", adviceBook)
	text, err := os.ReadFile(config)
	if err != nil {
		t.Fatal(err)
	}
	config = document(t, string(text)+strings.ReplaceAll(adviceSite, "%FILE%", book))
	for _, sql := range adviceRows {
		if err := conn.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	args := []string{"--to", "2026-11-15", "--least", "0.01", "--config", config}
	code, out, errs := sira(t, append([]string{"advice", "--json"}, args...)...)
	if code != exitOK {
		t.Fatalf("exit code %d\n%s%s", code, out, errs)
	}
	got := map[string]counsel{}
	for d := json.NewDecoder(strings.NewReader(out)); d.More(); {
		var a counsel
		if err := d.Decode(&a); err != nil {
			t.Fatal(err)
		}
		got[a.Kind] = a
	}
	for kind, want := range map[string]struct{ instead, saving string }{
		"model":  {"main/small", "3.96"},          // 4.4 less 200 times 0.0022
		"cache":  {"a cache of answers", "0.088"}, // r0 to r4 are one request: four times 0.022
		"prompt": {"caching of prompts", "1.44"},  // 0.8 of 200,000 tokens, 9 for a million less
		"batch":  {"mode: batch", "0.11"},         // half of the ten that are not streamed
		"idle":   {"withdraw it", "0"},
	} {
		if a := got[kind]; a.Instead != want.instead || !a.Saving.Equal(decimal.RequireFromString(want.saving)) || a.Tenant != "acme" || a.Evidence == "" {
			t.Errorf("%s: %+v, want %s and %s", kind, a, want.instead, want.saving)
		}
	}
	if a, there := got["route"]; there {
		t.Errorf("the best is the small model, and yet: %+v", a)
	}
	if _, out, _ := sira(t, append([]string{"advice"}, args...)...); !strings.Contains(out, "SAVING") || !strings.Contains(out, "key forgotten") {
		t.Errorf("the table:\n%s", out)
	}
	if _, out, _ := sira(t, append([]string{"advice", "model", "--tenant", "o'hara"}, args...)...); !strings.Contains(out, "nothing to advise") {
		t.Errorf("of nobody:\n%s", out)
	}
	// What --sql prints may be run by hand.
	if _, out, _ = sira(t, append([]string{"advice", "model", "--sql"}, args...)...); !strings.Contains(out, "/* model */\n") {
		t.Fatalf("the query:\n%s", out)
	}
	if code, out, errs := sira(t, "sql", "--config", config, strings.TrimSuffix(strings.TrimSpace(out), ";")); code != exitOK || !strings.Contains(out, "main/small") {
		t.Errorf("run by hand: exit code %d\n%s%s", code, out, errs)
	}
	if code, _, errs := sira(t, append([]string{"advice", "prayer"}, args...)...); code != exitUsage || !strings.Contains(errs, "model, cache") {
		t.Errorf("of no kind: exit code %d, %s", code, errs)
	}
}
