package main

// This file draws charts, as SVG.

import (
	"fmt"
	"io"
	"math"
	"strings"
)

// curve is one line of a chart.
type curve struct {
	Name   string
	Points []point
}

// colours can be distinguished by colour-blind people, too.
var colours = []string{"#0072b2", "#d55e00", "#009e73"}

const (
	chartWidth, chartHeight = 720, 260
	left, right             = 80, 20 // margins
	top, bottom             = 40, 40
)

// frame maps values to coordinates.
type frame struct{ maxX, maxY float64 }

func (f frame) x(v float64) float64 { return left + v/f.maxX*(chartWidth-left-right) }
func (f frame) y(v float64) float64 { return chartHeight - bottom - v/f.maxY*(chartHeight-top-bottom) }

// draw writes a chart. Its y axis begins at 0.
func draw(w io.Writer, title, unit string, curves []curve) error {
	f := frame{1, 1e-9}
	for _, c := range curves {
		for _, p := range c.Points {
			f.maxX, f.maxY = max(f.maxX, p.X), max(f.maxY, p.Y)
		}
	}
	step := niceStep(f.maxY / 5)
	f.maxY = math.Ceil(f.maxY/step) * step
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d"`, chartWidth, chartHeight)
	b.WriteString(` font-family="sans-serif" font-size="12">`)
	fmt.Fprintf(&b, `<rect width="100%%" height="100%%" fill="white"/><text x="%d" y="20" font-size="14">%s, %s</text>`,
		left, title, unit)
	for i := 0; float64(i)*step <= f.maxY*1.001; i++ {
		v := float64(i) * step
		fmt.Fprintf(&b, `<line x1="%d" x2="%d" y1="%.1f" y2="%.1f" stroke="#ddd"/>`, left, chartWidth-right, f.y(v), f.y(v))
		fmt.Fprintf(&b, `<text x="%d" y="%.1f" text-anchor="end">%.6g</text>`, left-6, f.y(v)+4, v)
	}
	stepX := niceStep(f.maxX / 6)
	for i := 0; float64(i)*stepX <= f.maxX; i++ {
		v := float64(i) * stepX
		fmt.Fprintf(&b, `<text x="%.1f" y="%d" text-anchor="middle">%.6g s</text>`, f.x(v), chartHeight-bottom+18, v)
	}
	for i, c := range curves {
		f.curve(&b, c, colours[i%len(colours)], i)
	}
	b.WriteString("</svg>\n")
	_, err := io.WriteString(w, b.String())
	return err
}

func (f frame) curve(b *strings.Builder, c curve, colour string, number int) {
	fmt.Fprintf(b, `<polyline fill="none" stroke="%s" stroke-width="1.5" points="`, colour)
	for _, p := range c.Points {
		fmt.Fprintf(b, "%.1f,%.1f ", f.x(p.X), f.y(p.Y))
	}
	fmt.Fprintf(b, `"/><text x="%d" y="20" fill="%s" text-anchor="end">%s</text>`, chartWidth-right-number*80,
		colour, c.Name)
}

// niceStep returns the smallest of 1, 2 and 5 times a power of ten that is at least v.
func niceStep(v float64) float64 {
	if v <= 0 {
		return 1
	}
	power := math.Pow(10, math.Floor(math.Log10(v)))
	for _, m := range []float64{1, 2, 5} {
		if m*power >= v {
			return m * power
		}
	}
	return 10 * power
}
