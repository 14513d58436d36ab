package app

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func faultsOf(t *testing.T, doc string) Faults {
	t.Helper()
	_, err := Parse("sira.yaml", []byte(doc))
	if err == nil {
		return nil
	}
	fs, ok := errors.AsType[Faults](err)
	if !ok {
		t.Fatalf("error %v is no Faults", err)
	}
	return fs
}

// wantFaults checks that each of want, as "line:column path: part of message", is
// among the faults, and that there are no others.
func wantFaults(t *testing.T, doc string, want ...string) {
	t.Helper()
	got := faultsOf(t, doc)
	if len(got) != len(want) {
		t.Errorf("%d faults, want %d:\n%v", len(got), len(want), got)
		return
	}
	for i, f := range got {
		head, part, _ := strings.Cut(want[i], ": ")
		if at := fmt.Sprintf("%d:%d %s", f.Line, f.Column, f.Path); at != head || !strings.Contains(f.Message, part) {
			t.Errorf("fault %d is %q: %q\nwant %q", i, at, f.Message, want[i])
		}
	}
}

func TestAllUnknownKeysAreReportedAtOnceWithTheNearest(t *testing.T) {
	t.Parallel()
	wantFaults(t, `kafkaa: {}
worker:
  concurency: 5
kafka:
  lanes:
    - name: a
      wieght: 3
invoke:
  backoff:
    initail: 1s
models:
  - name: m
    targets:
      - provider: p
        modell: x
zzzzzz: 1
`,
		"1:1 kafkaa: did you mean kafka?",
		"3:3 worker.concurency: did you mean concurrency?",
		"7:7 kafka.lanes[0].wieght: did you mean weight?",
		"10:5 invoke.backoff.initail: did you mean initial?",
		"15:9 models[0].targets[0].modell: did you mean model?",
		"16:1 zzzzzz: there are alerts, balance, batch, blobs, budgets, clickhouse",
	)
}

func TestDanglingProvidersAndUnknownKindsNameWhatThereIs(t *testing.T) {
	t.Parallel()
	got := faultsOf(t, `providers:
  - {name: openai, kind: openai, api_key: k}
  - {name: other, kind: opnai, api_key: k}
  - {name: third, kind: openai, api_key: k, balance: fastest}
models:
  - name: m
    targets:
      - {provider: openia, model: x}
routes:
  - name: r
    targets:
      - {provider: nobody, model: x}
  - name: default
`)
	for _, want := range []string{
		"sira.yaml:3:", "opnai", "ai21, anthropic, ", "sira.yaml:4:", "fastest", "least_load",
		`providers`, `no provider is named "openia"; did you mean openai?`, "models[0].targets[0].provider",
		`no provider is named "nobody"`, "routes[0].targets[0].provider",
	} {
		if !strings.Contains(got.Error(), want) {
			t.Errorf("the faults do not say %q:\n%v", want, got)
		}
	}
}

