package doctor

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sira-ai/sira/cmd/app"
	"github.com/sira-ai/sira/handlers/routing"
)

// parse reads a document that can't reach anything by itself.
func parse(t *testing.T, text string) app.Config {
	t.Helper()
	cfg, err := app.Parse("sira.yaml", []byte(text))
	if err != nil {
		t.Fatalf("%s\n%v", text, err)
	}
	if !strings.Contains(text, "data_dir") {
		cfg.DataDir = t.TempDir()
	}
	return cfg
}

// ask makes one check.
func ask(t *testing.T, p *patient, name string) []Finding {
	t.Helper()
	all := Checks()
	i := slices.IndexFunc(all, func(c Check) bool { return c.Name == name })
	if i < 0 {
		t.Fatalf("there is no check %s", name)
	}
	return p.check(t.Context(), all[i])
}

func patientOf(cfg app.Config) *patient { return &patient{cfg: cfg, up: map[string]bool{}} }

// expect compares findings with a state and words that one of that state says.
func expect(t *testing.T, found []Finding, state State, says string) {
	t.Helper()
	if Worst(found) != state || !slices.ContainsFunc(found, func(f Finding) bool { return f.State == state && strings.Contains(f.Text, says) }) {
		t.Errorf("found %+v, want a %s that says %q", found, state, says)
	}
	for _, f := range found {
		if (f.State == Warning || f.State == Failure) && f.Instead == "" {
			t.Errorf("%s says nothing of what to write instead: %s", f.Check, f.Text)
		}
	}
}

const account = "models: [{name: m, targets: [{provider: v, model: gpt-4o-mini}]}]\nproviders: [{name: v, kind: openai, %s}]\n"

// One line for each mistake that the document, this machine and addresses show.
func TestMistakesOfTheDocumentAreFound(t *testing.T) {
	t.Parallel()
	provider := func(settings string) string { return fmt.Sprintf(account, settings) }
	nobody := unheard(t)
	for name, c := range map[string]struct {
		check, document string
		state           State
		says            string
	}{
		"no key":                   {"keys", provider("region: eu"), Failure, "no key"},
		"no key for one's own":     {"keys", provider("base_url: 'http://127.0.0.1:1/v1'"), OK, ""},
		"a good key":               {"keys", provider("api_key: sk-0123456789"), OK, ""},
		"a key in quotes":          {"keys", provider(`api_key: "'sk-0123'"`), Failure, "signs"},
		"a key with Bearer":        {"keys", provider(`api_key: "Bearer:sk-0123"`), Failure, "Bearer"},
		"the name of a variable":   {"keys", provider(`api_key: "$OPENAI_API_KEY"`), Failure, "variable"},
		"a word in place of it":    {"keys", provider("api_key: changeme"), Failure, "word"},
		"of another vendor":        {"keys", provider("api_key: hf_0123456789"), Warning, "sk-"},
		"an endpoint without":      {"keys", provider("endpoints: [{id: a, api_key: sk-1}, {id: b}]"), Failure, "v/b has no key"},
		"what Sira adds":           {"base_urls", provider("base_url: 'http://127.0.0.1:1/v1/chat/completions'"), Failure, "adds itself"},
		"nobody there":             {"base_urls", provider("base_url: 'http://" + nobody + "/v1'"), Failure, "nobody answers"},
		"no address":               {"base_urls", provider("api_key: sk-1"), OK, ""},
		"no price":                 {"prices", strings.Replace(provider("api_key: a"), "gpt-4o-mini", "made-up-9", 1), Warning, "v/made-up-9"},
		"a price":                  {"prices", provider("api_key: a"), OK, ""},
		"a call longer than a day": {"timeouts", "invoke: {attempt_timeout: 48h}", Warning, "expire"},
		"a retry after the end":    {"timeouts", "kafka: {lanes: [{name: a, max_age: 2m}], retry: [5m]}", Warning, "first retry"},
		"defaults":                 {"timeouts", "", OK, ""},
		"health for everyone":      {"listeners", "http: {addr: '0.0.0.0:8088'}", Warning, "http.addr"},
		"profiles for everyone":    {"listeners", "http: {addr: ':8088', pprof: true}", Failure, "profiles"},
		"schemas for everyone":     {"listeners", "registry: {listen: '0.0.0.0:8081'}", Failure, "registry.listen"},
		"tables for everyone":      {"listeners", "clickhouse: {listen: '0.0.0.0:8123'}", Failure, "password"},
		"tables with a password":   {"listeners", "clickhouse: {listen: '0.0.0.0:8123', password: x}", OK, ""},
		"simulator for everyone":   {"listeners", "simulator: {listen: '0.0.0.0:8089'}", Warning, "simulated"},
		"on loopback":              {"listeners", "http: {addr: 'localhost:8088'}", OK, ""},
		"large payloads at home":   {"blobs", "kafka: {brokers: ['k:9092']}", Warning, "256 KiB"},
		"one machine":              {"blobs", "", OK, ""},
		"login in the clear":       {"kafka_login", "kafka: {brokers: ['k:9092'], sasl: {mechanism: plain, username: u, password: p}}", Failure, "k:9092"},
		"login with TLS":           {"kafka_login", "kafka: {brokers: ['k:9092'], tls: {}, sasl: {mechanism: plain, username: u, password: p}}", OK, ""},
		"no broker":                {"kafka", "kafka: {brokers: ['" + nobody + "']}", Failure, nobody},
		"no registry":              {"registry", "registry: {url: 'http://" + nobody + "'}", Failure, nobody},
		"no ClickHouse":            {"clickhouse", "clickhouse: {dsn: 'http://default:s3cret@" + nobody + "/sira'}", Failure, "does not answer"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := patientOf(parse(t, c.document))
			defer p.close()
			found := ask(t, p, c.check)
			expect(t, found, c.state, c.says)
			if text := fmt.Sprint(found); strings.Contains(text, "s3cret") || strings.Contains(text, "sk-0") || strings.Contains(text, "hf_0") || strings.Contains(text, "u:p@") {
				t.Errorf("a finding shows a credential: %s", text)
			}
		})
	}
}

