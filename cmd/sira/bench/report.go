package bench

import (
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"math"
	"strconv"

	"github.com/sira-ai/sira/cmd/sira/chart"
)

//go:embed report.html
var reportPage string

// figure is a chart with its legend.
type figure struct {
	Title, Note string
	Chart       template.HTML
	Legend      []legend
}

type legend struct {
	Name   string
	Colour int
	Dashed bool
}

// page is what the template shows.
type page struct {
	Runs        []*Run
	Names       []string // of the runs, as the charts call them
	Figures     []figure
	Differences []Difference // of two runs
	Unlike      []string
}

// WriteReport writes one HTML page, with everything in it, on one run, or on two
// that are compared. names are what the page calls them.
func WriteReport(w io.Writer, names []string, runs ...*Run) error {
	t, err := template.New("report").Funcs(template.FuncMap{
		"style": chart.Style,
		"ms":    func(v float64) string { return strconv.FormatFloat(v, 'f', 1, 64) }, "percent": percent,
	}).Parse(reportPage)
	if err != nil {
		return fmt.Errorf("reading the report's template: %w", err)
	}
	p := page{Runs: runs, Names: names}
	byPercentile, err := percentileFigure(names, runs)
	if err != nil {
		return err
	}
	p.Figures = append(p.Figures, byPercentile, latencyFigure(names, runs), rateFigure(names, runs))
	if len(runs) == 2 {
		if p.Differences, err = Compare(runs[0], runs[1]); err != nil {
			return err
		}
		p.Unlike = Unlike(runs[0], runs[1])
	}
	if err := t.Execute(w, p); err != nil {
		return fmt.Errorf("writing the report: %w", err)
	}
	return nil
}

func percent(share float64) string { return strconv.FormatFloat(100*share, 'f', 1, 64) + " %" }

// draw finishes a figure.
func (f figure) draw(xLabel, yLabel string, x, y chart.Axis, lines []chart.Line) figure {
	f.Chart = chart.Draw(f.Title, xLabel, yLabel, x, y, lines)
	for _, l := range lines {
		f.Legend = append(f.Legend, legend{l.Name, l.Colour % 6, l.Dashed})
	}
	return f
}

// percentileFigure draws whole distributions: of one run every kind, of several
// runs all requests of each.
func percentileFigure(names []string, runs []*Run) (figure, error) {
	f := figure{
		Title: "Latency by percentile",
		Note:  "How many percent of the requests took at most so long, from their intended time. Each nine takes the same room.",
	}
	var lines []chart.Line
	var most int64
	lowest, highest := math.Inf(1), 0.0
	add := func(name string, s *Series) error {
		h, err := s.histogram()
		if err != nil || s.Count == 0 {
			return err
		}
		l := chart.Line{Name: name, Colour: len(lines)}
		most = max(most, s.Count)
		last := math.Log10(float64(s.Count))
		const steps = 160
		for i := range steps + 1 {
			x := last * float64(i) / steps
			v := millis(h.ValueAtQuantile(100 * (1 - math.Pow(10, -x))))
			lowest, highest = min(lowest, v), max(highest, v)
			l.Points = append(l.Points, [2]float64{x, v})
		}
		lines = append(lines, l)
		return nil
	}
	for i, r := range runs {
		for j := range r.Latency {
			name := r.Latency[j].Name
			if len(runs) > 1 {
				if j > 0 {
					break
				}
				name = names[i]
			}
			if err := add(name, &r.Latency[j]); err != nil {
				return f, err
			}
		}
	}
	return f.draw("percentile", "milliseconds", chart.Nines(most), chart.Logarithmic(lowest, highest), lines), nil
}

// prefix names a curve of one of several runs.
func prefix(names []string, i int, what string) string {
	if len(names) == 1 {
		return what
	}
	return names[i] + ": " + what
}

func latencyFigure(names []string, runs []*Run) figure {
	f := figure{Title: "Latency over time", Note: "Of the requests that were meant to be sent then. The 99th percentile of few requests is their slowest one."}
	var lines []chart.Line
	lowest, highest, end := math.Inf(1), 0.0, 0.0
	for i, r := range runs {
		p50, p99 := chart.Line{Name: prefix(names, i, "p50"), Colour: i}, chart.Line{Name: prefix(names, i, "p99"), Colour: i, Dashed: true}
		for _, p := range r.Curve {
			if p.P50 == 0 {
				continue
			}
			lowest, highest, end = min(lowest, p.P50), max(highest, p.P99), max(end, p.At)
			p50.Points = append(p50.Points, [2]float64{p.At, p.P50})
			p99.Points = append(p99.Points, [2]float64{p.At, p.P99})
		}
		lines = append(lines, p50, p99)
	}
	return f.draw("seconds", "milliseconds", chart.Linear(end), chart.Logarithmic(lowest, highest), lines)
}

func rateFigure(names []string, runs []*Run) figure {
	f := figure{Title: "Requests a second", Note: "Sent, and answered. A gap between the two is a queue that grows."}
	var lines []chart.Line
	highest, end := 0.0, 0.0
	for i, r := range runs {
		sent, answered := chart.Line{Name: prefix(names, i, "sent"), Colour: i, Dashed: true}, chart.Line{Name: prefix(names, i, "answered"), Colour: i}
		for _, p := range r.Curve {
			highest, end = max(highest, p.Sent, p.Answered), max(end, p.At)
			sent.Points = append(sent.Points, [2]float64{p.At, p.Sent})
			answered.Points = append(answered.Points, [2]float64{p.At, p.Answered})
		}
		lines = append(lines, sent, answered)
	}
	return f.draw("seconds", "a second", chart.Linear(end), chart.Linear(highest), lines)
}
