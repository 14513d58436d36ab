// Package chart draws lines and bars as SVG for pages that need nothing from
// elsewhere.
package chart

import (
	"bytes"
	_ "embed"
	"fmt"
	"html"
	"html/template"
	"math"
	"strconv"
)

const (
	chartWidth, chartHeight                          = 720, 300
	marginLeft, marginRight, marginTop, marginBottom = 64, 14, 14, 44
)

//go:embed style.css
var style string

// Style returns the rules of a page with charts: colours by day and by night, text,
// tables, figures and what is in them.
func Style() template.CSS { return template.CSS(style) }

// Line is one curve of a chart. Colours are those of the page, by number.
type Line struct {
	Name   string
	Colour int
	Dashed bool
	Points [][2]float64
}

// Axis maps values to places. A logarithmic one leaves out values that are not
// above zero.
type Axis struct {
	from, to float64
	log      bool
	ticks    []tick
}

type tick struct {
	at    float64
	label string
}

// place returns where v is between the axis's ends, 0 to 1.
func (a *Axis) place(v float64) float64 {
	if a.log {
		return (math.Log10(v) - math.Log10(a.from)) / (math.Log10(a.to) - math.Log10(a.from))
	}
	return (v - a.from) / (a.to - a.from)
}

// Linear returns an axis from 0 to at least highest, with about five round ticks.
func Linear(highest float64) Axis {
	if !(highest > 0) {
		highest = 1
	}
	step := math.Pow(10, math.Floor(math.Log10(highest)))
	switch n := highest / step; {
	case n < 2:
		step /= 4
	case n < 5:
		step /= 2
	}
	a := Axis{to: math.Ceil(highest/step-1e-9) * step}
	for i := 0; float64(i)*step <= a.to*(1+1e-9); i++ {
		a.ticks = append(a.ticks, tick{float64(i) * step, number(float64(i) * step)})
	}
	return a
}

// Logarithmic returns an axis around the values, in whole decades, with ticks at 1,
// 2 and 5 of each while they are few.
func Logarithmic(lowest, highest float64) Axis {
	if !(lowest > 0) || math.IsInf(lowest, 0) { // there are none
		lowest = 1
	}
	highest = max(highest, lowest*1.01)
	low, high := math.Floor(math.Log10(lowest)), math.Ceil(math.Log10(highest))
	if high == low {
		high++
	}
	a := Axis{from: math.Pow(10, low), to: math.Pow(10, high), log: true}
	for e := low; e <= high; e++ {
		for _, m := range []float64{1, 2, 5} {
			if v := m * math.Pow(10, e); v <= a.to*(1+1e-9) && (m == 1 || high-low <= 3) {
				a.ticks = append(a.ticks, tick{v, number(v)})
			}
		}
	}
	return a
}

func number(v float64) string { return strconv.FormatFloat(v, 'g', 4, 64) }

// Nines returns the axis of percentiles: each nine more takes the same room.
func Nines(count int64) Axis {
	a := Axis{to: max(math.Log10(float64(count)), 2)}
	a.ticks = append(a.ticks, tick{0, "0"}, tick{-math.Log10(0.5), "50"})
	label := "90"
	for n := 1; float64(n) <= a.to; n++ {
		a.ticks = append(a.ticks, tick{float64(n), label})
		switch n {
		case 1:
			label = "99"
		case 2:
			label = "99.9"
		default:
			label += "9"
		}
	}
	return a
}

// colours is how many the page has: classes c0 to c5 of strokes and f0 to f5 of areas.
const colours = 6

// frame places values on the picture.
type frame struct{ x, y Axis }

func (f *frame) px(v float64) float64 {
	return marginLeft + f.x.place(v)*(chartWidth-marginLeft-marginRight)
}

func (f *frame) py(v float64) float64 {
	return chartHeight - marginBottom - f.y.place(v)*(chartHeight-marginTop-marginBottom)
}

// Draw returns lines as SVG that takes its colours from the page.
func Draw(title, xLabel, yLabel string, x, y Axis, lines []Line) template.HTML {
	return draw(title, xLabel, yLabel, x, y, lines, nil)
}

// draw puts what is behind the lines between them and the grid.
func draw(title, xLabel, yLabel string, x, y Axis, lines []Line, behind []byte) template.HTML {
	var b bytes.Buffer
	f := frame{x, y}
	fmt.Fprintf(&b, `<svg viewBox="0 0 %d %d" role="img" aria-label="%s">`+"\n", chartWidth, chartHeight, html.EscapeString(title))
	for _, t := range y.ticks {
		fmt.Fprintf(&b, `<line class="grid" x1="%d" x2="%d" y1="%.1f" y2="%.1f"/><text x="%d" y="%.1f" text-anchor="end">%s</text>`+"\n",
			marginLeft, chartWidth-marginRight, f.py(t.at), f.py(t.at), marginLeft-6, f.py(t.at)+4, t.label)
	}
	for _, t := range x.ticks {
		fmt.Fprintf(&b, `<line class="grid" x1="%.1f" x2="%.1f" y1="%d" y2="%d"/><text x="%.1f" y="%d" text-anchor="middle">%s</text>`+"\n",
			f.px(t.at), f.px(t.at), marginTop, chartHeight-marginBottom, f.px(t.at), chartHeight-marginBottom+16, t.label)
	}
	fmt.Fprintf(&b, `<text x="%d" y="%d" text-anchor="middle">%s</text>`+"\n", (marginLeft+chartWidth-marginRight)/2, chartHeight-8, html.EscapeString(xLabel))
	fmt.Fprintf(&b, `<text transform="translate(14 %d) rotate(-90)" text-anchor="middle">%s</text>`+"\n", (marginTop+chartHeight-marginBottom)/2, html.EscapeString(yLabel))
	b.Write(behind)
	for _, l := range lines {
		class := fmt.Sprintf("line c%d", l.Colour%colours)
		if l.Dashed {
			class += " dashed"
		}
		fmt.Fprintf(&b, `<polyline class="%s" points="`, class)
		for _, p := range l.Points {
			if y.log && p[1] <= 0 {
				continue
			}
			fmt.Fprintf(&b, "%.1f,%.1f ", f.px(p[0]), f.py(p[1]))
		}
		fmt.Fprintf(&b, `"><title>%s</title></polyline>`+"\n", html.EscapeString(l.Name))
	}
	b.WriteString("</svg>\n")
	return template.HTML(b.String()) //nolint:gosec // every text in it was escaped above
}
