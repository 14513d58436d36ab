package incident

import (
	"bytes"
	"fmt"
	"math"
	"slices"
	"strconv"
)

// Pictures returns the report as drawings, by file name.
func (r *Report) Pictures() map[string][]byte {
	return map[string][]byte{
		"prediction-reliability.svg": r.reliability(),
		"prediction-lead.svg":        r.leads(),
		"prediction-failures.svg":    r.failures(),
		"prediction-incident.svg":    r.sample(),
	}
}

const (
	width, height = 640, 380
	left, right   = 70, 20
	top, bottom   = 46, 54

	blue, orange, grey = "#2563eb", "#ea580c", "#6b7280"
)

// chart is a drawing with one pair of axes.
type chart struct {
	bytes.Buffer
	x0, x1, y0, y1 float64
}

func newChart(title, xLabel, yLabel string, x0, x1, y0, y1 float64) *chart {
	c := &chart{x0: x0, x1: x1, y0: y0, y1: y1}
	fmt.Fprintf(c, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" font-family="system-ui, sans-serif" font-size="12">`+"\n", width, height)
	fmt.Fprintf(c, `<rect width="%d" height="%d" fill="#ffffff"/>`+"\n", width, height)
	c.text(left, 22, "start", "#111827", title)
	c.text(left+(width-left-right)/2, height-12, "middle", grey, xLabel)
	fmt.Fprintf(c, `<text x="16" y="%d" fill="%s" text-anchor="middle" transform="rotate(-90 16 %d)">%s</text>`+"\n", height/2, grey, height/2, yLabel)
	return c
}

func (c *chart) x(v float64) float64 {
	return left + (v-c.x0)/(c.x1-c.x0)*(width-left-right)
}

func (c *chart) y(v float64) float64 {
	return height - bottom - (v-c.y0)/(c.y1-c.y0)*(height-top-bottom)
}

func (c *chart) text(x, y float64, anchor, colour, s string) {
	fmt.Fprintf(c, `<text x="%.1f" y="%.1f" fill="%s" text-anchor="%s">%s</text>`+"\n", x, y, colour, anchor, s)
}

func (c *chart) line(x0, y0, x1, y1 float64, colour, more string) {
	fmt.Fprintf(c, `<line x1="%.1f" y1="%.1f" x2="%.1f" y2="%.1f" stroke="%s" %s/>`+"\n", x0, y0, x1, y1, colour, more)
}

func (c *chart) rect(x, y, w, h float64, colour string) {
	fmt.Fprintf(c, `<rect x="%.1f" y="%.1f" width="%.1f" height="%.1f" fill="%s"/>`+"\n", x, y, w, h, colour)
}

// ticksY draws horizontal lines with labels.
func (c *chart) ticksY(step float64, format string) {
	for i := 0; ; i++ {
		v := c.y0 + float64(i)*step
		if v > c.y1+step/1000 {
			return
		}
		c.line(left, c.y(v), width-right, c.y(v), "#e5e7eb", "")
		c.text(left-6, c.y(v)+4, "end", grey, fmt.Sprintf(format, v))
	}
}

func (c *chart) ticksX(step float64, format string) {
	for i := 0; ; i++ {
		v := c.x0 + float64(i)*step
		if v > c.x1+step/1000 {
			return
		}
		c.text(c.x(v), height-bottom+18, "middle", grey, fmt.Sprintf(format, v))
	}
}

func (c *chart) path(colour, more string, points [][2]float64) {
	fmt.Fprintf(c, `<polyline fill="none" stroke="%s" stroke-width="2" %s points="`, colour, more)
	for _, p := range points {
		fmt.Fprintf(c, "%.1f,%.1f ", c.x(p[0]), c.y(p[1]))
	}
	c.WriteString(`"/>` + "\n")
}

// legend names colours in the top right corner.
func (c *chart) legend(entries ...[2]string) {
	x := float64(width - right)
	for _, e := range slices.Backward(entries) {
		c.text(x, 38, "end", e[1], "■ "+e[0])
		x -= 18 + 6.6*float64(len(e[0]))
	}
}

func (c *chart) done() []byte {
	c.WriteString("</svg>\n")
	return c.Bytes()
}

func (r *Report) reliability() []byte {
	c := newChart("Reliability: of what was said to fail within 5 minutes, how much did", "probability that was said", "share that failed", 0, 1, 0, 1)
	c.ticksY(0.2, "%.1f")
	c.ticksX(0.2, "%.1f")
	c.line(c.x(0), c.y(0), c.x(1), c.y(1), grey, `stroke-dasharray="4 4"`)
	var points [][2]float64
	for _, b := range r.Bins {
		points = append(points, [2]float64{b.Said, b.Seen})
	}
	c.path(blue, "", points)
	for _, b := range r.Bins {
		fmt.Fprintf(c, `<circle cx="%.1f" cy="%.1f" r="%.1f" fill="%s"/>`+"\n", c.x(b.Said), c.y(b.Seen), 2+0.8*math.Log10(float64(b.N)), blue)
		c.text(c.x(b.Said)+8, c.y(b.Seen)+14, "start", grey, strconv.Itoa(b.N))
	}
	return c.done()
}

func (r *Report) leads() []byte {
	most := 300.0
	for _, k := range r.Kinds {
		if len(k.Leads) > 0 {
			most = max(most, 60*math.Ceil(quantile(k.Leads, 0.75)/60))
		}
	}
	c := newChart("When the first alert comes, by kind of incident (median, and the middle half)", "", "seconds before the failure", 0, 1, -120, most)
	c.ticksY(60, "%.0f")
	c.line(left, c.y(0), width-right, c.y(0), "#111827", "")
	n := 0
	for _, k := range r.Kinds {
		if k.Failures > 0 {
			n++
		}
	}
	i := 0
	for _, k := range r.Kinds {
		if k.Failures == 0 {
			continue
		}
		x := c.x((float64(i) + 0.5) / float64(n))
		i++
		c.text(x, height-bottom+18, "middle", "#111827", k.Kind)
		c.text(x, height-bottom+34, "middle", grey, fmt.Sprintf("%d of %d before", k.Early, k.Failures))
		if len(k.Leads) == 0 {
			continue
		}
		low, high := c.y(quantile(k.Leads, 0.25)), c.y(quantile(k.Leads, 0.75))
		colour := blue
		if k.Lead < 0 {
			colour = orange
		}
		c.rect(x-22, high, 44, max(low-high, 1), colour+"55")
		c.line(x-22, c.y(k.Lead), x+22, c.y(k.Lead), colour, `stroke-width="3"`)
		c.text(x+28, c.y(k.Lead)+4, "start", colour, fmt.Sprintf("%+.0f s", k.Lead))
	}
	return c.done()
}

// quantile of ascending values of which there is at least one.
func quantile(ascending []float64, q float64) float64 {
	return ascending[int(math.Round(q*float64(len(ascending)-1)))]
}

func (r *Report) failures() []byte {
	pairs := []struct {
		name    string
		off, on float64
	}{
		{"failed, during incidents", r.Off.Troubled(), r.On.Troubled()},
		{"failed, all the time", share(r.Off.Failed, r.Off.Requests), share(r.On.Failed, r.On.Requests)},
		{"slow, all the time", share(r.Off.Slow, r.Off.Requests), share(r.On.Slow, r.On.Requests)},
	}
	most := 0.0
	for _, p := range pairs {
		most = max(most, 100*p.off, 100*p.on)
	}
	step := math.Pow(10, math.Floor(math.Log10(most))) / 2
	c := newChart("Requests whose first attempt failed, or was slow", "", "percent of requests", 0, 1, 0, most*1.15)
	c.ticksY(step, "%.2f")
	for i, p := range pairs {
		x := c.x((float64(i) + 0.5) / float64(len(pairs)))
		for k, v := range []float64{p.off, p.on} {
			colour, at := grey, x-42
			if k == 1 {
				colour, at = blue, x+2
			}
			c.rect(at, c.y(100*v), 40, c.y(0)-c.y(100*v), colour)
			c.text(at+20, c.y(100*v)-5, "middle", colour, fmt.Sprintf("%.3f", 100*v))
		}
		c.text(x, height-bottom+18, "middle", "#111827", p.name)
	}
	c.legend([2]string{"prediction off", grey}, [2]string{"prediction on", blue})
	return c.done()
}

func (r *Report) sample() []byte {
	if len(r.Sample) == 0 {
		return newChart("No slow burn in this run", "", "", 0, 1, 0, 1).done()
	}
	minute := func(m Moment) float64 { return float64(m.Second-r.Sample[0].Second) / 60 }
	c := newChart("One slow burn", "minutes", "share", 0, minute(r.Sample[len(r.Sample)-1]), 0, 1)
	c.ticksY(0.2, "%.1f")
	c.ticksX(5, "%.0f")
	var p, bad, weight [][2]float64
	for _, m := range r.Sample {
		x := minute(m)
		p = append(p, [2]float64{x, m.Probability})
		bad = append(bad, [2]float64{x, m.Bad})
		weight = append(weight, [2]float64{x, m.Share})
	}
	c.path(grey, `stroke-dasharray="5 3"`, weight)
	c.path(orange, "", bad)
	c.path(blue, "", p)
	c.legend([2]string{"weight", grey}, [2]string{"calls that would fail", orange}, [2]string{"probability", blue})
	return c.done()
}
