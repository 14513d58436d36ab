package chart

import (
	"bytes"
	"fmt"
	"html"
	"html/template"
	"slices"
	"time"
)

// Times returns an axis of moments in seconds since 1970, UTC, with about six round
// ticks.
func Times(from, to time.Time) Axis {
	if !to.After(from) {
		to = from.Add(time.Hour)
	}
	step, form := time.Minute, "15:04"
	for _, s := range []struct {
		step time.Duration
		form string
	}{
		{5 * time.Minute, "15:04"},
		{15 * time.Minute, "15:04"},
		{time.Hour, "15:04"},
		{3 * time.Hour, "15:04"},
		{6 * time.Hour, "Jan 2 15:04"},
		{24 * time.Hour, "Jan 2"},
		{7 * 24 * time.Hour, "Jan 2"},
		{14 * 24 * time.Hour, "Jan 2"},
		{30 * 24 * time.Hour, "Jan 2"},
		{365 * 24 * time.Hour, "2006"},
	} {
		if to.Sub(from) <= 8*step {
			break
		}
		step, form = s.step, s.form
	}
	a := Axis{from: float64(from.Unix()), to: float64(to.Unix())}
	for at := from.UTC().Truncate(step); !at.After(to) && len(a.ticks) < 40; at = at.Add(step) {
		if !at.Before(from) {
			a.ticks = append(a.ticks, tick{float64(at.Unix()), at.Format(form)})
		}
	}
	return a
}

// Band is the room between two curves, such as an interval.
type Band struct {
	Name   string
	Colour int
	Points [][3]float64 // x, low, high
}

// DrawBand is Draw with a band behind the lines.
func DrawBand(title, xLabel, yLabel string, x, y Axis, lines []Line, band Band) template.HTML {
	var b bytes.Buffer
	f := frame{x, y}
	fmt.Fprintf(&b, `<polygon class="band f%d" points="`, band.Colour%colours)
	for _, p := range band.Points {
		fmt.Fprintf(&b, "%.1f,%.1f ", f.px(p[0]), f.py(p[2]))
	}
	for _, p := range slices.Backward(band.Points) {
		fmt.Fprintf(&b, "%.1f,%.1f ", f.px(p[0]), f.py(p[1]))
	}
	fmt.Fprintf(&b, `"><title>%s</title></polygon>`+"\n", html.EscapeString(band.Name))
	return draw(title, xLabel, yLabel, x, y, lines, b.Bytes())
}

// Bar is a horizontal bar of parts, one after another.
type Bar struct {
	Name  string
	Parts []Part
	Note  string // at its end
}

// Part is a piece of a bar.
type Part struct {
	Name   string
	Colour int
	Value  float64
}

const (
	barHeight, barGap = 18, 8
	barLeft, barRight = 190, 110
)

// Bars returns bars as SVG that takes its colours from the page. The longest one
// takes all the room.
func Bars(title string, bars []Bar) template.HTML {
	longest := 0.0
	for i := range bars {
		longest = max(longest, bars[i].sum())
	}
	if !(longest > 0) {
		longest = 1
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, `<svg viewBox="0 0 %d %d" role="img" aria-label="%s">`+"\n", chartWidth, len(bars)*(barHeight+barGap)+barGap, html.EscapeString(title))
	for i, bar := range bars {
		y := barGap + i*(barHeight+barGap)
		fmt.Fprintf(&b, `<text x="%d" y="%d" text-anchor="end">%s</text>`, barLeft-8, y+13, html.EscapeString(short(bar.Name)))
		x := float64(barLeft)
		for _, p := range bar.Parts {
			w := p.Value / longest * (chartWidth - barLeft - barRight)
			if !(w > 0) {
				continue
			}
			fmt.Fprintf(&b, `<rect class="f%d" x="%.1f" y="%d" width="%.2f" height="%d"><title>%s: %s</title></rect>`, p.Colour%colours, x, y, max(w, 0.5), barHeight, html.EscapeString(p.Name), number(p.Value))
			x += w
		}
		fmt.Fprintf(&b, `<text x="%.1f" y="%d">%s</text>`+"\n", x+6, y+13, html.EscapeString(bar.Note))
	}
	b.WriteString("</svg>\n")
	return template.HTML(b.String()) //nolint:gosec // every text in it was escaped above
}

func (b *Bar) sum() float64 {
	sum := 0.0
	for _, p := range b.Parts {
		sum += max(0, p.Value)
	}
	return sum
}

// short cuts a name to what has room.
func short(s string) string {
	const most = 30
	r := []rune(s)
	if len(r) <= most {
		return s
	}
	return string(r[:most-1]) + "…"
}