func TestWrongValuesAreReportedWithTheirPlace(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		doc  string
		line int
		says string
	}{
		"text for a number":       {"data_dir: x\nworker:\n  concurrency: many\n", 3, "concurrency"},
		"bad duration":            {"invoke:\n  attempt_timeout: 15 parsecs\n", 2, ""},
		"mapping for a list":      {"kafka:\n  lanes: {name: a}\n", 2, ""},
		"list for a mapping":      {"http: [1]\n", 1, ""},
		"not a mapping":           {"- a\n- b\n", 1, "mapping"},
		"a word":                  {"hello\n", 1, "mapping"},
		"two documents":           {"data_dir: a\n---\ndata_dir: b\n", 3, "second document"},
		"syntax":                  {"a: [1\n", 1, ""},
		"missing environment":     {"data_dir: ${SIRA_TEST_ABSENT}\n", 1, "SIRA_TEST_ABSENT"},
		"missing file":            {"data_dir: ${file:/no/such/file}\n", 1, "/no/such/file"},
		"negative weight":         {"kafka:\n  lanes:\n    - {name: a, weight: -1}\n", 2, "negative"},
		"unknown guarantee":       {"kafka:\n  lanes:\n    - {name: a, guarantee: maybe}\n", 2, "exactly_once"},
		"lane twice":              {"kafka:\n  lanes:\n    - {name: a}\n    - {name: a}\n", 2, "twice"},
		"reserve above all":       {"worker: {concurrency: 5}\nkafka:\n  lanes:\n    - {name: a, reserve: 5}\n", 3, "reserve"},
		"bad webhook":             {"webhooks:\n  - {url: 'http://example.com', secret: short}\n", 2, "https"},
		"negative attempts":       {"invoke: {max_attempts: -1}\n", 1, "max_attempts"},
		"bad breaker":             {"balance:\n  breaker: {ratio: 7}\n", 1, "ratio"},
		"negative worker":         {"worker:\n  concurrency: -1\n", 2, "concurrency"},
		"negative duration":       {"worker:\n  drain: -1s\n", 2, "drain"},
		"half a public place":     {"blobs:\n  public_dir: x\n", 2, "public_url"},
		"payloads for everybody":  {"blobs: {dir: x, public_dir: x, public_url: 'https://a.example'}\n", 1, "another"},
		"negative partitions":     {"kafka:\n  partitions: -1\n", 1, "partitions"},
		"negative batch":          {"clickhouse:\n  max_rows: -1\n", 2, "max_rows"},
		"retry without a delay":   {"kafka:\n  retry: [0s]\n", 2, "retry"},
		"same provider twice":     {"providers:\n  - {name: a, kind: openai}\n  - {name: a, kind: openai}\n", 3, "twice"},
		"setting of another kind": {"providers:\n  - {name: a, kind: openai, api_keyy: x}\n", 2, "api_keyy"},
	} {
		got := faultsOf(t, c.doc)
		if len(got) == 0 {
			t.Errorf("%s: no fault", name)
			continue
		}
		if got[0].Line < c.line || got[0].Line > c.line+2 || got[0].Column == 0 || !strings.Contains(got.Error(), c.says) {
			t.Errorf("%s: %v\nwant line %d and %q", name, got, c.line, c.says)
		}
	}
}

