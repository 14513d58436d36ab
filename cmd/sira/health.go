package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/ClickHouse/clickhouse-go/v2/lib/driver"
	"github.com/spf13/cobra"

	"github.com/sira-ai/sira/handlers/balance"
)

func (c *cli) healthCommand() *cobra.Command {
	var addr string
	cmd := &cobra.Command{
		Use: "health", Short: "Show how endpoints are now: breaker, weight, prediction and why", Args: cobra.NoArgs,
		Long: `Asks a worker what it knows of its endpoints now: the state of their breakers, the
share of calls that they get, how likely they are to fail within five minutes, and why.
The line at the end is the share of failing calls of all workers in the last hour, a
mark for each minute, from ClickHouse where it can be reached.`,
		Example: "  sira health\n  sira health --addr worker-2:8088 --json",
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := c.config()
			if err != nil {
				return err
			}
			if addr == "" {
				addr = cfg.HTTP.Addr
			}
			seen, err := askWorker(cmd.Context(), addr)
			if err != nil {
				return err
			}
			all := joined(seen)
			c.addPast(cmd.Context(), all)
			return c.printHealth(cmd.OutOrStdout(), all)
		},
	}
	cmd.Flags().StringVar(&addr, "addr", "", "host:port of a worker's health interface (default: http.addr of the configuration)")
	return cmd
}

// overview is what a worker answers under /endpoints.
type overview struct {
	Endpoints []balance.EndpointView `json:"endpoints"`
	Outlook   []outlook              `json:"outlook"`
}

type outlook struct {
	Provider    string   `json:"provider"`
	Endpoint    string   `json:"endpoint"`
	Probability float64  `json:"probability"`
	Reasons     []string `json:"reasons"`
	Source      string   `json:"source"`
}

// maxOverview bounds what is read of an answer: some 30,000 endpoints.
const maxOverview = 16 << 20

func askWorker(ctx context.Context, addr string) (overview, error) {
	var seen overview
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+strings.TrimPrefix(addr, "http://")+"/endpoints", nil)
	if err != nil {
		return seen, usageError{fmt.Errorf("--addr %q: write host:port, such as 127.0.0.1:8088", addr)}
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return seen, fmt.Errorf("no worker answers at %s: start one with `sira up`, or name another with --addr: %w", addr, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return seen, fmt.Errorf("%s answered %d: it plays no role worker, or is starting; name another with --addr", addr, resp.StatusCode)
	}
	return readOverview(resp.Body)
}

var errNoOverview = errors.New("the answer is none of a worker; name another with --addr")

// readOverview reads what a worker answers.
func readOverview(r io.Reader) (overview, error) {
	var seen overview
	if err := json.NewDecoder(io.LimitReader(r, maxOverview)).Decode(&seen); err != nil {
		return seen, fmt.Errorf("%w: %w", errNoOverview, err)
	}
	return seen, nil
}

// endpointHealth is an endpoint as it is printed.
type endpointHealth struct {
	balance.EndpointView

	Probability *float64  `json:"probability"` // of failing within five minutes; null: prediction is off
	Reasons     []string  `json:"reasons,omitempty"`
	Source      string    `json:"source,omitempty"`
	Failing     []float64 `json:"failing,omitempty"` // percent of calls of each minute of the last hour, oldest first
}

func joined(seen overview) []endpointHealth {
	out := make([]endpointHealth, 0, len(seen.Endpoints))
	for _, e := range seen.Endpoints {
		h := endpointHealth{EndpointView: e}
		for _, o := range seen.Outlook {
			if o.Provider == e.Provider && o.Endpoint == e.ID {
				h.Probability, h.Reasons, h.Source = &o.Probability, o.Reasons, o.Source
			}
		}
		out = append(out, h)
	}
	slices.SortFunc(out, func(a, b endpointHealth) int {
		return strings.Compare(a.Provider+"\x00"+a.ID, b.Provider+"\x00"+b.ID)
	})
	return out
}

