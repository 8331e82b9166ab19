package run

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cloudwego/netpoll/bench/internal/machine"
	"github.com/cloudwego/netpoll/bench/internal/plan"
	"github.com/cloudwego/netpoll/bench/internal/stat"
)

func TestSubjectsTakeTurnsAndTheirOrderAlternates(t *testing.T) {
	list := []plan.Scenario{{Name: "a", Subjects: []string{"x", "y"}}, {Name: "b", Subjects: []string{"z"}}}
	var got []string
	for _, j := range order(list, 3) {
		got = append(got, j.scenario.Name+j.subject)
	}
	require.Equal(t, []string{"ax", "ay", "bz", "ay", "ax", "bz", "ax", "ay", "bz"}, got)
	require.Equal(t, []string{"x", "y"}, list[0].Subjects, "the plan stays as it is")
}

// Two marks a second apart: the process used 400 ms, this one 300 ms, and the machine 900 ms.
func TestWhatOthersUsedIsWhatIsLeft(t *testing.T) {
	at := time.Unix(100, 0)
	a := mark{at: at}
	b := mark{
		at: at.Add(time.Second), pid: 400e6, own: 300e6,
		usage: machine.Usage{Busy: 900 * time.Millisecond, Stolen: 10 * time.Millisecond},
	}
	// The process answered two seconds apart: half of what it counted belongs to the window.
	after := stat.Reading{Monotonic: 2e9, UserTime: 200e6, SystemTime: 600e6, Voluntary: 150, Involuntary: 50,
		Allocations: 4000, AllocBytes: 8000}
	s := Sample{Requests: 1000}
	s.account(a, b, stat.Reading{}, after)

	require.InDelta(t, 400, s.CPU, 1e-9)
	require.InDelta(t, 0.4, s.Used, 1e-9)
	require.InDelta(t, 0.25, s.UserShare, 1e-9)
	require.InDelta(t, 0.1, s.Switches, 1e-9)
	require.InDelta(t, 2, s.Allocs, 1e-9)
	require.InDelta(t, 4, s.AllocBytes, 1e-9)
	require.InDelta(t, 0.2, s.Other, 1e-9)
	require.InDelta(t, 0.01, s.Stolen, 1e-9)
	require.True(t, s.Disturbed)

	b.usage.Busy = 700 * time.Millisecond
	s.account(a, b, stat.Reading{}, after)
	require.False(t, s.Disturbed)
}

func TestWrkResultsAreRead(t *testing.T) {
	var s Sample
	require.NoError(t, s.parseWrk("Running 1s test\nRESULT 5000 1000000 0 10 20 30 40 50\n"))
	require.Equal(t, 5000, s.Requests)
	require.InDelta(t, 5000, s.Throughput, 1e-9)
	require.Equal(t, []float64{10, 20, 30, 40, 50}, []float64{s.P50, s.P90, s.P99, s.P999, s.Max})
	for _, bad := range []string{"", "RESULT 1", "RESULT 5000 1000000 3 10 20 30 40 50", "RESULT 0 1 0 0 0 0 0 0"} {
		require.Error(t, new(Sample).parseWrk(bad), bad)
	}
}

func TestStraceTablesAreRead(t *testing.T) {
	calls, err := parseStrace(`% time     seconds  usecs/call     calls    errors syscall
------ ----------- ----------- --------- --------- ----------------
 60.00    0.006000           3      2000           sendto
 40.00    0.004000           1      3000        20 recvfrom
------ ----------- ----------- --------- --------- ----------------
100.00    0.010000           2      5000        20 total
`, 2000)
	require.NoError(t, err)
	require.Equal(t, []SystemCall{{"recvfrom", 1.5}, {"sendto", 1}}, calls)
	_, err = parseStrace("strace: no such thing", 1)
	require.Error(t, err)
}
