package app

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/shopspring/decimal"

	"github.com/sira-ai/sira/handlers/cost/budget"
)

func TestBudgetsAreReadExactlyAndCompleted(t *testing.T) {
	t.Parallel()
	cfg, err := Load("../../docs/examples/budgets.yaml")
	if err != nil {
		t.Fatal(err)
	}
	dec := decimal.RequireFromString
	want := budget.Config{
		ID: "key-demo", Labels: budget.Labels{"key": "demo"}, Limit: dec("0.5"), Currency: "USD", Window: budget.Hour, Zone: "UTC",
		Mode: budget.Hard, Warn: []int{80, 95}, First: dec("0.002"), Wait: 5 * time.Second, Outage: budget.AllowOnOutage,
	}
	if diff := cmp.Diff(want, cfg.Budgets[2]); diff != "" {
		t.Error(diff)
	}
	if got := cfg.Budgets[0]; !got.First.Equal(dec("0.05")) || got.Wait != 15*time.Second || got.Zone != "Europe/Berlin" {
		t.Errorf("defaults: %+v", got)
	}
}

func TestWrongBudgetsSayWhereAndWhatToWrite(t *testing.T) {
	t.Parallel()
	_, err := Parse("sira.yaml", []byte(`budgets:
  - {id: a, limit: 5, currency: USD, window: day}
  - {id: a, limit: -5, currency: USD, window: day}
  - {id: b, limit: 5, currency: USD, window: fortnight, zone: Europe/Nowhere}
  - {id: c, limit: lots, currency: USD, window: day}
`))
	faults, ok := errors.AsType[Faults](err)
	if !ok {
		t.Fatalf("got %v", err)
	}
	if len(faults) != 1 || faults[0].Line != 5 || !strings.Contains(faults[0].Error(), "budgets[3].limit") {
		t.Errorf("what is no amount: %v", err)
	}
	_, err = Parse("sira.yaml", []byte(`budgets:
  - {id: a, limit: 5, currency: USD, window: day}
  - {id: a, limit: -5, currency: USD, window: day}
  - {id: b, limit: 5, currency: USD, window: fortnight, zone: Europe/Nowhere}
`))
	text := ""
	if err != nil {
		text = err.Error()
	}
	for _, says := range []string{
		`:3:`, `two budgets "a"`, "limit: write an amount above 0", ":4:", "window: write hour, day, week or month", "zone: write a name such as Europe/Berlin",
	} {
		if !strings.Contains(text, says) {
			t.Errorf("%q is not in\n%s", says, text)
		}
	}
}
