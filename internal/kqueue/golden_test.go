//go:build linux

package kqueue_test

import (
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cloudwego/netpoll/internal/kqueue"
)

// recordings were made by running the scenarios on kernels. The model has to agree with them line for line, except
// where a difference is known, each with its reason.
var recordings = []struct {
	file, system string
	known        map[string]string
}{
	{"freebsd-13.golden", "freebsd", map[string]string{
		"pipe_writer_close": "no pipes in the recording",
		"pipe_reader_close": "no pipes in the recording",
		"unix_peer_close":   "no local sockets in the recording",
	}},
	{"netbsd-7.99.34.golden", "netbsd", map[string]string{
		"pipe_reader_close": "the model says that there is room, the kernel that there is none",
	}},
}

// knownEverywhere are differences between the model and all kernels recorded so far.
var knownEverywhere = map[string]string{
	"peer_close_read_and_write":      "epoll reports Write anew at the peer's end; kernels do not",
	"write_clear_small_write":        "kernels report an edge for each acknowledgement, the model only for new room",
	"oneshot_consumed_before_wait":   "kernels deliver a one-shot event without looking again; Chaos covers that",
	"rst_while_connected_write_only": "the first write after a reset gives ECONNRESET on Linux, EPIPE on BSD",
	"fin_then_write_gets_rst":        "a read after EPIPE gives 0 on Linux, ECONNRESET on BSD",
}

func init() {
	inOrder = func() (back func()) {
		b := kqueue.CurrentBehaviour()
		b.Chaos = kqueue.Chaos{}
		old := kqueue.SetBehaviour(b)
		return func() { kqueue.SetBehaviour(old) }
	}
}

func readRecording(t *testing.T, file string) map[string]string {
	t.Helper()
	text, err := os.ReadFile("testdata/" + file)
	require.NoError(t, err)
	traces, name := make(map[string]string), ""
	for line := range strings.Lines(string(text)) {
		if !strings.HasPrefix(line, " ") {
			name = strings.TrimSpace(line)
			continue
		}
		traces[name] += line
	}
	return traces
}

func TestModelAgreesWithKernels(t *testing.T) {
	for _, r := range recordings {
		t.Run(r.system, func(t *testing.T) {
			b, err := kqueue.ParseBehaviour(r.system)
			require.NoError(t, err)
			defer kqueue.SetBehaviour(kqueue.SetBehaviour(b))
			want, got := readRecording(t, r.file), runScenarios(t)
			require.Len(t, want, len(got))
			same := 0
			for name, trace := range want {
				switch why := r.known[name] + knownEverywhere[name]; {
				case got[name] == trace && why == "":
					same++
				case got[name] == trace:
					t.Errorf("%s agrees, but is listed as different: %s", name, why)
				case why == "":
					t.Errorf("%s\n--- kernel\n%s--- model\n%s", name, trace, got[name])
				}
			}
			t.Logf("%d of %d scenarios agree line for line", same, len(want))
		})
	}
}

func TestBehaviourHasNames(t *testing.T) {
	b, err := kqueue.ParseBehaviour("freebsd,chaos")
	require.NoError(t, err)
	require.True(t, b.Quirks.StripActionFlags)
	require.NotZero(t, b.Chaos.SpuriousEvery)
	b, err = kqueue.ParseBehaviour("")
	require.NoError(t, err)
	require.Equal(t, kqueue.Behaviour{}, b)
	_, err = kqueue.ParseBehaviour("beos")
	require.ErrorContains(t, err, "beos")
}
