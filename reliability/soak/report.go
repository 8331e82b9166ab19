package main

// This file writes the report: a Markdown file, and a chart for each metric.

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// report writes the report and the charts into dir.
func (o *outcome) report(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for _, m := range metrics {
		if err := o.chart(dir, m); err != nil {
			return err
		}
	}
	return os.WriteFile(filepath.Join(dir, "report.md"), []byte(o.markdown()), 0o644)
}

func (o *outcome) chart(dir string, m metric) error {
	f, err := os.Create(filepath.Join(dir, m.File))
	if err != nil {
		return err
	}
	var curves []curve
	for _, w := range o.watched {
		curves = append(curves, curve{w.Name, w.curve(m)})
	}
	if err := draw(f, m.Name, m.Unit, curves); err != nil {
		_ = f.Close()
		return err
	}
	return f.Close()
}

// ok reports whether all checks have passed.
func (o *outcome) ok() bool { return len(o.broken) == 0 }

func (o *outcome) markdown() string {
	var b strings.Builder
	result := "passed"
	if !o.ok() {
		result = "FAILED"
	}
	fmt.Fprintf(&b, "# Soak of %v: %s\n\n", o.Took.Round(time.Second), result)
	for _, s := range o.broken {
		fmt.Fprintf(&b, "- %s\n", s)
	}
	fmt.Fprintf(&b, "\n%d connections accepted (%.0f/s), %d requests answered (%.0f/s), seed %d,"+
		" %d lines in the server's log.\n\n", o.Accepted, float64(o.Accepted)/o.Took.Seconds(),
		o.Requests, float64(o.Requests)/o.Took.Seconds(), o.seed, o.LogLines)
	b.WriteString("| | process | before | mean | line grew by | ± | allowed | at the end |  |\n" +
		"|---|---|---|---|---|---|---|---|---|\n")
	for _, m := range metrics {
		for _, w := range o.watched {
			o.row(&b, m, w)
		}
	}
	b.WriteString("\nThe line is fitted to the last three quarters of the run; ± is three standard errors of its" +
		" growth.\n\n")
	for _, name := range slices.Sorted(maps.Keys(o.Load.Counts)) {
		fmt.Fprintf(&b, "- %s: %d\n", name, o.Load.Counts[name])
	}
	b.WriteString("\n")
	for _, m := range metrics {
		fmt.Fprintf(&b, "![%s](%s)\n\n", m.Name, m.File)
	}
	return b.String()
}

func (o *outcome) row(b *strings.Builder, m metric, w *watched) {
	v := o.verdicts[w.Name+m.Name]
	allowed, verdict := "", ""
	if m.Watched {
		allowed, verdict = fmt.Sprintf("%.2f", v.Allowed), "flat"
	}
	if m.Watched && !v.OK {
		verdict = "GROWS"
	}
	fmt.Fprintf(b, "| %s, %s | %s | %.2f | %.2f | %+.2f | %.2f | %s | %.2f | %s |\n", m.Name, m.Unit, w.Name,
		m.of(w.before)/m.Scale, v.Mean, v.Growth, v.Noise, allowed, m.of(w.after)/m.Scale, verdict)
}
