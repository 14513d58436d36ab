// Package report writes what a gateway did in a while as one HTML page with charts,
// which needs nothing from elsewhere.
package report

import (
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"math"
	"time"

	"github.com/sira-ai/sira/cmd/sira/chart"
	"github.com/sira-ai/sira/schemas"
)

// Data is what the page shows. Empty parts are said to be empty.
type Data struct {
	From, To time.Time
	Made     time.Time
	Version  string // of the program
	Tenant   string // empty: all
	Requests uint64
	Failed   uint64
	Models   []Outcomes
	Provider []Outcomes
	Latency  []Latency
	Spend    []Spend
	Unpriced uint64 // requests whose price is unknown
	Forecast *Forecast
	NoFuture string // why there is no forecast
	Alerts   []schemas.Alert
	Outlook  []Outlook
	Shifts   []Shift
}

// Outcomes are requests, or calls, by how they ended.
type Outcomes struct {
	Name   string
	Counts []Count // the most first
}

// Count is how often something ended in some way.
type Count struct {
	Outcome string
	N       uint64
}

// Latency is end-to-end times of a model, in milliseconds.
type Latency struct {
	Model    string
	At       []time.Time
	P50, P99 []float64
}

// Spend is what a tenant spent. Amount is exact, Value is for the chart.
type Spend struct {
	Tenant, Currency, Amount string
	Value                    float64
	Requests                 uint64
}

// Forecast is what will be spent in each hour from From on, after Past.
type Forecast struct {
	Currency            string
	From                time.Time
	Past                []float64 // of the hours before From
	Expected, Low, High []float64
	Sum, SumLow         float64
	SumHigh             float64
	Model               string
	Calibrated          bool
}

// Outlook is the probability that an endpoint fails within five minutes.
type Outlook struct {
	Endpoint string
	At       []time.Time
	P        []float64
}

// Shift is a change in what an endpoint is given.
type Shift struct {
	At                       time.Time
	Provider, Endpoint, What string
	Probability              float64
	Reasons                  []string
}

//go:embed report.html
var pageText string

// figure is a chart with its legend.
type figure struct {
	Title, Note string
	Chart       template.HTML
	Legend      []legend
	Empty       string // said in place of the chart
}

type legend struct {
	Name   string
	Colour int
	Dashed bool
	Area   bool
}

// page is what the template shows.
type page struct {
	*Data

	Figures []figure
}

// Write writes the page.
func Write(w io.Writer, d *Data) error {
	t, err := template.New("report").Funcs(template.FuncMap{
		"style": chart.Style,
		"when":  func(t time.Time) string { return t.UTC().Format("2006-01-02 15:04") },
		"percent": func(part, all uint64) string {
			if all == 0 {
				return "0 %"
			}
			return fmt.Sprintf("%.2f %%", 100*float64(part)/float64(all))
		},
		"probability": func(p float64) string { return fmt.Sprintf("%.0f %%", 100*p) },
		"about":       func(v float64) string { return fmt.Sprintf("%.4g", v) },
		"lasted":      lasted,
	}).Parse(pageText)
	if err != nil {
		return fmt.Errorf("reading the report's template: %w", err)
	}
	p := page{Data: d, Figures: []figure{
		outcomeFigure("Requests by model", "How the requests of each model ended.", d.Models),
		outcomeFigure("Calls by provider", "How the calls to each provider ended; a request can take several.", d.Provider),
		latencyFigure(d), spendFigure(d), forecastFigure(d), outlookFigure(d),
	}}
	if err := t.Execute(w, p); err != nil {
		return fmt.Errorf("writing the report: %w", err)
	}
	return nil
}

func lasted(a schemas.Alert) string {
	if a.State == schemas.AlertFiring {
		return "goes on"
	}
	return a.ResolvedAt.Sub(a.FiredAt).Round(time.Second).String()
}

// colours of outcomes: what was answered is green wherever it stands.
func colourOf(outcome string, known map[string]int) int {
	if outcome == "ok" {
		return 2
	}
	if _, ok := known[outcome]; !ok {
		known[outcome] = []int{1, 3, 4, 5, 0}[len(known)%5]
	}
	return known[outcome]
}

func outcomeFigure(title, note string, all []Outcomes) figure {
	f := figure{Title: title, Note: note}
	if len(all) == 0 {
		f.Empty = "No requests."
		return f
	}
	known, said := map[string]int{}, map[string]bool{}
	var bars []chart.Bar
	for _, o := range all {
		bar := chart.Bar{Name: o.Name}
		var sum, ok uint64
		for _, c := range o.Counts {
			sum += c.N
			if c.Outcome == "ok" {
				ok += c.N
			}
			colour := colourOf(c.Outcome, known)
			bar.Parts = append(bar.Parts, chart.Part{Name: c.Outcome, Colour: colour, Value: float64(c.N)})
			if !said[c.Outcome] {
				said[c.Outcome] = true
				f.Legend = append(f.Legend, legend{Name: c.Outcome, Colour: colour, Area: true})
			}
		}
		bar.Note = fmt.Sprintf("%d, %.1f %% ok", sum, 100*float64(ok)/float64(max(1, sum)))
		bars = append(bars, bar)
	}
	f.Chart = chart.Bars(title, bars)
	return f
}

