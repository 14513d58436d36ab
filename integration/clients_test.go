package integration

import (
	"context"
	"encoding/json"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// Sira's topics and tables are its interface: programs that know nothing of it
// use them.
func TestForeignClientsEnqueueReadAndAsk(t *testing.T) {
	r := newRig(t)
	kcat, err := exec.LookPath("kcat")
	if err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal("kcat is not installed")
		}
		t.Skip("kcat is not installed")
	}
	r.start("all", "kafka,registry,clickhouse,simulator,recorder,notifier,worker", nil)
	r.ready()
	broker := r.cfg.Kafka.Embedded.Addr

	request := `{"id":"from-kcat","tenant":"acme","model":"gpt-4o-mini","messages":[{"role":"user","parts":[{"kind":"text","text":"What is a log?"}]}]}`
	if out, err := command(t, request, kcat, "-P", "-b", broker, "-t", "sira.requests.standard", "-k", "from-kcat"); err != nil {
		t.Fatalf("enqueueing: %v\n%s", err, out)
	}
	var result struct {
		RequestID string `json:"request_id"`
		Status    string `json:"status"`
		Cost      struct {
			State string `json:"state"`
		} `json:"cost"`
	}
	r.until("the result", 30*time.Second, func() bool {
		out, err := command(t, "", kcat, "-C", "-e", "-q", "-b", broker, "-t", "sira.results", "-o", "beginning", "-X", "isolation.level=read_committed", "-f", "%k\t%s\n")
		if err != nil {
			t.Fatalf("reading results: %v\n%s", err, out)
		}
		for line := range strings.Lines(out) {
			if key, value, _ := strings.Cut(line, "\t"); key == "from-kcat" {
				if err := json.Unmarshal([]byte(value), &result); err != nil {
					t.Fatalf("a JSON request was not answered in JSON: %v\n%s", err, line)
				}
			}
		}
		return result.RequestID != ""
	})
	if result.RequestID != "from-kcat" || result.Status != "succeeded" || result.Cost.State != "priced" {
		t.Errorf("the result says %+v", result)
	}

	conn := r.tables()
	r.until("the rows", 30*time.Second, func() bool {
		return r.number(conn, "SELECT (SELECT count() FROM requests) * (SELECT count() FROM costs)") > 0
	})
	var tenant string
	if err := conn.QueryRow(t.Context(), "SELECT tenant FROM requests WHERE request_id = ?", "from-kcat").Scan(&tenant); err != nil || tenant != "acme" {
		t.Errorf("clickhouse-go reads tenant %q: %v", tenant, err)
	}
	var answer struct {
		Data []struct {
			RequestID string `json:"request_id"`
			Currency  string `json:"currency"`
		} `json:"data"`
		Rows int `json:"rows"`
	}
	query := "SELECT request_id, currency FROM costs FORMAT JSON"
	if err := call(t.Context(), http.MethodPost, "http://"+r.cfg.ClickHouse.Listen+"/?database=sira", []byte(query), &answer); err != nil {
		t.Fatal(err)
	}
	if answer.Rows != 1 || len(answer.Data) != 1 || answer.Data[0].RequestID != "from-kcat" || answer.Data[0].Currency != "USD" {
		t.Errorf("FORMAT JSON gives %+v", answer)
	}
}

// command runs a program with an input of one line.
func command(t *testing.T, input, name string, args ...string) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Stdin = strings.NewReader(input)
	out, err := cmd.CombinedOutput()
	return string(out), err
}
