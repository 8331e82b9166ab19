package report

// This file writes the files of a report, reads them back, and puts tables into a document.

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/cloudwego/netpoll/bench/internal/machine"
	"github.com/cloudwego/netpoll/bench/internal/plan"
	"github.com/cloudwego/netpoll/bench/internal/run"
)

// Names of the files of a report.
const (
	SamplesFile = "samples.jsonl"
	AboutFile   = "about.json"
	TablesFile  = "tables.md"
	BenchFile   = "benchstat.txt"
)

// About says where and how a set of samples was measured.
type About struct {
	Machine machine.Description
	Length  plan.Length
}

// String returns a paragraph for the report.
func (a About) String() string {
	return fmt.Sprintf("%s. Each run measured for %v after a warm-up of %v, %d times in turn.",
		a.Machine, a.Length.Window, a.Length.Warmup, a.Length.Reps)
}

// Write writes tables, plots and the file for benchstat into dir.
func Write(dir string, about About, samples []run.Sample, scenarios []plan.Scenario) error {
	var tables, bench bytes.Buffer
	fmt.Fprintf(&tables, "%s\n%s%s", about, repeated(samples), warning(samples))
	if err := errors.Join(Tables(&tables, samples), Benchstat(&bench, about.Machine, samples)); err != nil {
		return err
	}
	data, err := json.MarshalIndent(about, "", "\t")
	if err != nil {
		return err
	}
	if err := errors.Join(
		os.WriteFile(filepath.Join(dir, TablesFile), tables.Bytes(), 0o644),
		os.WriteFile(filepath.Join(dir, BenchFile), bench.Bytes(), 0o644),
		os.WriteFile(filepath.Join(dir, AboutFile), append(data, '\n'), 0o644)); err != nil {
		return err
	}
	_, err = Plots(dir, samples, scenarios)
	return err
}

// warning returns a paragraph if other processes disturbed more than a tenth of the runs, and nothing otherwise.
func warning(samples []run.Sample) string {
	disturbed := 0
	for _, s := range samples {
		if s.Disturbed {
			disturbed++
		}
	}
	if disturbed*10 <= len(samples) {
		return ""
	}
	return fmt.Sprintf("\n**Something else used the machine during %d of %d runs. Do not rely on these figures.**\n",
		disturbed, len(samples))
}

// Load reads the samples back from dir, and how they were measured.
func Load(dir string) (about About, samples []run.Sample, err error) {
	data, err := os.ReadFile(filepath.Join(dir, AboutFile))
	if err != nil {
		return about, nil, err
	}
	if err := json.Unmarshal(data, &about); err != nil {
		return about, nil, fmt.Errorf("%s: %w", AboutFile, err)
	}
	f, err := os.Open(filepath.Join(dir, SamplesFile))
	if err != nil {
		return about, nil, err
	}
	defer f.Close()
	for dec := json.NewDecoder(f); ; {
		var s run.Sample
		switch err := dec.Decode(&s); {
		case errors.Is(err, io.EOF):
			return about, samples, nil
		case err != nil:
			return about, nil, fmt.Errorf("%s: %w", SamplesFile, err)
		}
		samples = append(samples, s)
	}
}

// The marks around a generated part of a document.
const (
	beginMark = "<!-- generated: %s -->\n"
	endMark   = "<!-- end: %s -->\n"
)

// Insert replaces the generated part of that name in a document. It returns an error if the document lacks a mark.
func Insert(document []byte, name string, part []byte) ([]byte, error) {
	begin, end := fmt.Appendf(nil, beginMark, name), fmt.Appendf(nil, endMark, name)
	i := bytes.Index(document, begin)
	if i < 0 {
		return nil, fmt.Errorf("no line %q", begin)
	}
	i += len(begin)
	n := bytes.Index(document[i:], end)
	if n < 0 {
		return nil, fmt.Errorf("no line %q after %q", end, begin)
	}
	out := bytes.Clone(document[:i])
	out = append(out, '\n')
	out = append(out, bytes.TrimSpace(part)...)
	out = append(out, "\n\n"...)
	return append(out, document[i+n:]...), nil
}

// InsertFile is Insert for a file.
func InsertFile(path, name string, part []byte) error {
	document, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if document, err = Insert(document, name, part); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return os.WriteFile(path, document, 0o644)
}
