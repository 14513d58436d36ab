package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/sira-ai/sira/cmd/app"
	"github.com/sira-ai/sira/cmd/sira/bench"
)

// gateway runs an App and returns the path of a document that says where it is.
func gateway(t *testing.T, more ...app.Role) string {
	t.Helper()
	return gatewayOf(t, app.Defaults(), more...)
}

func gatewayOf(t *testing.T, cfg app.Config, more ...app.Role) string {
	t.Helper()
	cfg.Instance, cfg.DataDir = "test", t.TempDir()
	for _, addr := range []*string{&cfg.HTTP.Addr, &cfg.Kafka.Embedded.Addr, &cfg.Registry.Listen, &cfg.ClickHouse.Listen, &cfg.Simulator.Listen} {
		*addr = "127.0.0.1:0"
	}
	cfg.Kafka.Partitions = 2
	a := app.New(cfg, append([]app.Role{app.RoleKafka, app.RoleRegistry, app.RoleSimulator, app.RoleWorker}, more...), zap.NewNop())
	ctx, cancel := context.WithCancel(context.Background())
	up, ended := make(chan struct{}), make(chan error, 1)
	go func() { ended <- a.Run(ctx, func() { close(up) }) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("stopping: %v", err)
		}
	})
	select {
	case <-up:
	case err := <-ended:
		t.Fatalf("starting: %v", err)
	case <-time.After(30 * time.Second):
		t.Fatal("does not start")
	}
	e := a.Effective()
	return document(t, fmt.Sprintf("data_dir: %q\nkafka:\n  partitions: 2\n  embedded: {addr: %q}\nregistry: {listen: %q}\nclickhouse: {listen: %q}\n",
		e.DataDir, e.Kafka.Embedded.Addr, e.Registry.Listen, e.ClickHouse.Listen))
}

// letter is a line of `sira dead list --json`.
type letter struct{ ID, Reason, Origin string }

func letters(t *testing.T, file string) []letter {
	t.Helper()
	code, out, errs := sira(t, "dead", "list", "--json", "--config", file)
	if code != exitOK {
		t.Fatalf("dead list: exit code %d\n%s", code, errs)
	}
	var all []letter
	d := json.NewDecoder(strings.NewReader(out))
	for d.More() {
		var l letter
		if err := d.Decode(&l); err != nil {
			t.Fatal(err)
		}
		all = append(all, l)
	}
	return all
}

func TestToolsWorkWithARunningGateway(t *testing.T) {
	file := gateway(t)
	must := func(says string, args ...string) string {
		t.Helper()
		code, out, errs := sira(t, append(args, "--config", file)...)
		if code != exitOK || !strings.Contains(out, says) {
			t.Fatalf("sira %s: exit code %d, want %q in\n%s%s", strings.Join(args, " "), code, says, out, errs)
		}
		return out
	}
	must("acme", "enqueue", "--id", "r1", "--tenant", "acme", "--wait", "What is a log?")
	must(`"request_id":"r1"`, "results", "--id", "r1", "--json")
	must("r1  acme", "cancel", "--tenant", "acme", "--wait", "r1") // it has its answer and keeps it
	must("", "cancel", "--tenant", "acme", "nobody", "r1")
	must("sira.requests.standard", "topics", "list")
	must("all topics are there", "topics", "create")
	if code, _, errs := sira(t, "results", "--id", "nobody", "--config", file); code != exitFailure || !strings.Contains(errs, "nobody") {
		t.Errorf("results of an unknown id: exit code %d, %s", code, errs)
	}

	must("unroutable", "enqueue", "--id", "r2", "--model", "gpt-9-ultra", "--wait", "hi")
	all := letters(t, file)
	if len(all) != 1 || all[0].Reason != "unroutable" || !strings.HasPrefix(all[0].Origin, "sira.requests.standard/") {
		t.Fatalf("dead letters %+v, want the one of r2", all)
	}
	must("gpt-9-ultra", "dead", "show", all[0].ID)
	if code, _, errs := sira(t, "dead", "show", "0/999", "--config", file); code != exitUsage || !strings.Contains(errs, "0/999") {
		t.Errorf("show of no letter: exit code %d, %s", code, errs)
	}
	must("redriven "+all[0].ID, "dead", "redrive", all[0].ID)
	for end := time.Now().Add(30 * time.Second); len(letters(t, file)) < 2; { // its model is still unknown
		if time.Now().After(end) {
			t.Fatal("the redriven request was not handled")
		}
	}
	if out := must("", "results", "--json"); strings.Count(out, `"request_id":"r2"`) != 2 {
		t.Errorf("want a result of the request and one of its redrive:\n%s", out)
	}
}

