package main

import (
	"encoding/json"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/shopspring/decimal"

	"github.com/sira-ai/sira/cmd/app"
)

const budgetsText = `budgets:
  - {id: acme-day, tenant: acme, limit: 5, currency: USD, window: day, zone: Europe/Berlin}
  - {id: tiny, tenant: poor, limit: 0.000001, currency: USD, window: month}
  - {id: seen, labels: {team: red}, limit: 1, currency: USD, window: hour, mode: shadow}
`

func TestBudgetsAreShownWithWhatWasSpent(t *testing.T) {
	parsed, err := app.Parse("sira.yaml", []byte(budgetsText))
	if err != nil {
		t.Fatal(err)
	}
	cfg := app.Defaults()
	cfg.Budgets = parsed.Budgets
	file := gatewayOf(t, cfg)
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	file = document(t, string(text)+budgetsText)
	code, out, errs := sira(t, "enqueue", "--id", "r1", "--tenant", "acme", "--wait", "What is a log?", "--config", file)
	if code != exitOK {
		t.Fatalf("enqueue: %d\n%s%s", code, out, errs)
	}
	spent := settled(t, file, "acme-day")
	sira(t, "enqueue", "--id", "r2", "--tenant", "poor", "--wait", "What is a log?", "--config", file)
	settled(t, file, "tiny")
	if _, out, errs = sira(t, "enqueue", "--id", "r3", "--tenant", "poor", "--wait", "What is a log?", "--config", file); !strings.Contains(out+errs, "budget_exceeded") {
		t.Errorf("a request above its budget: %s%s", out, errs)
	}
	if code, out, errs = sira(t, "budget", "list", "--config", file); code != exitOK || !strings.Contains(out, "acme-day") || !strings.Contains(out, "5 USD") || !strings.Contains(out, spent.String()) {
		t.Errorf("list: exit code %d\n%s%s", code, out, errs)
	}
	if code, out, _ = sira(t, "budgets", "list", "--tenant", "poor", "--config", file); code != exitOK || strings.Contains(out, "acme-day") || !strings.Contains(out, "tiny") || !strings.Contains(out, "team=red") {
		t.Errorf("list of a tenant: exit code %d\n%s", code, out)
	}
	if code, out, errs = sira(t, "budget", "show", "acme-day", "--config", file); code != exitOK || !strings.Contains(out, "(Europe/Berlin)") || !strings.Contains(out, "owner     test since") {
		t.Errorf("show: exit code %d\n%s%s", code, out, errs)
	}
	if code, _, errs = sira(t, "budget", "show", "other", "--config", file); code != exitUsage || !strings.Contains(errs, "sira budget list") {
		t.Errorf("show of what is not there: exit code %d\n%s", code, errs)
	}
}

// settled waits until a request is settled and returns what it cost.
func settled(t *testing.T, file, budget string) decimal.Decimal {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); ; {
		code, out, errs := sira(t, "budget", "show", budget, "--json", "--config", file)
		var s standing
		if err := json.Unmarshal([]byte(out), &s); code != exitOK || err != nil {
			t.Fatalf("show: exit code %d, %v\n%s%s", code, err, out, errs)
		}
		if s.Spent.IsPositive() && s.Reserved.IsZero() {
			if !s.Left.Equal(s.Limit.Sub(s.Spent)) || s.Calls != 0 {
				t.Errorf("%+v", s)
			}
			return s.Spent
		}
		if time.Now().After(end) {
			t.Fatalf("nothing is settled:\n%s", out)
		}
	}
}

func TestWithoutBudgetsThereIsNothingToShow(t *testing.T) {
	t.Parallel()
	code, _, errs := sira(t, "budget", "list", "--config", document(t, "kafka: {partitions: 2}\n"))
	if code != exitUsage || !strings.Contains(errs, "docs/budgets.md") {
		t.Errorf("exit code %d\n%s", code, errs)
	}
}
