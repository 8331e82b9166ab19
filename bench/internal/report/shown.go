package report

// This file holds the table of few rows that docs/performance.md begins with.

import (
	"bytes"
	"fmt"

	"github.com/cloudwego/netpoll/bench/internal/plan"
	"github.com/cloudwego/netpoll/bench/internal/run"
)

func processorTime(s run.Sample) float64 { return s.CPU }

// Summary returns the table of plan.Rows: processor time, what share of others' that is, and tails. It leaves out rows
// without samples.
func Summary(about About, samples []run.Sample) []byte {
	cells := Cells(samples)
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s\n%s%s\n", about, repeated(samples), warning(samples))
	b.WriteString("| | CPU µs a request | ÷ net | ÷ original | ÷ gnet | ÷ limit | p99 ms | net's |\n|---|--:|--:|--:|--:|--:|--:|--:|\n")
	for _, row := range plan.Rows {
		c, ok := find(cells, row.Scenario, row.Subject)
		if !ok {
			continue
		}
		fmt.Fprintf(&b, "| %s | %.1f |", row.Name, c.Of(processorTime).Median)
		for _, other := range []string{plan.Net, plan.Reference, plan.Gnet, row.Limit} {
			fmt.Fprintf(&b, " %s |", share(cells, c, other))
		}
		fmt.Fprintf(&b, " %.1f | %s |\n", tail(c), tailOf(cells, row.Scenario, plan.Net))
	}
	return b.Bytes()
}

// share is the processor time of c in that of another subject, and the range of that.
func share(cells []Cell, c Cell, subject string) string {
	other, ok := find(cells, c.Scenario, subject)
	if !ok {
		return "–"
	}
	r := Ratio(c, other, processorTime)
	return fmt.Sprintf("%.2f (%.2f–%.2f)", r.Median, r.Min, r.Max)
}

// tail is the 99th percentile of latency, in milliseconds.
func tail(c Cell) float64 {
	return c.Of(func(s run.Sample) float64 { return s.P99 }).Median / 1e3
}

func tailOf(cells []Cell, scenario, subject string) string {
	c, ok := find(cells, scenario, subject)
	if !ok {
		return "–"
	}
	return fmt.Sprintf("%.1f", tail(c))
}

// repeated says how many runs were repeated because something else disturbed them, or nothing.
func repeated(samples []run.Sample) string {
	n := 0
	for _, s := range samples {
		n += s.Repeated
	}
	if n == 0 {
		return ""
	}
	return fmt.Sprintf("\n%d runs that something else disturbed were thrown away and repeated.\n", n)
}