// addPast adds the last hour, if ClickHouse answers: health is asked for when things
// do not work.
func (c *cli) addPast(ctx context.Context, all []endpointHealth) {
	conn, _, err := c.house()
	if err != nil {
		return
	}
	defer conn.Close()
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	past, err := failingByMinute(ctx, conn, time.Now())
	if err != nil {
		return
	}
	for i := range all {
		all[i].Failing = past[all[i].Provider+"\x00"+all[i].ID]
	}
}

// failingByMinute returns the percentage of failing calls of each of the last 60
// minutes, by provider and endpoint.
func failingByMinute(ctx context.Context, conn driver.Conn, now time.Time) (map[string][]float64, error) {
	const minutes = 60
	end := now.Truncate(time.Minute).Add(time.Minute)
	begin := end.Add(-minutes * time.Minute)
	rows, err := conn.Query(ctx, fmt.Sprintf(`SELECT provider, endpoint, toInt64(toUnixTimestamp(minute)), 100 * sumIf(n, outcome != 'ok') / sum(n) FROM attempts_1m
WHERE minute >= toDateTime(%d, 'UTC') GROUP BY provider, endpoint, minute`, begin.Unix()))
	if err != nil {
		return nil, fmt.Errorf("reading attempts by the minute: %w", err)
	}
	defer rows.Close()
	out := map[string][]float64{}
	for rows.Next() {
		var provider, endpoint string
		var at int64
		var failing float64
		if err := rows.Scan(&provider, &endpoint, &at, &failing); err != nil {
			return nil, fmt.Errorf("reading attempts by the minute: %w", err)
		}
		key := provider + "\x00" + endpoint
		if out[key] == nil {
			out[key] = make([]float64, minutes)
		}
		if i := (at - begin.Unix()) / 60; i >= 0 && i < minutes {
			out[key][i] = failing
		}
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("reading attempts by the minute: %w", err)
	}
	return out, nil
}

func (c *cli) printHealth(w io.Writer, all []endpointHealth) error {
	rows := make([][]any, 0, len(all))
	for i := range all {
		h := &all[i]
		if c.json {
			if err := printJSON(w, h); err != nil {
				return err
			}
			continue
		}
		probability, why := "-", strings.Join(h.Reasons, "; ")
		if h.Probability != nil {
			probability = fmt.Sprintf("%.1f %%", 100**h.Probability)
		}
		state := h.State
		if !h.RestingUntil.IsZero() && h.RestingUntil.After(time.Now()) {
			state += ", resting"
		}
		failed := 0.0
		if h.Calls > 0 {
			failed = 100 * float64(h.Failures) / float64(h.Calls)
		}
		rows = append(rows, []any{
			h.Provider, h.ID, state, fmt.Sprintf("%d at %d %%", h.Weight, h.Share), h.InFlight, h.Calls, fmt.Sprintf("%.1f %%", failed), fmt.Sprintf("%d ms", h.LatencyMS),
			probability, percentLine(h.Failing), why,
		})
	}
	if c.json {
		return nil
	}
	return printTable(w, []string{"provider", "endpoint", "breaker", "weight", "in flight", "calls", "failed", "latency", "will fail", "failing, last hour", "why"}, rows)
}

// percentLine draws percentages in one line: the full height is always 100.
func percentLine(values []float64) string {
	marks := []rune("▁▂▃▄▅▆▇█")
	var b strings.Builder
	for _, v := range values {
		b.WriteRune(marks[min(len(marks)-1, max(0, int(v/100*float64(len(marks)))))])
	}
	return b.String()
}

// pairs writes labels as name=value, in order.
func pairs(labels map[string]string) string {
	out := make([]string, 0, len(labels))
	for _, k := range slices.Sorted(maps.Keys(labels)) {
		out = append(out, k+"="+labels[k])
	}
	return strings.Join(out, " ")
}
