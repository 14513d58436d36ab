package cost

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const litellmList = `{
 "remark": "prices change",
 "sample_spec": {"litellm_provider": "one of the providers", "input_cost_per_token": 0.0},
 "gpt-4o": {"litellm_provider": "openai", "mode": "chat", "input_cost_per_token": 2.5e-06, "output_cost_per_token": 0.00001, "cache_read_input_token_cost": 1.3e-06},
 "gemini/imagen": {"litellm_provider": "gemini", "output_cost_per_image": 0.04, "input_cost_per_token": "free"},
 "gpt-none": {"litellm_provider": "openai", "mode": "chat"},
 "foreign": {"litellm_provider": "mistral", "input_cost_per_token": 1e-06}
}`

func TestAListInLiteLLMsFormIsReadWithoutFloats(t *testing.T) {
	t.Parallel()
	got, err := ReadLiteLLM(strings.NewReader(litellmList))
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for _, r := range got {
		lines = append(lines, fmt.Sprint(r.Provider, r.Model, r.Prices, r.Units))
	}
	want := []string{"geminiimagenmap[] map[images:0.04]", "openaigpt-4omap[cache_read:1.3 input:2.5 output:10] map[]"}
	if diff := cmp.Diff(want, lines); diff != "" {
		t.Error(diff)
	}
	if _, err := ReadLiteLLM(strings.NewReader("[]")); err == nil {
		t.Error("a list was taken for an object")
	}
}

func TestComparingNamesEveryPriceThatDiffers(t *testing.T) {
	t.Parallel()
	theirs, err := ReadLiteLLM(strings.NewReader(litellmList))
	if err != nil {
		t.Fatal(err)
	}
	ours := load(t, `
prices:
  - {provider: openai, model: gpt-4o, from: 2026-01-01, currency: USD, per: 1000, input: 0.0025, output: 0.01, cache_read: 0.00125}
  - {provider: openai, model: gpt-4o, tier: flex, from: 2026-01-01, currency: USD, input: 1}
  - {provider: openai, model: gpt-new, from: 2026-01-01, currency: USD, input: 1}
`).RowsAt(day(t, "2026-02-01T00:00:00Z"))
	show := func(ds []Difference) (out []string) {
		for _, d := range ds {
			out = append(out, fmt.Sprintf("%s/%s %s %v %v", d.Provider, d.Model, d.Price, d.Ours, d.Theirs))
		}
		return out
	}
	got, same := Compare(ours, theirs, false)
	if diff := cmp.Diff([]string{"openai/gpt-4o cache_read 1.25 1.3"}, show(got)); diff != "" || same != 2 {
		t.Errorf("%d the same\n%s", same, diff)
	}
	got, _ = Compare(ours, theirs, true)
	want := []string{"gemini/imagen images <nil> 0.04", "openai/gpt-4o cache_read 1.25 1.3", "openai/gpt-new input 1 <nil>"}
	if diff := cmp.Diff(want, show(got)); diff != "" {
		t.Error(diff)
	}
}

func FuzzReadLiteLLM(f *testing.F) {
	f.Add([]byte(litellmList))
	f.Add([]byte(`{"a": {"litellm_provider": "openai", "input_cost_per_token": 1e-9999999}}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		rows, err := ReadLiteLLM(bytes.NewReader(text))
		if err != nil {
			return
		}
		if differences, _ := Compare(rows, rows, false); len(differences) > 0 {
			t.Fatalf("a list differs from itself: %v", differences)
		}
	})
}
