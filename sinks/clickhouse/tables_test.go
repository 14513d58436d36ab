package clickhouse

import (
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/shopspring/decimal"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/sira-ai/sira/schemas"
)

// The driver sends columns as what we say they are. ClickHouse would convert
// them, at a cost and perhaps at a loss.
func TestColumnsHaveTheTypesOfTheTables(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1)
	for _, table := range newTables(topics, r.codecs) {
		types := map[string]string{}
		rows, err := r.direct.Query(t.Context(), "SELECT name, type FROM system.columns WHERE database = currentDatabase() AND table = ?", table.name)
		if err != nil {
			t.Fatal(err)
		}
		for rows.Next() {
			var name, kind string
			if err := rows.Scan(&name, &kind); err != nil {
				t.Fatal(err)
			}
			types[name] = kind
		}
		if err := rows.Err(); err != nil {
			t.Fatal(err)
		}
		got := map[string]string{}
		for _, c := range table.types {
			got[c.Name] = c.Type
		}
		if diff := cmp.Diff(types, got); diff != "" {
			t.Errorf("%s (-table +ours):\n%s", table.name, diff)
		}
	}
}

// everyField sends one event of each kind with something in every column, and
// one with nothing.
func (r *rig) everyField() {
	at := base.Add(123456 * time.Microsecond)
	target := &schemas.Target{Provider: "p1", Kind: "openai", Model: "pm", Region: "eu", Endpoint: "p1-eu"}
	res := &schemas.Result{
		RequestID: "r1", Tenant: "t1", Status: schemas.Failed, Failure: &schemas.Failure{Code: schemas.Timeout, Message: "late"}, Op: schemas.OpChat, Model: "m1",
		Target: target, Attempts: []schemas.Attempt{{Reason: "first", StartedAt: at}, {Reason: "retry", StartedAt: at}, {Reason: "fallback", StartedAt: at}},
		Cost: schemas.Cost{State: schemas.CostEstimated, Money: &schemas.Money{Amount: decimal.New(1, 0), Currency: "USD"}}, Stream: true, Route: "rt", ConfigVersion: "v1",
		Origin: "req/0/7", Lane: "bulk", Labels: map[string]string{"b": "2", "a": "1"}, Metadata: map[string]string{"x": "y"},
		CreatedAt: at, StartedAt: at.Add(7 * time.Millisecond), CompletedAt: at.Add(20 * time.Millisecond),
	}
	send(r, "results", 0, r.codecs.Result, res)
	r.json("results", 0, res)
	send(r, "results", 0, r.codecs.Result, &schemas.Result{Response: &schemas.Response{}, CompletedAt: base})
	send(r, "costs", 0, r.codecs.Cost, &schemas.CostEvent{
		ID: "req/0/7", RequestID: "r1", Tenant: "t1", Labels: map[string]string{"b": "2", "a": "1"}, Time: at, Op: schemas.OpChat, Model: "m1", Outcome: schemas.Timeout,
		Provider: "p1", ProviderModel: "pm", Region: "eu", State: schemas.CostEstimated, Amount: decimal.RequireFromString("-99999999999999999999999999.999999999999"),
		Currency: "USD", InputTokens: 1, CacheRead: 2, CacheWrite: 3, OutputTokens: 4, Attempts: 5, ConfigVersion: "v1",
		Lines: []schemas.CostLine{
			{Attempt: 1, Kind: schemas.LineFailedAttempt, Provider: "p2", Model: "pn", State: schemas.CostPriced, Amount: decimal.RequireFromString("-0.000000000001"), PriceVersion: "x1"},
			{Attempt: 2, Kind: schemas.LineUsage, Provider: "p1", Model: "pm", State: schemas.CostUnpriced, PriceVersion: "x2", Usage: "u2"},
		},
	})
	send(r, "costs", 0, r.codecs.Cost, &schemas.CostEvent{Time: base})
	send(r, "attempts", 0, r.codecs.Attempt, &schemas.AttemptEvent{
		ID: "req/0/7#2", RequestID: "r1", Tenant: "t1", Op: schemas.OpChat, Model: "m1", Stream: true, Worker: "w1",
		Attempt: schemas.Attempt{
			Number: 2, Round: 1, Target: *target, Reason: "retry", Outcome: schemas.Timeout, HTTPStatus: 504, VendorCode: "vc", Phase: schemas.PhaseHeaders,
			RetryAfterMS: 3, StartedAt: at, LatencyMS: 20, FirstTokenMS: 5, MaxGapMS: 6, Usage: schemas.Usage{InputTokens: 1, CacheReadTokens: 2, OutputTokens: 4},
		},
	})
	send(r, "attempts", 0, r.codecs.Attempt, &schemas.AttemptEvent{Attempt: schemas.Attempt{StartedAt: base, LatencyMS: -1}})
	send(r, "audit", 0, r.codecs.Audit, &schemas.AuditEvent{ID: "e1", Time: at, Tenant: "t1", Actor: "ac", Action: "did", Resource: "r1", Outcome: schemas.OK, Decision: "{}", RequestHash: "ff", ConfigVersion: "v1", Worker: "w1"})
	send(r, "metrics", 0, r.codecs.Metric, &schemas.MetricEvent{Time: at, Name: "g", Endpoint: "e", Worker: "w1", Value: -1.5})
	send(r, "health", 0, r.codecs.Health, &schemas.HealthEvent{
		ID: "h1", Time: at, Kind: schemas.HealthShare, Provider: "p1", Endpoint: "p1-eu", Region: "eu", Source: schemas.SourceAnalyst, Instance: "a1", Applied: true,
		FromShare: 100, ToShare: 5, FromState: "closed", ToState: "open", Probability: 0.75, Bad: 0.5, Reasons: []string{"slow", "", "late"},
	})
	send(r, "health", 0, r.codecs.Health, &schemas.HealthEvent{Time: base, FromShare: -1, ToShare: 1000})
	send(r, "budgets", 0, r.codecs.Budget, &schemas.BudgetEvent{
		ID: "b1#7", Time: at, Budget: "b1", Seq: 7, Tenant: "t1", Mode: "soft", Decision: "over", Request: "req/0/7", Amount: decimal.RequireFromString("1.5"), Currency: "EUR",
		Window: base, Limit: decimal.RequireFromString("99999999999999999999999999.999999999999"), Spent: decimal.RequireFromString("-0.000000000001"), Reserved: decimal.New(2, 0), Warning: 80,
	})
	send(r, "budgets", 0, r.codecs.Budget, &schemas.BudgetEvent{Time: base, Seq: -1, Warning: -1})
	dead := &kgo.Record{Topic: "dead", Timestamp: at, Value: []byte("xyz")}
	for _, h := range [][2]string{
		{schemas.HeaderDeadReason, "poison"}, {schemas.HeaderDeadDetail, "dt"}, {schemas.HeaderID, "r1"}, {schemas.HeaderTenant, "t1"}, {schemas.HeaderDeadOrigin, "req/0/7"},
	} {
		dead.Headers = append(dead.Headers, kgo.RecordHeader{Key: h[0], Value: []byte(h[1])})
	}
	r.put(dead)
	if err := r.client.Flush(r.t.Context()); err != nil {
		r.t.Fatal(err)
	}
}

