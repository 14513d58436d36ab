package clickhouse

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/sira-ai/sira/schemas"
)

func TestAlertsAreReadAsTheyWereWrittenLast(t *testing.T) {
	t.Parallel()
	h := migrated(t)
	table := NewAlerts(h.direct)
	firing := schemas.Alert{
		ID: "0123456789abcdef", Rule: "answers", Kind: "burn", Severity: "page", Labels: map[string]string{"model": "o'hara"}, State: schemas.AlertPending,
		Level: 2, Value: 16.5, Threshold: 14.4, Summary: "it burns", Runbook: "https://example.com/r", Since: base, SeenAt: base,
	}
	over := schemas.Alert{ID: "b", Rule: "spend", Kind: "budget", Severity: "ticket", State: schemas.AlertResolved, Since: base, SeenAt: base, FiredAt: base, ResolvedAt: base.Add(time.Minute)}
	dropped := schemas.Alert{ID: "c", Rule: "spend", State: schemas.AlertDropped, Since: base, SeenAt: base}
	if err := table.Save(t.Context(), []schemas.Alert{firing, over, dropped}, base); err != nil {
		t.Fatal(err)
	}
	firing.State, firing.FiredAt, firing.SeenAt = schemas.AlertFiring, base.Add(time.Second), base.Add(time.Second)
	firing.Told = map[string]schemas.AlertTold{"on-call": {State: schemas.AlertFiring, Level: 2, At: base.Add(2 * time.Second)}}
	if err := table.Save(t.Context(), []schemas.Alert{firing}, base); err != nil {
		t.Fatal(err)
	}
	byID := cmpopts.SortSlices(func(a, b schemas.Alert) bool { return a.ID < b.ID })
	got, err := table.Load(t.Context(), base.Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]schemas.Alert{firing, over}, got, byID, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("loaded (-want +got):\n%s", diff)
	}
	if got, err = table.Load(t.Context(), base.Add(25*time.Hour)); err != nil || len(got) != 1 {
		t.Errorf("a day after it was over: %d alerts, error %v", len(got), err)
	}
	if got, err = table.Past(t.Context(), base.Add(2*time.Minute), 10); err != nil || len(got) != 1 || got[0].ID != firing.ID {
		t.Errorf("past of the last hour: %v, error %v", got, err)
	}
}

