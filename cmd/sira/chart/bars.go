package chart

import (
	"bytes"
	"fmt"
	"html"
	"html/template"
)

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
