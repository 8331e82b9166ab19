package main

import (
	"bytes"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cloudwego/netpoll/reliability/internal/child"
)

func TestMain(m *testing.M) {
	child.Main(roles)
	os.Exit(m.Run())
}

// A short form of the soak. The command is the long form.
func TestSoakFindsNothingThatGrows(t *testing.T) {
	o, err := run(settings{d: 6 * time.Second, idle: 50, seed: rand.Uint64(), wait: patience})
	require.NoError(t, err)
	require.True(t, o.ok(), o.markdown())

	dir := t.TempDir()
	require.NoError(t, o.report(dir))
	for _, m := range metrics {
		svg, err := os.ReadFile(filepath.Join(dir, m.File))
		require.NoError(t, err)
		require.Equal(t, len(o.watched), bytes.Count(svg, []byte("<polyline")), m.File)
	}
}

// A soak that cannot fail proves nothing.
func TestSoakFindsPlantedLeaks(t *testing.T) {
	for leak, found := range map[string]string{
		"heap":        "live heap of the server",
		"descriptors": "descriptors of the server",
		"goroutines":  "goroutines of the server",
	} {
		t.Run(leak, func(t *testing.T) {
			t.Parallel()
			o, err := run(settings{d: 3 * time.Second, idle: 10, seed: 1, leak: leak, wait: time.Second})
			require.NoError(t, err)
			require.Contains(t, strings.Join(o.broken, "\n"), found)
		})
	}
}

// The verdict on curves of every shape.
func TestVerdictTellsGrowthFromNoise(t *testing.T) {
	noise := rand.New(rand.NewPCG(1, 2))
	for _, c := range []struct {
		name string
		flat bool
		at   func(x float64) float64
	}{
		{"constant", true, func(float64) float64 { return 10 }},
		{"noise", true, func(float64) float64 { return 10 + 5*noise.Float64() }},
		{"shrinks", true, func(x float64) float64 { return 1000 - x }},
		{"grows by what is allowed", true, func(x float64) float64 { return 10 + x*0.009 }},
		{"grows", false, func(x float64) float64 { return 10 + x*0.02 }},
		{"grows in noise", false, func(x float64) float64 { return 10 + x*0.03 + noise.Float64() }},
		{"grows by steps", false, func(x float64) float64 { return 10 + float64(int(x/20)) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			var points []point
			for i := range 100 {
				points = append(points, point{float64(i), c.at(float64(i))})
			}
			v := judge(points, 1)
			require.Equal(t, c.flat, v.OK, "%+v", v)
		})
	}
}

func TestLineFitsPointsOnALine(t *testing.T) {
	l := fit([]point{{0, 1}, {1, 3}, {2, 5}, {3, 7}})
	require.InDelta(t, 2, l.Slope, 1e-9)
	require.InDelta(t, 1, l.At0, 1e-9)
	require.InDelta(t, 0, l.Error, 1e-9)
}