// unheard returns an address that nobody listens at.
func unheard(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func TestIdlePartsAreFound(t *testing.T) {
	t.Parallel()
	p := patientOf(parse(t, `
providers: [{name: v, kind: openai, api_key: a}, {name: idle, kind: openai, api_key: a}]
models: [{name: m, targets: [{provider: v, model: x}]}]
`))
	expect(t, ask(t, p, "unused"), Warning, "idle")
	p.cfg.Providers = p.cfg.Providers[:1]
	expect(t, ask(t, p, "unused"), OK, "")
	p.cfg.Routes = []routing.RouteConfig{{Name: "r", Models: []string{"gone"}}}
	expect(t, ask(t, p, "unused"), Failure, "gone")
}

// Some kinds refuse such a key when the document is read, and some don't.
func TestKeysWithBlanksAreFound(t *testing.T) {
	t.Parallel()
	p := patientOf(parse(t, fmt.Sprintf(account, "api_key: sk-0123")))
	for _, key := range []string{"sk-0123\n", " sk-0123", "sk-0123 4567"} {
		p.cfg.Providers[0].Settings["api_key"] = key
		expect(t, ask(t, p, "keys"), Failure, "blanks")
	}
}

func TestKeyThatTravelsInTheClearIsFound(t *testing.T) {
	t.Parallel()
	p := patientOf(parse(t, fmt.Sprintf(account, "api_key: sk-1, base_url: 'http://localhost.invalid:1/v1'")))
	found := ask(t, p, "base_urls")
	if !slices.ContainsFunc(found, func(f Finding) bool { return f.State == Warning && strings.Contains(f.Text, "without TLS") }) {
		t.Errorf("found %+v", found)
	}
}

func TestFolderOfDataIsTried(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	expect(t, ask(t, patientOf(parse(t, fmt.Sprintf("data_dir: %q", filepath.Join(dir, "new", "er")))), "data_dir"), OK, "")
	if left, err := os.ReadDir(dir); err != nil || len(left) != 0 {
		t.Errorf("the check leaves %v behind: %v", left, err)
	}
	p := patientOf(parse(t, fmt.Sprintf("data_dir: %q", dir)))
	p.cfg.DataDir = "/proc/self/task" // nobody may make a file there, not even root
	expect(t, ask(t, p, "data_dir"), Failure, "data_dir")
}

func TestMachineIsMeasured(t *testing.T) {
	t.Parallel()
	p := patientOf(parse(t, ""))
	for _, name := range []string{"disk", "files", "memory"} {
		if found := ask(t, p, name); len(found) != 1 || found[0].Text == "" {
			t.Errorf("%s finds %+v on this machine", name, found)
		}
	}
	embedded, apart := parse(t, ""), parse(t, "kafka: {brokers: ['k:9092']}\nclickhouse: {dsn: 'http://c:8123'}\nblobs: {dir: /b}")
	expect(t, diskFindings(&embedded, 2*gib, 100*gib), Warning, "embedded")
	expect(t, diskFindings(&embedded, gib/10, 100*gib), Failure, "embedded")
	expect(t, diskFindings(&apart, 2*gib, 100*gib), OK, "journal")
	expect(t, fileFindings(2000, 1024), Failure, "1024")
	expect(t, fileFindings(2000, 65536), OK, "")
	expect(t, memoryFindings(&embedded, gib), Warning, "4 lanes")
	expect(t, memoryFindings(&embedded, 16*gib), OK, "")
}

func TestMemoryOfAContainerCountsBeforeTheMachines(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	machine := write("meminfo", "MemTotal:        2048 kB\nMemFree: 1 kB\n")
	for text, want := range map[string]uint64{"1048576\n": 1 << 20, "max\n": 2 << 20} {
		if got, err := memoryLimit(write("max", text), machine); err != nil || got != want {
			t.Errorf("%q: %d bytes, error %v, want %d", text, got, err, want)
		}
	}
	if _, err := memoryLimit(dir, write("empty", "")); err == nil {
		t.Error("no memory at all is an answer")
	}
}

func TestClocksMayDifferALittle(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)
	expect(t, clockFindings(at, at.Add(time.Second), at.Add(time.Second)), OK, "")
	expect(t, clockFindings(at, at.Add(time.Minute), at), Failure, "1m0s")
	expect(t, clockFindings(at, at.Add(-time.Minute), at), Failure, "-1m0s")
}

