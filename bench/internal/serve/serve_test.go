package serve

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cloudwego/netpoll/bench/internal/stat"
)

func TestControlAnswersEachCommandWithOneReading(t *testing.T) {
	var out strings.Builder
	require.NoError(t, Control(strings.NewReader("read\ncollect\nread\n"), &out))
	answers := json.NewDecoder(strings.NewReader(out.String()))
	var last stat.Reading
	for range 3 {
		var r stat.Reading
		require.NoError(t, answers.Decode(&r))
		require.Greater(t, r.Monotonic, last.Monotonic)
		last = r
	}
	require.GreaterOrEqual(t, last.Collections, int64(2))
}

func TestControlRefusesUnknownCommands(t *testing.T) {
	require.ErrorContains(t, Control(strings.NewReader("read twice\n"), new(strings.Builder)), "read twice")
}

func TestWorkUnderstandsWhatItPrints(t *testing.T) {
	for _, s := range []string{"", "sleep=1ms", "hash=32"} {
		var w Work
		require.NoError(t, w.Set(s))
		require.Equal(t, s, w.String())
	}
	for _, s := range []string{"sleep", "sleep=-1s", "hash=0", "hash=x", "dance=1"} {
		require.Error(t, new(Work).Set(s), s)
	}
}

func TestSleepTakesTheTimeItNames(t *testing.T) {
	var w Work
	require.NoError(t, w.Set("sleep=2ms"))
	start := time.Now()
	w.Do(nil)
	require.GreaterOrEqual(t, time.Since(start), 2*time.Millisecond)
	require.True(t, w.Waits())
}
