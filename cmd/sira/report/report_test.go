package report

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/sira-ai/sira/schemas"
)

var noon = time.Date(2026, 3, 4, 12, 0, 0, 0, time.UTC)

const hostile = `</title><script>alert("x")</script>&`

func full() *Data {
	hours := func(n int, v float64) []float64 {
		out := make([]float64, n)
		for i := range out {
			out[i] = v + float64(i%5)
		}
		return out
	}
	at := []time.Time{noon, noon.Add(time.Hour), noon.Add(2 * time.Hour)}
	return &Data{
		From: noon.Add(-24 * time.Hour), To: noon, Made: noon, Version: "1", Tenant: hostile, Requests: 110, Failed: 10, Unpriced: 3,
		Models:   []Outcomes{{Name: hostile, Counts: []Count{{"ok", 100}, {"timeout", 10}}}, {Name: strings.Repeat("long", 20), Counts: []Count{{"rate_limited", 1}}}},
		Provider: []Outcomes{{Name: "openai", Counts: []Count{{hostile, 0}}}},
		Latency:  []Latency{{Model: hostile, At: at, P50: []float64{100, 0, 120}, P99: []float64{900, 0, 800}}},
		Spend:    []Spend{{Tenant: hostile, Currency: "USD", Amount: "12.345678901234", Value: 12.3, Requests: 5}, {Tenant: "b", Currency: "EUR", Amount: "0", Value: 0}},
		Forecast: &Forecast{Currency: "USD", From: noon, Past: hours(72, 3), Expected: hours(24, 3), Low: hours(24, 1), High: hours(24, 9), Sum: 100, SumLow: 80, SumHigh: 130, Model: "m"},
		Alerts: []schemas.Alert{
			{Rule: "answers", Severity: "page", State: schemas.AlertFiring, Labels: map[string]string{"model": hostile}, Summary: hostile, FiredAt: noon, Runbook: "javascript:alert(1)"},
			{Rule: "money", State: schemas.AlertResolved, FiredAt: noon, ResolvedAt: noon.Add(90 * time.Second)},
		},
		Outlook: []Outlook{{Endpoint: hostile, At: at, P: []float64{0, 0.5, 1}}},
		Shifts:  []Shift{{At: noon, Provider: "openai", Endpoint: hostile, What: "share 100 % to 5 %", Probability: 0.83, Reasons: []string{hostile, "b"}}},
	}
}

func written(t *testing.T, d *Data) string {
	t.Helper()
	var b bytes.Buffer
	if err := Write(&b, d); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

var picture = regexp.MustCompile(`(?s)<svg.*?</svg>`)

func TestPageNeedsNothingAndBelievesNothing(t *testing.T) {
	t.Parallel()
	page := written(t, full())
	for _, bad := range []string{"<script", "javascript:alert", "http://", "https://", "<link", "@import", "src="} {
		if strings.Contains(page, bad) {
			t.Errorf("the page has %q in it", bad)
		}
	}
	for _, says := range []string{"9.09 %", "12.345678901234 USD", "goes on", "1m30s", "3 requests have no price", "the interval is a guess", "83 %", "110, 90.9 % ok"} {
		if !strings.Contains(page, says) {
			t.Errorf("the page does not say %q", says)
		}
	}
	pictures := picture.FindAllString(page, -1)
	if len(pictures) < 6 {
		t.Errorf("%d pictures", len(pictures))
	}
	for _, p := range pictures {
		if strings.Contains(p, "NaN") || strings.Contains(p, "Inf") {
			t.Errorf("a place is no number:\n%s", p)
		}
		d := xml.NewDecoder(strings.NewReader(p))
		for {
			_, err := d.Token()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatalf("a picture is not well formed: %v\n%s", err, p)
			}
		}
	}
}

func TestEmptyPartsSaySo(t *testing.T) {
	t.Parallel()
	page := written(t, &Data{From: noon, To: noon, NoFuture: "2 hours are too few"})
	for _, says := range []string{"No requests.", "No requests were answered.", "Nothing was spent.", "No forecast: 2 hours are too few.", "Nothing was predicted", "<p>None.</p>", "0 %"} {
		if !strings.Contains(page, says) {
			t.Errorf("the page does not say %q", says)
		}
	}
}
