package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sira-ai/sira/cmd/app"
	"github.com/sira-ai/sira/handlers/balance"
	"github.com/sira-ai/sira/schemas"
	"github.com/sira-ai/sira/sinks/clickhouse"
)

// troubled adds alert rules and a receiver to a document.
func troubled(t *testing.T, config, receiver string) string {
	t.Helper()
	text, err := os.ReadFile(config)
	if err != nil {
		t.Fatal(err)
	}
	return document(t, string(text)+fmt.Sprintf(`
models: [{name: fast, targets: [{provider: main, model: m}]}]
budgets: [{id: b, limit: 100, currency: USD, window: month}, {id: w, limit: 100, currency: USD, window: week}]
alerts:
  receivers: [{name: am, kind: alertmanager, url: %q}]
  burn: [{name: answers, objective: 99, by: [model]}]
  anomaly: [{name: traffic, measure: requests, by: [tenant]}]
  budget: [{name: money}]
  forecast: [{name: future}]
`, receiver))
}

const troubles = `INSERT INTO requests (event_time, tenant, model, outcome, e2e_ms) SELECT now64(3) - number / 10, 'acme', 'fast', if(number % 2 = 0, 'timeout', 'ok'), 100 + number FROM numbers(3000)`

func TestAlertsAreListedSilencedAndTried(t *testing.T) {
	if !alone(t) {
		return
	}
	got := make(chan []byte, 8)
	am := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		got <- b
	}))
	defer am.Close()
	conn, config := engine(t)
	config = troubled(t, config, am.URL)
	for _, sql := range []string{
		troubles,
		`INSERT INTO budget_events (event_time, budget, seq, spent, reserved) SELECT now64(3), arrayJoin(['b', 'w']), 1, 96, 0`,
		// Three days of steady traffic that ended twelve minutes ago, and twenty days of steady spending.
		`INSERT INTO requests (event_time, tenant, model, outcome) SELECT now64(3) - 720 - number * 20, 'steady', 'other', 'ok' FROM numbers(12000)`,
		`INSERT INTO costs (event_time, cost_id, tenant, state, amount, currency) SELECT toStartOfHour(now()) - toIntervalHour(1 + number), toString(number), 'acme', 'priced', toDecimal128(10, 12) + number % 24, 'USD' FROM numbers(480)`,
	} {
		if err := conn.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	expect := func(code int, says string, args ...string) string {
		t.Helper()
		got, out, errs := sira(t, append(args, "--config", config)...)
		if got != code || !strings.Contains(out+errs, says) {
			t.Errorf("%v: exit code %d, want %d with %q\n%s%s", args, got, code, says, out, errs)
		}
		return out
	}
	out := expect(exitOK, "the error budget burns 50.0 times too fast", "alerts", "test", "--rules")
	for _, says := range []string{"96.0 % of the budget b", "is forecast to be used up at", "tenant=steady requests of "} {
		if !strings.Contains(out, says) {
			t.Errorf("the rules do not find %q:\n%s", says, out)
		}
	}
	expect(exitOK, "am: ok", "alerts", "test")
	if first, second := string(<-got), string(<-got); !strings.Contains(first, "sira_test") || !strings.Contains(second, "endsAt") {
		t.Errorf("told %s and %s", first, second)
	}
	expect(exitUsage, "no receiver", "alerts", "test", "nobody")
	expect(exitOK, "no alerts", "alerts", "list")
	now := time.Now().UTC()
	err := clickhouse.NewAlerts(conn).Save(t.Context(), []schemas.Alert{{
		ID: "a1", Rule: "answers", Kind: "burn", Severity: "page", Labels: map[string]string{"model": "fast"}, State: schemas.AlertFiring, Level: 3,
		Summary: "it burns", Since: now.Add(-time.Hour), SeenAt: now, FiredAt: now.Add(-time.Hour),
	}}, now)
	if err != nil {
		t.Fatal(err)
	}
	expect(exitOK, "firing  page", "alerts", "list")
	expect(exitUsage, "name=value", "alerts", "silence", "fast")
	expect(exitUsage, "--for", "alerts", "silence", "model=fast", "--for", "1s")
	id, _, _ := strings.Cut(expect(exitOK, " until ", "alerts", "silence", "model=fast", "--comment", "it's known"), " ")
	expect(exitOK, `"silenced":true`, "alerts", "list", "--json")
	expect(exitOK, "it's known", "alerts", "list", "--silences")
	expect(exitOK, id, "alerts", "unsilence", id)
	expect(exitOK, `"silenced":false`, "alerts", "list", "--json")
	expect(exitUsage, "there is no silence", "alerts", "unsilence", id)
	am.Close()
	expect(exitFinding, "connection refused", "alerts", "test")

	page := filepath.Join(t.TempDir(), "report.html")
	expect(exitOK, " requests, 1500 failed, 1 alerts", "report", "--out", page)
	text, err := os.ReadFile(page)
	if err != nil || !strings.Contains(string(text), "it burns") || !strings.Contains(string(text), "3000, 50.0 % ok") {
		t.Errorf("error %v\n%s", err, text)
	}
	expect(exitUsage, "--out", "report", "--out", filepath.Join(page, "x"))
}

