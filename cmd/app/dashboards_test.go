package app

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"

	"github.com/sira-ai/sira/sinks/clickhouse"
	"github.com/sira-ai/sira/sinks/clickhouse/embedded"
)

// board is what this test reads of a dashboard of Grafana.
type board struct {
	UID    string  `json:"uid"`
	Panels []panel `json:"panels"`

	Templating struct {
		List []struct{ Name, Query string } `json:"list"`
	} `json:"templating"`
}

type panel struct {
	ID      int      `json:"id"`
	Type    string   `json:"type"`
	Title   string   `json:"title"`
	Targets []target `json:"targets"`

	FieldConfig struct {
		Overrides []struct {
			Matcher struct{ Options string } `json:"matcher"`
		} `json:"overrides"`
	} `json:"fieldConfig"`
}

type target struct {
	Datasource struct{ Type, UID string } `json:"datasource"`
	Expr       string                     `json:"expr"`
	RawSQL     string                     `json:"rawSql"`
	QueryType  string                     `json:"queryType"`
}

const grafana = "../../deploy/grafana/"

func boards(t *testing.T) map[string]board {
	t.Helper()
	files, err := filepath.Glob(grafana + "dashboards/*.json")
	if err != nil || len(files) < 4 {
		t.Fatalf("%d dashboards, error %v: the folder has moved", len(files), err)
	}
	out, uids := map[string]board{}, map[string]bool{}
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		var b board
		if err := json.Unmarshal(text, &b); err != nil {
			t.Fatalf("%s: %v", f, err)
		}
		if b.UID == "" || uids[b.UID] {
			t.Errorf("%s: the uid %q is missing or used twice", f, b.UID)
		}
		uids[b.UID] = true
		out[filepath.Base(f)] = b
	}
	return out
}

var (
	timeFilter   = regexp.MustCompile(`\$__timeFilter\((\w+)\)`)
	timeInterval = regexp.MustCompile(`\$__timeInterval\((\w+)\)`)
	variable     = regexp.MustCompile(`\$\{(\w+):singlequote\}`)
	metricName   = regexp.MustCompile(`\b(sira|go|process)_[a-z0-9_]+`)
)

// expanded puts in what the plugin puts in for its macros
// (https://grafana.com/grafana/plugins/grafana-clickhouse-datasource/, "Macros").
func expanded(sql string) string {
	sql = timeFilter.ReplaceAllString(sql, "$1 >= toDateTime(toUnixTimestamp(now()) - 21600) AND $1 <= toDateTime(toUnixTimestamp(now()) + 600)")
	sql = timeInterval.ReplaceAllString(sql, "toStartOfInterval(toDateTime($1), INTERVAL 60 second)")
	return variable.ReplaceAllString(sql, "'acme','fast'")
}

// shown is something for every panel to show.
var shown = []string{
	`INSERT INTO requests (event_time, request_id, tenant, labels, model, outcome, provider, attempts, fallbacks, e2e_ms) SELECT now64(3) - number * 10, toString(number), 'acme', map('team', 'red'), 'fast', if(number % 10 = 0, 'timeout', 'ok'), 'openai', 1, number % 2, 100 + number FROM numbers(100)`,
	`INSERT INTO attempts (event_time, request_id, tenant, model, provider, provider_model, endpoint, outcome, latency_ms, first_token_ms, output_tokens) SELECT now64(3) - number * 10, toString(number), 'acme', 'fast', 'openai', 'm', 'a', if(number % 10 = 0, 'timeout', 'ok'), 100 + number, 10, 50 FROM numbers(100)`,
	`INSERT INTO costs (event_time, cost_id, tenant, labels, model, provider, state, amount, currency, input_tokens, cache_read, output_tokens) SELECT now64(3) - number * 10, toString(number), 'acme', map('team', 'red'), 'fast', 'openai', if(number % 10 = 0, 'estimated', 'priced'), 0.01, 'USD', 100, 10, 50 FROM numbers(100)`,
	`INSERT INTO adjustments (event_time, cost_id, seq, tenant, model, kind, state, amount, currency, reason, booked_at) SELECT now64(3), '1', 1, 'acme', 'fast', 'price', 'priced', -0.001, 'USD', 'typo', now64(3)`,
	`INSERT INTO budget_events (event_time, budget, seq, tenant, mode, decision, amount, currency, window_limit, spent, reserved) SELECT now64(3) - number, 'b', number + 1, 'acme', 'hard', 'granted', 1, 'USD', 100, number, 1 FROM numbers(10)`,
	`INSERT INTO dead_letters (event_time, reason) SELECT now64(3), 'undecodable'`,
	`INSERT INTO metrics (event_time, name, endpoint, worker, value) SELECT now64(3), arrayJoin(['endpoint_failure_probability', 'endpoint_share_percent', 'endpoint_breaker_open']), 'a', 'w', 0.5`,
	`INSERT INTO health (event_time, event_id, kind, provider, endpoint, source, applied, from_share, to_share, probability, reasons) SELECT now64(3) - 60, 'openai/a#1', 'share', 'openai', 'a', 'analyst', true, 100, 5, 0.8, ['slow']`,
	`INSERT INTO alerts (since, rule, alert_id, severity, labels, state, summary, fired_at, written_at) SELECT now64(3), 'answers', 'x', 'page', map('model', 'fast'), 'firing', 'it burns', now64(3), now64(6)`,
}

