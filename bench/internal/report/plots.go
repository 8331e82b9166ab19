package report

// This file holds the plots.

import (
	"fmt"
	"image/color"
	"math"
	"path/filepath"
	"slices"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"

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
		p.Legend.Top, p.Legend.Left = true, true
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
			p.Y.Max *= 1.25 // room for the legend
		}
		if err := p.Save(16*vg.Centimeter, 10*vg.Centimeter, filepath.Join(dir, f.file)); err != nil {
			return files, fmt.Errorf("%s: %w", f.file, err)
		}
		files = append(files, f.file)
	}
	return files, nil
}

// draw adds a line for each subject that has at least two points.
func (f figurePlot) draw(p *plot.Plot, samples []run.Sample, scenarios []plan.Scenario) (lines int, err error) {
	points := make(map[string]plotter.XYs)
	for _, c := range Cells(samples) {
		i := slices.IndexFunc(scenarios, func(s plan.Scenario) bool { return s.Name == c.Scenario })
		if i < 0 {
			continue
		}
		x, ok := f.at(c.Samples[0], scenarios[i])
		y := c.Of(f.value).Median
		if ok && (!f.logX || x > 0) && (!f.logY || y > 0) && !math.IsNaN(y) {
			points[c.Subject] = append(points[c.Subject], plotter.XY{X: x, Y: y})
		}
	}
	for _, sub := range plan.Servers {
		xys := points[sub.Name]
		if len(xys) < 2 {
			continue
		}
		slices.SortFunc(xys, func(a, b plotter.XY) int { return int(a.X - b.X) })
		line, dots, err := plotter.NewLinePoints(xys)
		if err != nil {
			return lines, err
		}
		line.Color, line.Width = colours[sub.Name], vg.Points(1.5)
		dots.Color = colours[sub.Name]
		if sub.Name == plan.Epoll || sub.Name == plan.Ring {
			line.Dashes = []vg.Length{vg.Points(4), vg.Points(3)}
		}
		p.Add(line, dots)
		p.Legend.Add(sub.Name, line)
		lines++
	}
	return lines, nil
}
