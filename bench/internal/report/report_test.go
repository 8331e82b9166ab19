package report

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cloudwego/netpoll/bench/internal/machine"
	"github.com/cloudwego/netpoll/bench/internal/plan"
	"github.com/cloudwego/netpoll/bench/internal/run"
)

// samples are two repetitions of two subjects at three numbers of connections, and one idle scenario.
func samples() (list []run.Sample) {
	for rep := range 2 {
		for i, sc := range []string{"echo/conns=1/size=1024", "echo/conns=10/size=1024", "echo/conns=100/size=1024"} {
			for j, sub := range []string{plan.Netpoll, plan.Net} {
				list = append(list, run.Sample{
					Scenario: sc, Group: plan.GroupConnections, Subject: sub, Rep: rep, Requests: 1000,
					Throughput: float64((rep + 1) * (i + 1) * (3 - j) * 1000), P99: 5, CPU: 2,
					Disturbed: rep == 1 && j == 1,
				})
			}
		}
		list = append(list, run.Sample{
			Scenario: "idle/conns=1000", Group: "Idle connections", Subject: plan.Net, Rep: rep, PerConnHeap: 700,
		})
	}
	return list
}

func TestSpreadIsMedianWithRange(t *testing.T) {
	require.Equal(t, Spread{N: 3, Min: 1, Median: 2, Max: 9}, SpreadOf([]float64{9, 1, 2}))
	require.Equal(t, Spread{N: 2, Min: 1, Median: 2, Max: 3}, SpreadOf([]float64{3, 1}))
	require.Zero(t, SpreadOf(nil))
}

// The machine is twice as fast in the second repetition. The ratio must not change by that.
func TestRatiosCompareRunsOfTheSameRepetition(t *testing.T) {
	cells := Cells(samples())
	a, ok := find(cells, "echo/conns=10/size=1024", plan.Netpoll)
	require.True(t, ok)
	b, ok := find(cells, "echo/conns=10/size=1024", plan.Net)
	require.True(t, ok)
	require.Equal(t, Spread{N: 2, Min: 1.5, Median: 1.5, Max: 1.5}, Ratio(a, b, throughput))
}

func TestTablesHaveOneRowForEachSubjectAndTellOfDisturbance(t *testing.T) {
	var b strings.Builder
	require.NoError(t, Tables(&b, samples()))
	out := b.String()
	require.Equal(t, 2, strings.Count(out, "### "))
	require.Contains(t, out, "| echo/conns=1/size=1024 | netpoll | 4500 | 67 % | 1.50 | – |")
	require.Equal(t, 3, strings.Count(out, "2 (1 disturbed) |"))
	require.Contains(t, out, "| idle/conns=1000 | net | 700 |")
	for _, line := range strings.Split(out, "\n") {
		require.True(t, line == "" || line[0] == '#' || line[0] == '|' && line[len(line)-1] == '|', line)
	}
}

func TestBenchstatLinesAreThoseOfGoBenchmarks(t *testing.T) {
	var b strings.Builder
	require.NoError(t, Benchstat(&b, machine.Description{Arch: "amd64", Model: "M"}, samples()))
	require.Contains(t, b.String(), "\nBenchmarkEcho/conns=10/size=1024/lib=netpoll 1000 166666.7 ns/op 6000.0 req/s ")
	require.Contains(t, b.String(), "\nBenchmarkIdle/conns=1000/lib=net 1 700 B/conn ")
	for line := range strings.Lines(b.String()) {
		if strings.HasPrefix(line, "Benchmark") {
			require.Zero(t, len(strings.Fields(line))%2, "name, count, and pairs: %s", line)
		}
	}
}

func TestPlotsAreDrawnWhereThereAreSamples(t *testing.T) {
	dir := t.TempDir()
	files, err := Plots(dir, samples(), plan.Matrix(false, false))
	require.NoError(t, err)
	require.Equal(t, []string{"throughput.svg"}, files)
	svg, err := os.ReadFile(filepath.Join(dir, files[0]))
	require.NoError(t, err)
	require.Contains(t, string(svg), "<svg")
	require.Contains(t, string(svg), plan.Netpoll)
}

func TestSummaryHasTheShareOfEachOther(t *testing.T) {
	list := samples()
	for i := range list {
		if list[i].Subject == plan.Net {
			list[i].CPU, list[i].P99 = 4, 7000
		}
	}
	list[0].Repeated = 3
	out := string(Summary(About{}, list))
	require.Contains(t, out, "3 runs that something else disturbed")
	require.Contains(t, out, "| 100 connections | 2.0 | 0.50 (0.50–0.50) | – | – | – | 0.0 | 7.0 |\n")
	require.NotContains(t, out, "1000 connections", "no samples")
}

func TestInsertReplacesTheNamedPartOnly(t *testing.T) {
	doc := "a\n<!-- generated: x -->\nold\n<!-- end: x -->\nb\n"
	once, err := Insert([]byte(doc), "x", []byte("new\n"))
	require.NoError(t, err)
	require.Equal(t, "a\n<!-- generated: x -->\n\nnew\n\n<!-- end: x -->\nb\n", string(once))
	twice, err := Insert(once, "x", []byte("new\n"))
	require.NoError(t, err)
	require.Equal(t, string(once), string(twice))
	for _, bad := range []string{"", "<!-- generated: x -->\n", "<!-- end: x -->\n"} {
		_, err := Insert([]byte(bad), "x", nil)
		require.Error(t, err)
	}
}

func TestReportsCanBeMadeAgainFromTheirFiles(t *testing.T) {
	dir := t.TempDir()
	about := About{Machine: machine.Description{Model: "M", CPUs: 2}, Length: plan.Quick}
	require.NoError(t, Write(dir, about, samples(), nil))
	raw := `{"Scenario":"a/b","Subject":"net","Throughput":5}` + "\n" + `{"Scenario":"a/b","Subject":"netpoll"}` + "\n"
	require.NoError(t, os.WriteFile(filepath.Join(dir, SamplesFile), []byte(raw), 0o600))
	gotAbout, got, err := Load(dir)
	require.NoError(t, err)
	require.Equal(t, about, gotAbout)
	require.Len(t, got, 2)
	require.InDelta(t, 5, got[0].Throughput, 0)

	tables, err := os.ReadFile(filepath.Join(dir, TablesFile))
	require.NoError(t, err)
	require.True(t, bytes.HasPrefix(tables, []byte("M, 2 processors")))
	require.Contains(t, string(tables), "**Something else used the machine during 3 of 14 runs.")
	require.Empty(t, warning(samples()[:5]), "no run of those was disturbed")
}