// The engine lives once in a process, so this is the only test here that starts it.
func TestEveryPanelOfTheDashboardsHasItsNumbers(t *testing.T) {
	if _, err := embedded.Find(); errors.Is(err, embedded.ErrNoLibrary) && os.Getenv("CI") == "" {
		t.Skip(err)
	} else if err != nil {
		t.Fatal(err)
	}
	cfg, err := Parse("sira.yaml", []byte("budgets: [{id: b, limit: 100, currency: USD, window: month}]\nalerts: {budget: [{name: money}]}\n"))
	if err != nil {
		t.Fatal(err)
	}
	own := isolated(t)
	cfg.Instance, cfg.DataDir, cfg.HTTP, cfg.Kafka.Embedded, cfg.Registry, cfg.ClickHouse, cfg.Simulator = own.Instance, own.DataDir, own.HTTP, own.Kafka.Embedded, own.Registry, own.ClickHouse, own.Simulator
	s := start(t, cfg, AllRoles()...)
	s.up(t)
	defer s.down(t)
	s.isReady(t)
	s.ask(t, "r1")
	effective := s.Effective()
	conn, _, err := clickhouse.Open(effective.ClickHouseDSN())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	for _, sql := range shown {
		if err := conn.Exec(t.Context(), sql); err != nil {
			t.Fatalf("%s: %v", sql, err)
		}
	}
	asked := map[string]string{} // metrics, with a panel that asks for each
	for file, b := range boards(t) {
		for _, v := range b.Templating.List {
			if fault := answer(t, conn, panel{}, target{RawSQL: v.Query, QueryType: "table"}); fault != "" {
				t.Errorf("%s: variable %s: %s", file, v.Name, fault)
			}
		}
		for _, p := range b.Panels {
			for _, q := range p.Targets {
				at := fmt.Sprintf("%s: panel %d, %s", file, p.ID, p.Title)
				if q.RawSQL != "" {
					if fault := answer(t, conn, p, q); fault != "" {
						t.Errorf("%s: %s\n%s", at, fault, q.RawSQL)
					}
					continue
				}
				names := metricName.FindAllString(q.Expr, -1)
				for _, name := range names {
					asked[name] = at
				}
				if len(names) == 0 {
					t.Errorf("%s: it asks for nothing", at)
				}
			}
			if p.Type != "row" && len(p.Targets) == 0 {
				t.Errorf("%s: panel %d, %s, asks for nothing", file, p.ID, p.Title)
			}
		}
	}
	eventually(t, func() string { // the recorder counts once it has inserted
		known := knownMetrics(t, s)
		for name, at := range asked {
			if !known[name] {
				return at + ": there is no metric " + name
			}
		}
		return ""
	})
}

// knownMetrics returns the names that a process with all roles serves, once it has
// done something. Histograms have the names of their series.
func knownMetrics(t *testing.T, s *started) map[string]bool {
	t.Helper()
	status, body := get(t, "http://"+s.HTTPAddr()+"/metrics")
	if status != 200 {
		t.Fatalf("metrics: %d", status)
	}
	known := map[string]bool{}
	for line := range strings.SplitSeq(body, "\n") {
		if name := metricName.FindString(line); name != "" && !strings.HasPrefix(line, "#") && strings.HasPrefix(line, name) {
			known[name] = true
		}
	}
	return known
}

// answer asks a query of a panel and returns what is wrong with the answer.
func answer(t *testing.T, conn driver.Conn, p panel, q target) string {
	t.Helper()
	rows, err := conn.Query(t.Context(), expanded(q.RawSQL))
	if err != nil {
		return err.Error()
	}
	defer rows.Close()
	n := 0
	for rows.Next() {
		n++
	}
	switch err := rows.Err(); {
	case err != nil:
		return err.Error()
	case n == 0:
		return "no rows"
	}
	for _, o := range p.FieldConfig.Overrides {
		if !slices.Contains(rows.Columns(), o.Matcher.Options) {
			return "there is no column " + o.Matcher.Options
		}
	}
	if q.QueryType != "timeseries" {
		return ""
	}
	// A series is a moment, names, and one number.
	numbers := 0
	for i, c := range rows.ColumnTypes() {
		kind := c.DatabaseTypeName()
		switch {
		case i == 0 && (c.Name() != "time" || !strings.HasPrefix(kind, "DateTime")):
			return "the first column is no time but " + c.Name() + " " + kind
		case strings.Contains(kind, "Int") || strings.Contains(kind, "Float"):
			numbers++
		case i > 0 && !strings.Contains(kind, "String"):
			return "column " + c.Name() + " is " + kind
		}
	}
	if numbers != 1 {
		return fmt.Sprintf("%d columns are numbers", numbers)
	}
	return ""
}

// What the dashboards name as their sources is what is provisioned.
func TestDashboardsUseTheProvisionedSources(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(grafana + "provisioning/datasources/sira.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for file, b := range boards(t) {
		for _, p := range b.Panels {
			for _, q := range p.Targets {
				if !strings.Contains(string(text), "uid: "+q.Datasource.UID+"\n    type: "+q.Datasource.Type+"\n") {
					t.Errorf("%s: panel %d: the source %s of type %s is not provisioned", file, p.ID, q.Datasource.UID, q.Datasource.Type)
				}
			}
		}
	}
}