// lines finishes a figure of lines.
func (f figure) lines(x, y chart.Axis, yLabel string, lines []chart.Line) figure {
	f.Chart = chart.Draw(f.Title, "UTC", yLabel, x, y, lines)
	f.keys(lines)
	return f
}

func (f *figure) keys(lines []chart.Line) {
	for _, l := range lines {
		f.Legend = append(f.Legend, legend{Name: l.Name, Colour: l.Colour % 6, Dashed: l.Dashed})
	}
}

func latencyFigure(d *Data) figure {
	f := figure{Title: "End-to-end time", Note: "From the request record to completion, of requests that were answered: median, and 99th percentile (dashed)."}
	lowest, highest := math.Inf(1), 0.0
	var lines []chart.Line
	for i, l := range d.Latency {
		p50, p99 := chart.Line{Name: l.Model + " p50", Colour: i}, chart.Line{Name: l.Model + " p99", Colour: i, Dashed: true}
		for j, at := range l.At {
			x := float64(at.Unix())
			if v := l.P50[j]; v > 0 {
				lowest = min(lowest, v)
				p50.Points = append(p50.Points, [2]float64{x, v})
			}
			if v := l.P99[j]; v > 0 {
				highest = max(highest, v)
				p99.Points = append(p99.Points, [2]float64{x, v})
			}
		}
		lines = append(lines, p50, p99)
	}
	if len(lines) == 0 {
		f.Empty = "No requests were answered."
		return f
	}
	return f.lines(chart.Times(d.From, d.To), chart.Logarithmic(lowest, highest), "milliseconds", lines)
}

func spendFigure(d *Data) figure {
	f := figure{Title: "Spending by tenant", Note: "From the ledger, with all adjustments. Bars of different currencies can't be compared."}
	if d.Unpriced > 0 {
		f.Note += fmt.Sprintf(" %d requests have no price yet; they are not zero, their cost is unknown.", d.Unpriced)
	}
	if len(d.Spend) == 0 {
		f.Empty = "Nothing was spent."
		return f
	}
	currencies := map[string]int{}
	var bars []chart.Bar
	for _, s := range d.Spend {
		colour, ok := currencies[s.Currency]
		if !ok {
			colour = len(currencies)
			currencies[s.Currency] = colour
			f.Legend = append(f.Legend, legend{Name: s.Currency, Colour: colour % 6, Area: true})
		}
		bars = append(bars, chart.Bar{Name: s.Tenant, Parts: []chart.Part{{Name: s.Tenant, Colour: colour, Value: s.Value}}, Note: s.Amount + " " + s.Currency})
	}
	f.Chart = chart.Bars(f.Title, bars)
	return f
}

func forecastFigure(d *Data) figure {
	f := figure{Title: "Spending, past and forecast"}
	p := d.Forecast
	if p == nil {
		f.Empty = "No forecast: " + d.NoFuture + "."
		return f
	}
	f.Note = fmt.Sprintf("By the hour, in %s. The next %d hours together: %.4g expected, between %.4g and %.4g in nine of ten cases (%s).", p.Currency, len(p.Expected), p.Sum, p.SumLow, p.SumHigh, p.Model)
	if !p.Calibrated {
		f.Note += " The past is short: the interval is a guess."
	}
	past, next := chart.Line{Name: "spent", Colour: 0}, chart.Line{Name: "expected", Colour: 1, Dashed: true}
	band := chart.Band{Name: "nine of ten cases", Colour: 1}
	highest := 0.0
	for i, v := range p.Past {
		highest = max(highest, v)
		past.Points = append(past.Points, [2]float64{hour(p.From, i-len(p.Past)), v})
	}
	for i, v := range p.Expected {
		highest = max(highest, v, p.High[i])
		next.Points = append(next.Points, [2]float64{hour(p.From, i), v})
		band.Points = append(band.Points, [3]float64{hour(p.From, i), p.Low[i], p.High[i]})
	}
	begin, end := p.From.Add(-time.Duration(len(p.Past))*time.Hour), p.From.Add(time.Duration(len(p.Expected))*time.Hour)
	lines := []chart.Line{past, next}
	f.Chart = chart.DrawBand(f.Title, "UTC", p.Currency+" an hour", chart.Times(begin, end), chart.Linear(highest), lines, band)
	f.keys(lines)
	f.Legend = append(f.Legend, legend{Name: band.Name, Colour: 1, Area: true})
	return f
}

func hour(from time.Time, n int) float64 {
	return float64(from.Add(time.Duration(n) * time.Hour).Unix())
}

func outlookFigure(d *Data) figure {
	f := figure{Title: "Predicted failures", Note: "Probability that an endpoint fails within five minutes; the highest of all workers."}
	var lines []chart.Line
	for i, o := range d.Outlook {
		l := chart.Line{Name: o.Endpoint, Colour: i}
		for j, at := range o.At {
			l.Points = append(l.Points, [2]float64{float64(at.Unix()), o.P[j]})
		}
		lines = append(lines, l)
	}
	if len(lines) == 0 {
		f.Empty = "Nothing was predicted: prediction is off, or no worker ran."
		return f
	}
	return f.lines(chart.Times(d.From, d.To), chart.Linear(1), "probability", lines)
}
