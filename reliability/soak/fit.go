package main

// This file fits a line to a curve, and decides whether the curve grows.

import "math"

// point is one sample of a curve.
type point struct{ X, Y float64 } // seconds, and the measured value

// line is a straight line fitted to points, with the error of its slope.
type line struct {
	Slope, At0 float64
	Error      float64 // standard error of Slope
}

// fit fits a line by least squares. With fewer than three points it returns zero.
func fit(points []point) line {
	n := float64(len(points))
	if n < 3 {
		return line{}
	}
	var x, y float64
	for _, p := range points {
		x += p.X / n
		y += p.Y / n
	}
	var xx, xy float64
	for _, p := range points {
		xx += (p.X - x) * (p.X - x)
		xy += (p.X - x) * (p.Y - y)
	}
	if xx == 0 {
		return line{At0: y}
	}
	l := line{Slope: xy / xx}
	l.At0 = y - l.Slope*x
	var rest float64
	for _, p := range points {
		d := p.Y - l.At0 - l.Slope*p.X
		rest += d * d
	}
	l.Error = math.Sqrt(rest / (n - 2) / xx)
	return l
}

// verdict says how a curve grows, and whether that is allowed.
type verdict struct {
	line
	Mean    float64
	Growth  float64 // of the line, from the first point to the last
	Noise   float64 // how much of it may be chance: three standard errors
	Allowed float64
	OK      bool
}

// judge decides whether a curve is flat: its line must not grow by more than allowed, apart from what may be chance. It
// may shrink.
func judge(points []point, allowed float64) verdict {
	v := verdict{line: fit(points), Allowed: allowed}
	if len(points) == 0 {
		return v
	}
	for _, p := range points {
		v.Mean += p.Y / float64(len(points))
	}
	span := points[len(points)-1].X - points[0].X
	v.Growth, v.Noise = v.Slope*span, 3*v.Error*span
	v.OK = v.Growth-v.Noise <= allowed
	return v
}

// settled leaves out the first quarter, in which pools fill and the garbage collector adapts.
func settled(points []point) []point { return points[len(points)/4:] }
