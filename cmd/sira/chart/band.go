package chart

import (
	"bytes"
	"fmt"
	"html"
	"html/template"
	"slices"
)

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