func TestWithoutServicesTheirChecksAreSkipped(t *testing.T) {
	t.Parallel()
	cfg := parse(t, "kafka: {brokers: ['"+unheard(t)+"']}\nregistry: {url: 'http://"+unheard(t)+"'}\nclickhouse: {dsn: 'http://"+unheard(t)+"'}\n")
	states := map[string]State{}
	for _, f := range Examine(t.Context(), cfg) {
		states[f.Check] = f.State
	}
	for _, c := range Checks() {
		want := states[c.Name]
		switch {
		case c.needs != "":
			want = Skipped
		case c.Name == needsKafka || c.Name == needsRegistry || c.Name == needsClickHouse:
			want = Failure
		}
		if states[c.Name] != want || want == "" {
			t.Errorf("%s is %q, want %q", c.Name, states[c.Name], want)
		}
	}
}

func TestEveryCheckIsDescribed(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../../../docs/doctor.md")
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for _, c := range Checks() {
		if seen[c.Name] || c.Holds == "" {
			t.Errorf("the check %s is there twice, or says nothing when all is well", c.Name)
		}
		seen[c.Name] = true
		if !strings.Contains(string(page), "| `"+c.Name+"` |") {
			t.Errorf("docs/doctor.md has no line for %s", c.Name)
		}
	}
	if len(seen) < 20 {
		t.Errorf("%d checks", len(seen))
	}
}
