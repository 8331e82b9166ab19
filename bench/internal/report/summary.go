// Package report turns samples into tables, plots, and files for benchstat.
package report

// This file holds the summary of repeated runs.

import (
	"slices"

	"github.com/cloudwego/netpoll/bench/internal/run"
)

// Spread is a median with the range around it.
type Spread struct {
	N                int
	Min, Median, Max float64
}

// SpreadOf summarises values. Without values it returns zero.
func SpreadOf(values []float64) Spread {
	if len(values) == 0 {
		return Spread{}
	}
	s := slices.Sorted(slices.Values(values))
	n := len(s)
	return Spread{N: n, Min: s[0], Median: (s[(n-1)/2] + s[n/2]) / 2, Max: s[n-1]}
}

// Cell has all samples of one subject under one scenario.
type Cell struct {
	Scenario, Group, Subject string
	Samples                  []run.Sample
}

// Of summarises one figure of the samples.
func (c Cell) Of(figure func(run.Sample) float64) Spread {
	values := make([]float64, 0, len(c.Samples))
	for _, s := range c.Samples {
		values = append(values, figure(s))
	}
	return SpreadOf(values)
}

// Ratio compares a figure of two cells, run by run. Runs of the same repetition were close in time, so a change of the
// machine's speed affects both and cancels out.
func Ratio(c, other Cell, figure func(run.Sample) float64) Spread {
	var values []float64
	for _, s := range c.Samples {
		for _, o := range other.Samples {
			if o.Rep == s.Rep && figure(o) > 0 {
				values = append(values, figure(s)/figure(o))
			}
		}
	}
	return SpreadOf(values)
}

// Disturbed returns how many of the samples are disturbed.
func (c Cell) Disturbed() (n int) {
	for _, s := range c.Samples {
		if s.Disturbed {
			n++
		}
	}
	return n
}

// Cells groups samples by scenario and subject. Both are in the order in which they first come in samples, which is
// that of the plan.
func Cells(samples []run.Sample) (cells []Cell) {
	index := make(map[[2]string]int)
	for _, s := range samples {
		key := [2]string{s.Scenario, s.Subject}
		i, ok := index[key]
		if !ok {
			i = len(cells)
			index[key] = i
			cells = append(cells, Cell{Scenario: s.Scenario, Group: s.Group, Subject: s.Subject})
		}
		cells[i].Samples = append(cells[i].Samples, s)
	}
	return cells
}

// find returns the cell of a subject under a scenario, or false.
func find(cells []Cell, scenario, subject string) (Cell, bool) {
	i := slices.IndexFunc(cells, func(c Cell) bool { return c.Scenario == scenario && c.Subject == subject })
	if i < 0 {
		return Cell{}, false
	}
	return cells[i], true
}
