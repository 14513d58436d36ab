package main

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/sira-ai/sira/cmd/app"
	"github.com/sira-ai/sira/pipeline/tracing/tracingtest"
)

// traced is a gateway's configuration with a collector.
func traced(c *tracingtest.Collector) app.Config {
	cfg := app.Defaults()
	cfg.Tracing.Enabled, cfg.Tracing.Endpoint = true, c.URL
	return cfg
}

// withTracing adds the collector to a tool's document.
func withTracing(t *testing.T, file string, c *tracingtest.Collector) {
	t.Helper()
	f, err := os.OpenFile(file, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := fmt.Fprintf(f, "tracing: {enabled: true, endpoint: %q, service: shop}\n", c.URL); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}

// oneTrace checks that the trace of the one request that was sent goes from the
// producer over the worker and the provider to the rows of all its records.
func oneTrace(t *testing.T, file string, c *tracingtest.Collector) {
	t.Helper()
	code, out, errs := sira(t, "results", "--json", "--config", file)
	var result struct {
		RequestID string `json:"request_id"`
		TraceID   string `json:"trace_id"`
	}
	if err := json.Unmarshal([]byte(out), &result); code != exitOK || err != nil || result.RequestID != "r1" || len(result.TraceID) != 32 {
		t.Fatalf("results: exit code %d, %v\n%s%s", code, err, out, errs)
	}
	tables := []string{"requests", "attempts", "costs", "audit"}
	spans := c.Wait(t, 30*time.Second, func(spans []tracingtest.Span) bool { return len(spans) >= 3+len(tables) })
	named := map[string]tracingtest.Span{}
	for _, s := range spans {
		if s.Trace != result.TraceID {
			t.Errorf("%s %s is of another trace", s.Kind, s.Name)
		}
		named[s.Kind+" "+s.Name+" "+s.Attributes["db.collection.name"]] = s
	}
	sent, ok := named["producer send sira.requests.standard "]
	if !ok || sent.Parent != "" || sent.Service != "shop" {
		t.Errorf("the producer: %+v", sent)
	}
	worked := named["consumer process sira.requests.standard "]
	if worked.Parent != sent.ID || worked.Service != "sira" {
		t.Errorf("the worker: %+v", worked)
	}
	called := named["client chat gpt-4o-mini "]
	if called.Parent != worked.ID || called.Attributes["gen_ai.provider.name"] != "openai" || called.Attributes["gen_ai.usage.output_tokens"] == "" {
		t.Errorf("the call: %+v", called)
	}
	found := 0
	for _, s := range named {
		if s.Attributes["db.collection.name"] == "" {
			continue
		}
		found++
		if s.Parent != worked.ID || len(s.Links) != 1 || !strings.HasSuffix(s.Links[0], worked.ID) || s.Attributes["db.system.name"] != "clickhouse" {
			t.Errorf("the recorder's %s: %+v", s.Name, s)
		}
	}
	if found != len(tables) {
		t.Errorf("rows of %d tables, want %v", found, tables)
	}
}
