package stat

import (
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"
)

var sink [][]byte

func TestReadingsGrowWithWhatTheProcessDoes(t *testing.T) {
	s := NewSource()
	before, err := s.Read()
	require.NoError(t, err)
	for range 1000 {
		sink = append(sink, make([]byte, 1<<10))
	}
	runtime.GC()
	after, err := s.Read()
	require.NoError(t, err)
	sink = nil

	require.Greater(t, after.Monotonic, before.Monotonic)
	require.GreaterOrEqual(t, after.Allocations-before.Allocations, int64(1000))
	require.GreaterOrEqual(t, after.AllocBytes-before.AllocBytes, int64(1000<<10))
	require.Greater(t, after.Collections, before.Collections)
	require.Greater(t, after.UserTime+after.SystemTime, before.UserTime+before.SystemTime)
	require.Positive(t, after.PauseMax)
	require.Positive(t, after.Goroutines)
	require.GreaterOrEqual(t, after.PeakRSS, after.RSS)
}

func TestKilobytesFindsTheNamedLineOnly(t *testing.T) {
	status := []byte("VmPeak:\t 9 kB\nVmRSS:\t 123 kB\nVmHWM: x kB\n")
	require.Equal(t, int64(123<<10), kilobytes(status, "VmRSS:"))
	require.Zero(t, kilobytes(status, "VmHWM:"))
	require.Zero(t, kilobytes(status, "VmSwap:"))
}