func TestRowsSayWhatTheEventsSaid(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1)
	r.everyField()
	r.record("a")
	r.waitRows()
	const moment, start = "2026-03-04 10:00:00.143", "2026-03-04 10:00:00.000"
	full := moment + "|r1|t1|{a:1,b:2}|chat|bulk|m1|rt|timeout|p1|pm|p1-eu|eu|true|3|1|7|20|13|estimated|v1|req/0/7"
	for table, want := range map[string][]string{
		"requests": {full, full, start + "|||{}||||" + "|ok|||||false|0|0|0|0|0|||"},
		"costs": {
			"2026-03-04 10:00:00.123|req/0/7|r1|t1|{a:1,b:2}|chat|m1|p1|pm|eu|timeout|estimated|-99999999999999999999999999.999999999999|USD|1|2|3|4|5" +
				"|[failed_attempt,usage]|[1,2]|[p2,p1]|[pn,pm]|[priced,unpriced]|[-0.000000000001,0]|[x1,x2]|[,u2]|v1",
			start + "||||{}|||||||" + "|0||0|0|0|0|0|[]|[]|[]|[]|[]|[]|[]|[]|",
		},
		"attempts": {
			moment + "|r1|2|1|retry|t1|chat|m1|p1|pm|p1-eu|eu|true|timeout|headers|504|vc|3|20|5|6|1|2|4|w1",
			"2026-03-04 09:59:59.999||0|0|||||||||false|||0||0|0|0|0|0|0|0|",
		},
		"audit":   {`0|0|2026-03-04 10:00:00.123456|t1|ac|did|r1|ok`},
		"metrics": {"2026-03-04 10:00:00.123|g|e|w1|-1.5"},
		"health": {
			"2026-03-04 10:00:00.123|h1|share|p1|p1-eu|eu|analyst|a1|true|100|5|closed|open|0.75|0.5|[slow,,late]",
			start + "||||||||false|0|100|||0|0|[]",
		},
		"budget_events": {
			"2026-03-04 10:00:00.123|b1|7|t1|soft|over|req/0/7|1.5|EUR|" + start + "|99999999999999999999999999.999999999999|-0.000000000001|2|80",
			start + "||0|||||0||1970-01-01 00:00:00.000|0|0|0|0",
		},
		"dead_letters": {"2026-03-04 10:00:00.123|poison|dt|r1|t1|req/0/7|3"},
	} {
		if diff := cmp.Diff(want, r.texts(table)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", table, diff)
		}
	}
	if n := r.number(t, `SELECT count() FROM audit WHERE JSONExtractString(payload, 'request_hash') = 'ff' AND JSONExtractString(payload, 'id') = 'e1' AND prev_hash = toFixedString('', 32)`); n != 1 {
		t.Error("the audit event is not kept whole")
	}
}