func TestSilenceReplacesTheOneOfItsName(t *testing.T) {
	t.Parallel()
	h := migrated(t)
	table := NewAlerts(h.direct)
	s := schemas.AlertSilence{ID: "s1", Matchers: []string{"rule=answers", "model=~gpt-.*"}, From: base, Until: base.Add(time.Hour), Author: "ops", Comment: "it's known"}
	if err := table.Silence(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	got, err := table.Silences(t.Context(), base)
	if diff := cmp.Diff([]schemas.AlertSilence{s}, got); diff != "" || err != nil {
		t.Errorf("error %v (-want +got):\n%s", err, diff)
	}
	s.Until = base
	if err := table.Silence(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	if got, err := table.Silences(t.Context(), base); err != nil || len(got) != 0 {
		t.Errorf("after its end: %v, error %v", got, err)
	}
}

// watchRows: of the model fast, 10 of 100 requests fail within 5 minutes before noon
// and 1 of 100 before that; 20 were wrong by themselves; slow answers take 9 s.
var watchRows = []string{
	`INSERT INTO requests (event_time, tenant, model, endpoint, outcome, e2e_ms) SELECT toDateTime64('2026-03-04 11:56:00', 3, 'UTC') + number, 'acme', 'fast', 'a', if(number < 10, 'timeout', 'ok'), 100 FROM numbers(100)`,
	`INSERT INTO requests (event_time, tenant, model, endpoint, outcome, e2e_ms) SELECT toDateTime64('2026-03-04 11:10:00', 3, 'UTC') + number, 'acme', 'fast', 'b', if(number < 1, 'internal', 'ok'), 100 FROM numbers(100)`,
	`INSERT INTO requests (event_time, tenant, model, endpoint, outcome, e2e_ms) SELECT toDateTime64('2026-03-04 11:57:00', 3, 'UTC') + number, 'acme', 'fast', 'a', 'invalid_request', 5 FROM numbers(20)`,
	`INSERT INTO requests (event_time, tenant, model, endpoint, outcome, e2e_ms) SELECT toDateTime64('2026-03-04 11:58:00', 3, 'UTC') + number, 'other', 'slow', 'a', 'ok', 9000 FROM numbers(10)`,
	`INSERT INTO costs (event_time, cost_id, tenant, labels, model, state, amount, currency) SELECT toDateTime64('2026-03-04 08:30:00', 3, 'UTC') + number * 3600, toString(number), 'acme', map('team', if(number = 1, 'red', 'blue')), 'fast', 'priced', number + 1, 'USD' FROM numbers(3)`,
	`INSERT INTO adjustments (event_time, cost_id, seq, tenant, labels, model, kind, state, amount, currency) VALUES ('2026-03-04 09:10:00', '1', 1, 'acme', map('team', 'red'), 'fast', 'price', 'priced', 0.5, 'USD')`,
	`INSERT INTO metrics (event_time, name, endpoint, worker, value) VALUES ('2026-03-04 11:55:30', 'failure_probability', 'a', 'w', 0.2), ('2026-03-04 11:56:30', 'endpoint_failure_probability', 'a', 'w1', 0.9), ('2026-03-04 11:57:30', 'endpoint_failure_probability', 'a', 'w2', 0.4)`,
	`INSERT INTO budget_events (event_time, budget, seq, spent, reserved) VALUES ('2026-03-04 10:00:00', 'b', 1, 10, 1), ('2026-03-04 11:00:00', 'b', 2, 20, 2), ('2026-03-04 11:00:00', 'b', 3, 21, 0), ('2026-03-04 11:30:00', 'c', 1, 1, 0)`,
}

var noon = time.Date(2026, 3, 4, 12, 0, 0, 0, time.UTC)

func TestQuestionsBehindAlertsAreAnswered(t *testing.T) {
	t.Parallel()
	h := migrated(t)
	for _, sql := range watchRows {
		if err := h.direct.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	t.Run("bad requests", func(t *testing.T) { badRequestsAreCountedByWindow(t, h) })
	t.Run("measures", func(t *testing.T) { measuresComeInSteps(t, h) })
	t.Run("budgets", func(t *testing.T) { budgetsStandWhereTheirOwnersSaidLast(t, h) })
}

func badRequestsAreCountedByWindow(t *testing.T, h *house) {
	s := Scope{By: []string{"model"}, Ignore: []string{"invalid_request"}, Now: noon}
	got, err := CountBad(t.Context(), h.direct, s, 0, []time.Duration{time.Hour, 5 * time.Minute})
	want := []Tally{
		{Labels: map[string]string{"model": "fast"}, Bad: []uint64{11, 10}, All: []uint64{200, 100}},
		{Labels: map[string]string{"model": "slow"}, Bad: []uint64{0, 0}, All: []uint64{10, 10}},
	}
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("error %v (-want +got):\n%s", err, diff)
	}
	s.By, s.Models, s.Tenants = nil, []string{"slow", "o'hara"}, []string{"other"}
	got, err = CountBad(t.Context(), h.direct, s, time.Second, []time.Duration{time.Hour})
	if diff := cmp.Diff([]Tally{{Labels: map[string]string{}, Bad: []uint64{10}, All: []uint64{10}}}, got); diff != "" || err != nil {
		t.Errorf("slow ones: error %v (-want +got):\n%s", err, diff)
	}
	hours := Scope{By: []string{"tenant", "model"}, Ignore: []string{"invalid_request"}, Now: noon}
	got, err = CountBadByHour(t.Context(), h.direct, hours, time.Second, []time.Duration{72 * time.Hour, 12 * time.Hour})
	want = []Tally{
		{Labels: map[string]string{"tenant": "acme", "model": "fast"}, Bad: []uint64{11, 11}, All: []uint64{200, 200}},
		{Labels: map[string]string{"tenant": "other", "model": "slow"}, Bad: []uint64{10, 10}, All: []uint64{10, 10}},
	}
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("by the hour: error %v (-want +got):\n%s", err, diff)
	}
}

func measuresComeInSteps(t *testing.T, h *house) {
	for measure, c := range map[string]struct {
		by   []string
		want string
	}{
		"requests":            {[]string{"endpoint"}, "map[endpoint:a]11:55=110 map[endpoint:b]11:10=100 "},
		"failing_percent":     {nil, "map[]11:10=1 map[]11:55=9.091 "},
		"latency_p50_ms":      {[]string{"model"}, "map[model:fast]11:10=100 map[model:fast]11:55=100 map[model:slow]11:55=9000 "},
		"latency_p99_ms":      {[]string{"tenant"}, "map[tenant:acme]11:10=100 map[tenant:acme]11:55=100 map[tenant:other]11:55=9000 "},
		"spend":               {nil, "map[]09:30=2 map[]10:30=3 "},
		"failure_probability": {[]string{"endpoint"}, "map[endpoint:a]11:55=0.9 "},
	} {
		s := Scope{By: c.by, Ignore: []string{"invalid_request"}, Now: noon}
		all, err := Measure(t.Context(), h.direct, s, measure, "USD", noon.Add(-3*time.Hour), 5*time.Minute)
		if err != nil {
			t.Errorf("%s: %v", measure, err)
			continue
		}
		got := ""
		for _, steps := range all {
			for i, at := range steps.At {
				got += fmt.Sprintf("%v%s=%.4g ", steps.Labels, at.Format("15:04"), steps.Value[i])
			}
		}
		if got != c.want {
			t.Errorf("%s: %s, want %s", measure, got, c.want)
		}
	}
}

func budgetsStandWhereTheirOwnersSaidLast(t *testing.T, h *house) {
	s, ok, err := LastOfBudget(t.Context(), h.direct, "b", noon.Add(-3*time.Hour))
	if err != nil || !ok || s.Spent.String() != "21" || !s.Reserved.IsZero() {
		t.Errorf("spent %s, reserved %s, found %t, error %v", s.Spent, s.Reserved, ok, err)
	}
	if _, ok, err := LastOfBudget(t.Context(), h.direct, "b", noon); ok || err != nil {
		t.Errorf("in a window without decisions: found %t, error %v", ok, err)
	}
	for name, labels := range map[string]map[string]string{"all": nil, "of a label": {"team": "red"}} {
		got, err := SpendByHour(t.Context(), h.direct, "acme", labels, "USD", noon.Add(-5*time.Hour), noon)
		want := []float64{1, 2.5, 3, 0}
		if labels != nil {
			want = []float64{2.5, 0, 0}
		}
		if diff := cmp.Diff(want, got); diff != "" || err != nil {
			t.Errorf("%s: error %v (-want +got):\n%s", name, err, diff)
		}
	}
}