func TestBenchMeasuresARunningGateway(t *testing.T) {
	file, dir := gateway(t), t.TempDir()
	trace := filepath.Join(dir, "trace.csv")
	if err := os.WriteFile(trace, []byte("at,input_tokens,output_tokens\n0,20,5\n30,400,9\n60,7,0\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	a, b, page := filepath.Join(dir, "a.json"), filepath.Join(dir, "b.json"), filepath.Join(dir, "report.html")
	for _, args := range [][]string{
		{"bench", "--rate", "60", "--for", "1s", "--tenants", "3", "--save", a, "--report", page},
		{"bench", "--trace", trace, "--speed", "60", "--save", b},
	} {
		if code, out, errs := sira(t, append(args, "--config", file)...); code != exitOK || !strings.Contains(out, "0 failed, 0 lost, 0 doubled") {
			t.Fatalf("%v: exit code %d\n%s%s", args, code, out, errs)
		}
	}
	run, err := bench.Open(a)
	if err != nil {
		t.Fatal(err)
	}
	if run.Requests != 60 || run.Answered != 60 || len(run.Latency) != 5 || run.Latency[1].Count != 15 || run.FirstText == nil || run.FirstText.Count != 30 {
		t.Errorf("a run of 60 requests of four kinds, half of them streamed, is kept as %+v", run)
	}
	if text, err := os.ReadFile(page); err != nil || !strings.Contains(string(text), run.Name) {
		t.Errorf("the report is %d bytes, error %v", len(text), err)
	}
	code, out, errs := sira(t, "bench", "compare", a, b, "--report", page)
	if code != exitOK || !strings.Contains(out, "p99.9") || !strings.Contains(errs, "differ in load") {
		t.Errorf("compare: exit code %d\n%s%s", code, out, errs)
	}
	if code, _, errs := sira(t, "bench", "--config", document(t, routed)); code != exitUsage || !strings.Contains(errs, "--paid") {
		t.Errorf("providers that are not on this machine: exit code %d, %s", code, errs)
	}
}

func TestDoctorExaminesARunningGateway(t *testing.T) {
	code, out, errs := sira(t, "doctor", "--json", "--config", gateway(t))
	if code != exitFinding || !strings.Contains(errs, "1 failures") {
		t.Errorf("without ClickHouse: exit code %d, %s", code, errs)
	}
	states := map[string]string{}
	for d := json.NewDecoder(strings.NewReader(out)); d.More(); {
		var f struct{ Check, State string }
		if err := d.Decode(&f); err != nil {
			t.Fatal(err)
		}
		states[f.Check] = f.State
	}
	for check, want := range map[string]string{"document": "ok", "kafka": "ok", "topics": "ok", "schemas": "ok", "instance": "ok", "clickhouse": "failure", "migrations": "skipped"} {
		if states[check] != want {
			t.Errorf("%s is %q, want %q\n%s", check, states[check], want, out)
		}
	}
	code, out, _ = sira(t, "doctor", "--quiet", "--config", document(t, faulty))
	if code != exitFinding || strings.Count(out, "failure  document") != 3 || !strings.Contains(out, "did you mean kafka?") {
		t.Errorf("a document with three faults: exit code %d\n%s", code, out)
	}
}

func TestToolsSayThatNoBrokerAnswers(t *testing.T) {
	port, err := freePort()
	if err != nil {
		t.Fatal(err)
	}
	file := document(t, fmt.Sprintf("data_dir: %q\nkafka: {embedded: {addr: %q}}\n", t.TempDir(), port))
	code, _, errs := sira(t, "topics", "list", "--config", file)
	if code != exitFailure || !strings.Contains(errs, port) || !strings.Contains(errs, "sira up") {
		t.Errorf("exit code %d, %s", code, errs)
	}
}
