package machine

import (
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestUsageCountsAllButIdleAndStolenTime(t *testing.T) {
	u, err := parseUsage([]byte("cpu  1 2 4 800 1600 8 16 32 64 128\ncpu0 0\n"))
	require.NoError(t, err)
	require.Equal(t, Usage{Busy: 31 * tick, Stolen: 32 * tick}, u)
	for _, bad := range []string{"", "intr 1 2 3 4 5 6 7 8 9", "cpu 1 2", "cpu 1 2 3 x 5 6 7 8 9"} {
		_, err := parseUsage([]byte(bad))
		require.Error(t, err, bad)
	}
}

func TestAProcessStartsWhereItIsTold(t *testing.T) {
	cpus, err := Allowed()
	require.NoError(t, err)
	last := cpus[len(cpus)-1:]
	cmd := exec.Command("cat")
	in, err := cmd.StdinPipe()
	require.NoError(t, err)
	require.NoError(t, StartOn(cmd, last))

	status, err := os.ReadFile("/proc/self/status")
	require.NoError(t, err)
	require.NotEmpty(t, status)
	used, err := ProcessTime(cmd.Process.Pid)
	require.NoError(t, err)
	require.Positive(t, used)
	require.Less(t, time.Duration(used), time.Minute)

	require.NoError(t, in.Close())
	require.NoError(t, cmd.Wait())
	after, err := Allowed()
	require.NoError(t, err)
	require.Equal(t, cpus, after, "this process stays where it was")
}

func TestDescriptionNamesTheProcessor(t *testing.T) {
	d := Describe()
	require.Positive(t, d.CPUs)
	require.Positive(t, d.Memory)
	require.NotEmpty(t, d.Kernel)
	require.Contains(t, d.String(), d.Kernel)
}