func TestExpansionCanNotChangeTheDocument(t *testing.T) {
	evil := "x\nhttp: {addr: evil}\n# {a: [b]} ${HOME} 'q' \"q\""
	t.Setenv("SIRA_TEST_EVIL", evil)
	file := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(file, []byte(evil+"\r\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, ref := range map[string]string{"environment": "${SIRA_TEST_EVIL}", "file": "${file:" + file + "}"} {
		for _, quote := range []string{"", "'", `"`} {
			doc := "data_dir: " + quote + ref + quote + "\nclickhouse: {password: " + quote + ref + quote + "}\n"
			if strings.Contains(doc, "{"+ref) {
				continue
			}
			cfg, err := Parse("sira.yaml", []byte(strings.ReplaceAll(doc, "{password: "+ref+"}", "{password: '"+ref+"'}")))
			if err != nil {
				t.Errorf("%s quoted by %q: %v", name, quote, err)
				continue
			}
			if cfg.DataDir != evil || cfg.ClickHouse.Password.Reveal() != evil || cfg.HTTP.Addr != Defaults().HTTP.Addr {
				t.Errorf("%s quoted by %q: data_dir %q, http.addr %q", name, quote, cfg.DataDir, cfg.HTTP.Addr)
			}
		}
	}
}

func TestExpandedTextStaysText(t *testing.T) {
	t.Setenv("SIRA_TEST_NUMBER", "12345")
	t.Setenv("SIRA_TEST_NULL", "null")
	cfg, err := Parse("sira.yaml", []byte("clickhouse: {password: '${SIRA_TEST_NUMBER}'}\nproviders:\n  - {name: a, kind: openai, api_key: '${SIRA_TEST_NUMBER}'}\n  - {name: b, kind: openai, api_key: '${SIRA_TEST_NULL}'}\n"))
	if err != nil {
		t.Fatal(err)
	}
	if cfg.ClickHouse.Password.Reveal() != "12345" || cfg.Providers[0].Settings["api_key"] != "12345" || cfg.Providers[1].Settings["api_key"] != "null" {
		t.Errorf("password %q, api keys %#v and %#v", cfg.ClickHouse.Password.Reveal(), cfg.Providers[0].Settings["api_key"], cfg.Providers[1].Settings["api_key"])
	}
}

func TestSecretsNeverShow(t *testing.T) {
	t.Parallel()
	const doc = `clickhouse: {password: hush-1}
registry: {password: hush-2, token: hush-3}
kafka: {brokers: ["k:1"], sasl: {mechanism: plain, username: u, password: hush-4}}
webhooks: [{url: "https://x", secret: hush-5-and-many-more-characters}]
providers: [{name: p, kind: openai, api_key: hush-6, endpoints: [{id: e, api_key: hush-7}]}]
`
	cfg, err := Parse("sira.yaml", []byte(doc))
	if err != nil {
		t.Fatal(err)
	}
	for _, verb := range []string{"%v", "%+v", "%#v"} {
		if s := fmt.Sprintf(verb, cfg); strings.Contains(s, "hush") {
			t.Errorf("%s shows a secret: %s", verb, s)
		}
	}
	if s := fmt.Sprint(cfg); !strings.Contains(s, "[redacted]") {
		t.Errorf("nothing says [redacted]: %s", s)
	}
}

func TestFaultsQuoteNoSecret(t *testing.T) {
	t.Setenv("SIRA_TEST_SECRET", "hush-hush")
	got := faultsOf(t, "providers:\n  - {name: a, kind: openai, api_key: ['${SIRA_TEST_SECRET}']}\n  - {name: b, kind: openai, api_key: {x: '${SIRA_TEST_SECRET}'}}\nwebhooks: [{url: 'ftp://x', secret: '${SIRA_TEST_SECRET}'}]\n")
	if len(got) < 3 || strings.Contains(got.Error(), "hush") {
		t.Errorf("faults:\n%v", got)
	}
}

func TestDurationsAreReadInEverySection(t *testing.T) {
	t.Parallel()
	cfg, err := Parse("sira.yaml", []byte(`invoke: {attempt_timeout: 15s, backoff: {initial: 250ms}}
balance: {breaker: {open_for: 15s}, rest: {rate_limited: 15s}}
kafka: {retention: 15h, retry: [15s, 2m], lanes: [{name: a, max_age: 15s}]}
clickhouse: {max_wait: 15s}
worker: {flush_interval: 15ms, drain: 15s}
webhooks: [{url: "https://x", secret: 0123456789-0123456789-0123456789, timeout: 15s}]
simulator: {drain: 15s}
`))
	if err != nil {
		t.Fatal(err)
	}
	got := []time.Duration{
		cfg.Invoke.AttemptTimeout, cfg.Invoke.Backoff.Initial, cfg.Balance.Breaker.OpenFor, cfg.Balance.Rest.RateLimited, cfg.Kafka.Retention, cfg.Kafka.Retry[0],
		cfg.Kafka.Retry[1], cfg.Kafka.Lanes[0].MaxAge, cfg.ClickHouse.MaxWait, cfg.Worker.FlushInterval, cfg.Worker.Drain, cfg.Webhooks[0].Timeout, time.Duration(cfg.Simulator.Drain),
	}
	const s = time.Second
	want := []time.Duration{15 * s, s / 4, 15 * s, 15 * s, 15 * time.Hour, 15 * s, 120 * s, 15 * s, 15 * s, 15 * time.Millisecond, 15 * s, 15 * s, 15 * s}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("durations (-want +got):\n%s", diff)
	}
}

func TestDocumentIsReadOverTheDefaults(t *testing.T) {
	t.Parallel()
	for _, doc := range []string{"", "# nothing\n", "kafka:\n", "kafka: {prefix: sira.}\n"} {
		cfg, err := Parse("sira.yaml", []byte(doc))
		if err != nil {
			t.Errorf("%q: %v", doc, err)
			continue
		}
		want := Defaults()
		want.Version = cfg.Version
		if fmt.Sprintf("%+v", cfg) != fmt.Sprintf("%+v", want) {
			t.Errorf("%q gave\n%+v\nwant\n%+v", doc, cfg, want)
		}
	}
}

