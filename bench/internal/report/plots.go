package report

// This file holds the plots.

import (
	"errors"
	"fmt"
	"image/color"
	"math"
	"os"
	"path/filepath"
	"slices"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgsvg"

	"github.com/cloudwego/netpoll/bench/internal/plan"
	"github.com/cloudwego/netpoll/bench/internal/run"
)

// colours can be distinguished by colour-blind people, too. The limits are grey and dashed.
var colours = map[string]color.RGBA{
	plan.Netpoll:   {R: 0x00, G: 0x72, B: 0xb2, A: 0xff},
	plan.NoRing:    {R: 0x56, G: 0xb4, B: 0xe9, A: 0xff},
	plan.AIO:       {R: 0x33, G: 0x99, B: 0xcc, A: 0xff},
	plan.Reference: {R: 0xd5, G: 0x5e, B: 0x00, A: 0xff},
	plan.Net:       {R: 0x00, G: 0x9e, B: 0x73, A: 0xff},
	plan.Gnet:      {R: 0xcc, G: 0x79, B: 0xa7, A: 0xff},
	plan.Nbio:      {R: 0xe6, G: 0x9f, B: 0x00, A: 0xff},
	plan.Epoll:     {R: 0x99, G: 0x99, B: 0x99, A: 0xff},
	plan.Ring:      {R: 0x55, G: 0x55, B: 0x55, A: 0xff},
}

// figurePlot is one plot: one figure of those scenarios that have an x value.
type figurePlot struct {
	file, title, x, y string
	logX, logY        bool
	at                func(run.Sample, plan.Scenario) (x float64, ok bool)
	value             func(run.Sample) float64
}

func byConnections(_ run.Sample, sc plan.Scenario) (float64, bool) {
	return float64(sc.Conns), sc.Group == plan.GroupConnections && sc.Active == 0
}

func byLoad(s run.Sample, sc plan.Scenario) (float64, bool) { return s.Offered, sc.Rate > 0 }

var figurePlots = []figurePlot{
	{
		file: "throughput.svg", title: "Throughput, 1 KiB", x: "connections", y: "requests per second", logX: true,
		at: byConnections, value: throughput,
	},
	{
		file: "cpu.svg", title: "Processor time for each request, 100 connections, 1 KiB",
		x: "requests per second, offered", y: "µs", at: byLoad,
		value: func(s run.Sample) float64 { return s.CPU },
	},
	{
		file: "latency.svg", title: "99th percentile of latency, 100 connections, 1 KiB",
		x: "requests per second, offered", y: "µs", logY: true, at: byLoad,
		value: func(s run.Sample) float64 { return s.P99 },
	},
	{
		file: "idle-memory.svg", title: "Memory of idle connections", x: "connections", y: "resident MiB",
		at:    func(_ run.Sample, sc plan.Scenario) (float64, bool) { return float64(sc.Conns), sc.Kind == plan.Idle },
		value: func(s run.Sample) float64 { return float64(s.RSS) / (1 << 20) },
	},
}

// Plots writes each plot that has samples into dir, and returns the names of the files.
func Plots(dir string, samples []run.Sample, scenarios []plan.Scenario) (files []string, err error) {
	for _, f := range figurePlots {
		p := plot.New()
		p.Title.Text, p.X.Label.Text, p.Y.Label.Text = f.title, f.x, f.y
		p.Add(plotter.NewGrid())
		lines, err := f.draw(p, samples, scenarios)
		if err != nil {
			return files, fmt.Errorf("%s: %w", f.file, err)
		}
		if lines == 0 {
			continue
		}
		if f.logX {
			p.X.Scale, p.X.Tick.Marker = plot.LogScale{}, plot.LogTicks{Prec: -1}
		}
		if f.logY {
			p.Y.Scale, p.Y.Tick.Marker = plot.LogScale{}, plot.LogTicks{Prec: -1}
		} else {
			p.Y.Min = 0
		}
		if err := save(p, filepath.Join(dir, f.file)); err != nil {
			return files, fmt.Errorf("%s: %w", f.file, err)
		}
		files = append(files, f.file)
	}
	return files, nil
}

// The parts of a picture: the margin is for half of the last tick's label.
const (
	width, height = 20 * vg.Centimeter, 10 * vg.Centimeter
	legendWidth   = 5 * vg.Centimeter
	margin        = 0.5 * vg.Centimeter
)

// save draws the plot with its legend beside it.
func save(p *plot.Plot, path string) (err error) {
	picture := vgsvg.New(width, height)
	c := draw.New(picture)
	c.FillPolygon(color.White, c.ClipPolygonXY([]vg.Point{c.Min, {X: c.Max.X, Y: c.Min.Y}, c.Max, {X: c.Min.X, Y: c.Max.Y}}))
	legend := p.Legend
	p.Legend = plot.NewLegend()
	legend.Top, legend.Left, legend.Padding = true, true, vg.Points(3)
	p.Draw(draw.Crop(c, margin, -legendWidth, margin, -margin))
	legend.Draw(draw.Crop(c, width-legendWidth+margin, 0, 0, -2*margin))
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	_, err = picture.WriteTo(f)
	return err
}

// draw adds a line for each subject that has at least two points, with bars from the least to the greatest value.
func (f figurePlot) draw(p *plot.Plot, samples []run.Sample, scenarios []plan.Scenario) (lines int, err error) {
	points := make(map[string]series)
	for _, c := range Cells(samples) {
		i := slices.IndexFunc(scenarios, func(s plan.Scenario) bool { return s.Name == c.Scenario })
		if i < 0 {
			continue
		}
		x, ok := f.at(c.Samples[0], scenarios[i])
		y := c.Of(f.value)
		if ok && (!f.logX || x > 0) && (!f.logY || y.Min > 0) && !math.IsNaN(y.Median) {
			points[c.Subject] = append(points[c.Subject], point{x, y})
		}
	}
	for _, sub := range plan.Servers {
		xys := points[sub.Name]
		if len(xys) < 2 {
			continue
		}
		slices.SortFunc(xys, func(a, b point) int { return int(a.x - b.x) })
		line, dots, err := plotter.NewLinePoints(xys)
		if err != nil {
			return lines, err
		}
		bars, err := plotter.NewYErrorBars(xys)
		if err != nil {
			return lines, err
		}
		bars.Color, bars.CapWidth = colours[sub.Name], vg.Points(4)
		line.Color, line.Width = colours[sub.Name], vg.Points(1.5)
		dots.Color = colours[sub.Name]
		if sub.Name == plan.Epoll || sub.Name == plan.Ring {
			line.Dashes = []vg.Length{vg.Points(4), vg.Points(3)}
		}
		p.Add(line, dots, bars)
		p.Legend.Add(sub.Name, line)
		lines++
	}
	return lines, nil
}

// point is a value with its range.
type point struct {
	x float64
	y Spread
}

// series implements the interfaces of package plotter.
type series []point

func (s series) Len() int                { return len(s) }
func (s series) XY(i int) (x, y float64) { return s[i].x, s[i].y.Median }
func (s series) YError(i int) (low, high float64) {
	return s[i].y.Median - s[i].y.Min, s[i].y.Max - s[i].y.Median
}