// A worker, an analyst that looks every second, and an Alertmanager that hears of it.
func TestAnalystTellsOfFailingRequests(t *testing.T) {
	if !alone(t) {
		return
	}
	got := make(chan string, 64)
	am := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		got <- string(b)
	}))
	defer am.Close()
	cfg, err := app.Parse("sira.yaml", fmt.Appendf(nil, `
alerts:
  every: 1s
  receivers: [{name: am, kind: alertmanager, url: %q}]
  burn: [{name: answers, objective: 99, by: [model]}]
`, am.URL))
	if err != nil {
		t.Fatal(err)
	}
	config := gatewayOf(t, cfg, app.RoleClickHouse, app.RoleRecorder, app.RoleAnalyst)
	if code, out, errs := sira(t, "sql", "--config", config, strings.ReplaceAll(troubles, "'fast'", "'gpt-4o-mini'")); code != exitOK && !strings.Contains(errs+out, "no rows") {
		t.Fatalf("exit code %d\n%s%s", code, out, errs)
	}
	wait := func(says ...string) {
		t.Helper()
		limit := time.NewTimer(40 * time.Second)
		defer limit.Stop()
		for {
			select {
			case body := <-got:
				all := true
				for _, s := range says {
					all = all && strings.Contains(body, s)
				}
				if all {
					return
				}
			case <-limit.C:
				t.Fatalf("nobody was told %q", says)
			}
		}
	}
	wait(`"alertname":"answers"`, `"model":"gpt-4o-mini"`, "burns 50.0 times")
	if code, out, errs := sira(t, "alerts", "list", "--config", config); code != exitOK || !strings.Contains(out, "firing") {
		t.Errorf("alerts list: exit code %d\n%s%s", code, out, errs)
	}
}

func TestHealthShowsWhatAWorkerKnows(t *testing.T) {
	file := gateway(t)
	if code, _, errs := sira(t, "health", "--config", file, "--addr", "127.0.0.1:1"); code != exitFailure || !strings.Contains(errs, "--addr") {
		t.Errorf("without a worker: exit code %d, %s", code, errs)
	}
	worker := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/endpoints" {
			http.NotFound(w, r)
			return
		}
		_ = json.NewEncoder(w).Encode(overview{
			Endpoints: []balance.EndpointView{
				{ID: "b", Provider: "openai", Weight: 1, Share: 100, State: "closed"},
				{ID: "a", Provider: "openai", Weight: 2, Share: 5, State: "open", Calls: 200, Failures: 50, LatencyMS: 30},
			},
			Outlook: []outlook{{Provider: "openai", Endpoint: "a", Probability: 0.83, Reasons: []string{"first_token_rise: 1.8 times the usual"}, Source: "analyst"}},
		})
	}))
	defer worker.Close()
	addr := strings.TrimPrefix(worker.URL, "http://")
	code, out, errs := sira(t, "health", "--config", file, "--addr", addr)
	lines := strings.Split(strings.TrimSpace(out), "\n")
	if code != exitOK || len(lines) != 4 {
		t.Fatalf("exit code %d\n%s%s", code, out, errs)
	}
	for _, says := range []string{"openai", "a", "open", "2 at 5 %", "25.0 %", "30 ms", "83.0 %", "first_token_rise"} {
		if !strings.Contains(lines[2], says) {
			t.Errorf("no %q in %s", says, lines[2])
		}
	}
	code, out, _ = sira(t, "health", "--json", "--config", file, "--addr", addr)
	if code != exitOK || !strings.Contains(out, `"probability":0.83`) || !strings.Contains(out, `"probability":null`) {
		t.Errorf("as JSON: exit code %d\n%s", code, out)
	}
	if code, _, errs := sira(t, "health", "--config", file, "--addr", addr+"/x"); code != exitFailure || !strings.Contains(errs, "404") {
		t.Errorf("of no worker: exit code %d, %s", code, errs)
	}
}

func TestPercentagesAreDrawnToTheirFullHeight(t *testing.T) {
	t.Parallel()
	if got := percentLine([]float64{0, 12.4, 50, 99, 100, -1}); got != "▁▁▅██▁" {
		t.Error(got)
	}
}

// FuzzOverview reads what answers at an address that somebody named.
func FuzzOverview(f *testing.F) {
	f.Add(`{"endpoints":[{"id":"a","provider":"p","state":"closed"}],"outlook":[{"provider":"p","endpoint":"a","probability":0.5}]}`)
	f.Add(`[]`)
	f.Add(`{"endpoints":[{}],"outlook":[{"probability":1e300}]}`)
	f.Fuzz(func(t *testing.T, text string) {
		seen, err := readOverview(strings.NewReader(text))
		if err != nil {
			return
		}
		if err := new(cli).printHealth(io.Discard, joined(seen)); err != nil {
			t.Error(err)
		}
	})
}
