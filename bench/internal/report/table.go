package report

// This file holds the Markdown tables.

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/cloudwego/netpoll/bench/internal/plan"
	"github.com/cloudwego/netpoll/bench/internal/run"
)

// column is one figure of a table.
type column struct {
	head  string
	value func(c Cell, all []Cell) string
}

func figure(head, format string, f func(run.Sample) float64) column {
	return column{head, func(c Cell, _ []Cell) string { return fmt.Sprintf(format, c.Of(f).Median) }}
}

func throughput(s run.Sample) float64 { return s.Throughput }

// ratio compares the throughput with that of the first of subjects that the scenario has.
func ratio(head string, subjects ...string) column {
	return column{head, func(c Cell, all []Cell) string {
		for _, name := range subjects {
			if other, ok := find(all, c.Scenario, name); ok {
				return fmt.Sprintf("%.2f", Ratio(c, other, throughput).Median)
			}
		}
		return "–"
	}}
}

// spread is maximum minus minimum, as a share of the median.
var spread = column{"spread", func(c Cell, _ []Cell) string {
	t := c.Of(throughput)
	return fmt.Sprintf("%.0f %%", 100*(t.Max-t.Min)/max(t.Median, 1))
}}

// otherEnd returns how busy the other end was. For a server that is the share of the time in which the generator had
// something to do; for a client, the share of a processor that its server used.
func otherEnd(c Cell, _ []Cell) string {
	busy := c.Of(func(s run.Sample) float64 { return max(s.ClientBusy, s.ServerUsed) })
	return fmt.Sprintf("%.0f %%", 100*busy.Median)
}

// runs is the number of runs, and how many of them were disturbed.
var runs = column{"n", func(c Cell, _ []Cell) string {
	if d := c.Disturbed(); d > 0 {
		return fmt.Sprintf("%d (%d disturbed)", len(c.Samples), d)
	}
	return fmt.Sprint(len(c.Samples))
}}

var requestColumns = []column{
	figure("requests/s", "%.0f", throughput), spread,
	ratio("÷ net", plan.Net, plan.NetHTTP), ratio("÷ reference", plan.Reference),
	figure("p50 µs", "%.0f", func(s run.Sample) float64 { return s.P50 }),
	figure("p99 µs", "%.0f", func(s run.Sample) float64 { return s.P99 }),
	figure("p999 µs", "%.0f", func(s run.Sample) float64 { return s.P999 }),
	figure("CPU µs/request", "%.2f", func(s run.Sample) float64 { return s.CPU }),
	figure("user", "%.0f %%", func(s run.Sample) float64 { return 100 * s.UserShare }),
	figure("switches/request", "%.2f", func(s run.Sample) float64 { return s.Switches }),
	figure("allocs/request", "%.2f", func(s run.Sample) float64 { return s.Allocs }),
	figure("RSS peak MiB", "%.0f", func(s run.Sample) float64 { return float64(s.PeakRSS) / (1 << 20) }),
	{"other end", otherEnd},
	runs,
}

// localColumns are for scenarios of Unix sockets, where no subject is called net.
var localColumns = slices.Concat(requestColumns[:2],
	[]column{ratio("÷ net-unix", plan.NetUnix), ratio("÷ netpoll-unix", plan.Unix)}, requestColumns[4:])

var idleColumns = []column{
	figure("heap and stacks per connection, bytes", "%.0f", func(s run.Sample) float64 { return s.PerConnHeap }),
	figure("RSS per connection, bytes", "%.0f", func(s run.Sample) float64 { return s.PerConnRSS }),
	figure("RSS MiB", "%.1f", func(s run.Sample) float64 { return float64(s.RSS) / (1 << 20) }),
	figure("goroutines", "%.0f", func(s run.Sample) float64 { return float64(s.Goroutines) }),
	figure("CPU", "%.2f %%", func(s run.Sample) float64 { return 100 * s.Used }),
	runs,
}

// Tables writes a table for each group. Scenarios are in the order of the samples.
func Tables(w io.Writer, samples []run.Sample) error {
	cells := Cells(samples)
	var b strings.Builder
	group, scenario := "", ""
	for _, c := range ordered(cells) {
		columns := requestColumns
		if c.Samples[0].Throughput == 0 {
			columns = idleColumns
		} else if slices.ContainsFunc(plan.LocalServers, func(s plan.Subject) bool { return s.Name == c.Subject }) {
			columns = localColumns
		}
		if c.Group != group {
			group, scenario = c.Group, ""
			fmt.Fprintf(&b, "\n### %s\n\n", group)
			header(&b, columns)
		}
		name := c.Scenario
		if name == scenario {
			name = ""
		}
		scenario = c.Scenario
		fmt.Fprintf(&b, "| %s | %s |", name, c.Subject)
		for _, col := range columns {
			fmt.Fprintf(&b, " %s |", col.value(c, cells))
		}
		b.WriteByte('\n')
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func header(b *strings.Builder, columns []column) {
	b.WriteString("| scenario | subject |")
	for _, col := range columns {
		fmt.Fprintf(b, " %s |", col.head)
	}
	b.WriteString("\n|---|---|" + strings.Repeat("--:|", len(columns)) + "\n")
}

// ordered sorts cells by group, scenario and subject, each in the order in which it first comes in cells.
func ordered(cells []Cell) (list []Cell) {
	seen := make(map[string]bool)
	for _, g := range cells {
		if seen["g"+g.Group] {
			continue
		}
		seen["g"+g.Group] = true
		for _, s := range cells {
			if s.Group != g.Group || seen["s"+s.Scenario] {
				continue
			}
			seen["s"+s.Scenario] = true
			for _, c := range cells {
				if c.Scenario == s.Scenario {
					list = append(list, c)
				}
			}
		}
	}
	return list
}