// Moments come from others. One that no table can hold must not keep its batch,
// and all behind it, out of the table.
func TestImpossibleMomentsHoldNothingUp(t *testing.T) {
	t.Parallel()
	r := newRig(t, 1)
	for _, at := range []time.Time{time.UnixMicro(math.MinInt64), time.UnixMicro(-1), {}, time.UnixMicro(math.MaxInt64)} {
		send(r, "results", 0, r.codecs.Result, &schemas.Result{Response: &schemas.Response{}, CreatedAt: base, CompletedAt: at})
		send(r, "costs", 0, r.codecs.Cost, &schemas.CostEvent{Time: at})
		send(r, "attempts", 0, r.codecs.Attempt, &schemas.AttemptEvent{Attempt: schemas.Attempt{StartedAt: at, LatencyMS: math.MaxInt64}})
		send(r, "audit", 0, r.codecs.Audit, &schemas.AuditEvent{Time: at})
		send(r, "metrics", 0, r.codecs.Metric, &schemas.MetricEvent{Time: at})
		send(r, "health", 0, r.codecs.Health, &schemas.HealthEvent{Time: at})
		send(r, "budgets", 0, r.codecs.Budget, &schemas.BudgetEvent{Time: at, Window: at})
	}
	r.sent["dead"] += 2 // audit events are kept as JSON, which knows the years from 0 to 9999
	r.sent["audit"] -= 2
	run := r.record("a")
	r.waitRows()
	run.stop()
	r.exact()
}

// texts returns a table's rows as text, in the order of their offsets.
func (r *rig) texts(table string) []string {
	r.t.Helper()
	var columns []string
	for _, c := range newTables(topics, r.codecs)[tables[table][0]].types {
		if !strings.HasPrefix(c.Name, "src_") && c.Name != "payload" && !strings.HasSuffix(c.Name, "hash") {
			columns = append(columns, "replaceAll(toString("+c.Name+"), '\\'', '')")
		}
	}
	rows, err := r.direct.Query(r.t.Context(), "SELECT concat("+strings.Join(columns, ", '|', ")+") FROM "+table+" ORDER BY src_offset")
	if err != nil {
		r.t.Fatal(err)
	}
	defer rows.Close()
	var out []string
	for rows.Next() {
		var text string
		if err := rows.Scan(&text); err != nil {
			r.t.Fatal(err)
		}
		out = append(out, text)
	}
	if err := rows.Err(); err != nil {
		r.t.Fatal(err)
	}
	return out
}