func TestExampleDocumentsLoad(t *testing.T) {
	t.Setenv("SIRA_INSTANCE", "sira-0")
	files, _ := filepath.Glob("../../docs/examples/*.yaml")
	more, _ := filepath.Glob("../../deploy/compose/*sira*.yaml")
	if len(files) == 0 || len(more) == 0 {
		t.Fatalf("%d examples and %d documents of the compose file: the folders have moved", len(files), len(more))
	}
	for _, f := range append(files, more...) {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range reference.FindAllStringSubmatch(string(b), -1) {
			if !strings.HasPrefix(m[1], "file:") {
				t.Setenv(m[1], "0123456789-0123456789-0123456789")
			}
		}
		if _, err := Load(f); err != nil {
			t.Errorf("%s:\n%v", f, err)
		}
	}
}

// static_membership: false was read, found to be fine, and forgotten: the YAML library
// leaves a pointer to a scalar nil.
func TestKeyThatIsFalseIsNotOneThatIsLeftOut(t *testing.T) {
	t.Parallel()
	cfg, err := Parse("sira.yaml", []byte("worker: {static_membership: false}\nalerts: {anomaly: [{name: a, measure: failing_percent, above: 0}]}\n"))
	if err != nil || cfg.Worker.Static == nil || *cfg.Worker.Static || cfg.Alerts.Anomaly[0].Above == nil || *cfg.Alerts.Anomaly[0].Above != 0 {
		t.Errorf("error %v, worker %+v, alerts %+v", err, cfg.Worker, cfg.Alerts)
	}
	if cfg, err = Parse("sira.yaml", []byte("worker: {static_membership: }\n")); err != nil || cfg.Worker.Static != nil {
		t.Errorf("without a value: error %v, worker %+v", err, cfg.Worker)
	}
}

func TestAlertFaultsHaveTheirPlace(t *testing.T) {
	t.Parallel()
	_, err := Parse("sira.yaml", []byte(`alerts:
  receivers:
    - {name: ops, kind: slack, url: "http://example.com"}
    - {name: ops, kind: pager}
  burn:
    - name: answers
      objective: 99.5
      models: [gpt-4]
      to: [opss]
  budget:
    - {name: money, budgets: [none]}
`))
	for _, says := range []string{
		"sira.yaml:3:7: alerts.receivers[0]: url: write https://host/path", "sira.yaml:4:14: alerts.receivers[1].name: there are two receivers", `"pager" is unknown; write webhook, slack or alertmanager`,
		`sira.yaml:8:16: alerts.burn[0].models[0]: no model is named "gpt-4"; there are `, `sira.yaml:9:12: alerts.burn[0].to[0]: no receiver is named "opss"; there are ops`,
		`alerts.budget[0].budgets[0]: no budget is named "none"; there are none yet`,
	} {
		if err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("no %q in\n%v", says, err)
		}
	}
}

func TestMissingDocumentSaysSo(t *testing.T) {
	t.Parallel()
	if _, err := Load(filepath.Join(t.TempDir(), "none.yaml")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("error %v", err)
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{
		"", "a: [", "{}", "- 1", "kafka: {lanes: [{name: a, max_age: 5s}]}", "a: &x [*x]", "a: &x {b: *x}", "kafka: &k {<<: *k}", "<<: {http: 1}",
		"providers: [{name: p, kind: openai, api_key: ${X}}]", "? [a]\n: b", "1: 2", "http: !!binary x", "models: [null, 1, {targets: [null]}]", "--- a\n--- b", "http: |\n  x",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, doc string) {
		if len(doc) > 4096 || strings.Contains(doc, "file:") {
			return
		}
		began := time.Now()
		cfg, err := Parse("f", []byte(doc))
		if took := time.Since(began); took > 5*time.Second {
			t.Fatalf("took %s", took)
		}
		if err != nil && err.Error() == "" {
			t.Error("an error without a text")
		}
		if err == nil && cfg.Version == "" {
			t.Error("a configuration without version")
		}
	})
}
