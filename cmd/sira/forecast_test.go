package main

import (
	"fmt"
	"math"
	"strings"
	"testing"
)

func TestForecastsAreBacktestedOnCSV(t *testing.T) {
	var b strings.Builder
	b.WriteString("when,cost\n")
	for h := range 24 * 12 {
		fmt.Fprintf(&b, "%d,%g\n", h*3600, 100+50*math.Sin(float64(h%24)/24*2*math.Pi)+float64(h*7919%13))
	}
	file := write(t, "trace.csv", b.String())
	config := document(t, "data_dir: x\n")
	for _, c := range []struct {
		code int
		says string
		args []string
	}{
		{exitOK, "inside the interval of 90 %", []string{file, "--time", "when", "--value", "cost"}},
		{exitOK, `"coverage":`, []string{file, "--value", "2", "--json"}},
		{exitUsage, "", []string{file, "--value", "price"}},
		{exitUsage, "", []string{file, "--season", "200"}},
		{exitUsage, "", []string{file, "--level", "90"}},
		{exitUsage, "", []string{"nowhere.csv"}},
	} {
		code, out, errs := sira(t, append([]string{"forecast", "backtest", "--config", config}, c.args...)...)
		if code != c.code || !strings.Contains(out, c.says) {
			t.Errorf("%v: exit code %d, want %d with %q\n%s%s", c.args, code, c.code, c.says, out, errs)
		}
	}
}

func TestSpendingIsForecastFromTheLedger(t *testing.T) {
	if !alone(t) {
		return
	}
	conn, config := engine(t)
	err := conn.Exec(t.Context(), `INSERT INTO costs (event_time, cost_id, tenant, state, amount, currency)
SELECT toStartOfHour(now()) - toIntervalHour(1 + number), toString(number), 'acme', 'priced', toDecimal128(10, 12) + number % 24, 'USD' FROM numbers(480)`)
	if err != nil {
		t.Fatal(err)
	}
	code, out, errs := sira(t, "forecast", "spend", "--budget", "100", "--config", config)
	if code != exitOK || !strings.Contains(out, "used up, expected: 20") || strings.Contains(out, "not calibrated") {
		t.Errorf("exit code %d\n%s%s", code, out, errs)
	}
	if code, _, errs := sira(t, "forecast", "spend", "--currency", "EUR", "--config", config); code != exitUsage || !strings.Contains(errs, "too little") {
		t.Errorf("of nothing: exit code %d, %s", code, errs)
	}
	if code, out, errs := sira(t, "cost", "show", "--by", "tenant", "--from", "2020-01-01", "--tenant", "o'hara", "--config", config); code != exitOK {
		t.Errorf("a quote in a name: exit code %d\n%s%s", code, out, errs)
	}
}
