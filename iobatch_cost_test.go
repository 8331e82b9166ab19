//go:build linux && !netconn

package netpoll

// The cost of a batch: from which size on it goes through the ring, that it then is one call, and that nothing is
// allocated for it, in each mode.

import (
	"runtime/debug"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/cloudwego/netpoll/internal/testkit"
)

func TestBatchIsOneCallForItsReceivesAndOneForItsSends(t *testing.T) {
	for _, tc := range []struct {
		mode  string
		conns int
		calls int64 // of the ring, for the receives and as many for the sends
	}{
		{"auto", 8, 1}, {"auto", leastBatch, 1}, {"auto", leastBatch - 1, 0}, {"auto", 1, 0},
		{"on", 8, 1}, {"off", 8, 0}, {"off", 1, 0}, {"always", 8, 1}, {"always", 1, 1},
	} {
		t.Run(tc.mode+"/"+string(rune('0'+tc.conns)), func(t *testing.T) {
			h := newTestPoller(t)
			r := new(countingRing)
			h.rings(tc.mode, func() (ring, error) { r.size = ringSize; return r, nil })
			fl := &fleet{h: h}
			for range tc.conns { // without a handler, whose answers would be counted too
				c, peer := h.connect("unix")
				fl.conns, fl.peers = append(fl.conns, c), append(fl.peers, peer)
			}
			h.do(func() { r.count = true })

			fl.ask(t)
			for i, c := range fl.conns {
				s, err := c.ReadString(len(fl.message(i)))
				require.NoError(t, err)
				require.Equal(t, fl.message(i), s)
			}
			h.settleWithoutCounting(r)
			require.Equal(t, tc.calls, r.submits.Load(), "calls for the receives")
			require.Equal(t, tc.calls*int64(tc.conns), r.recvs.Load())
			require.Zero(t, r.sends.Load())

			h.do(func() { r.count = true })
			fl.tell(t)
			fl.answered(t)
			h.settleWithoutCounting(r)
			require.Equal(t, 2*tc.calls, r.submits.Load(), "calls for both")
			require.Equal(t, tc.calls*int64(tc.conns), r.sends.Load())
		})
	}
}

// countingRing is a fake ring that counts only while the test says so, because the test's own events do not count.
type countingRing struct {
	fakeRing
	count bool
}

func (r *countingRing) Submit(done func(tag uint64, res int32)) error {
	submits, sends, recvs := r.submits.Load(), r.sends.Load(), r.recvs.Load()
	err := r.fakeRing.Submit(done)
	if !r.count {
		r.submits.Store(submits)
		r.sends.Store(sends)
		r.recvs.Store(recvs)
	}
	return err
}

// settleWithoutCounting is settle and ends the counting.
func (h *testPoller) settleWithoutCounting(r *countingRing) {
	h.t.Helper()
	h.do(func() { r.count = false })
	h.settle()
}

// Behaviour 8.1: in the steady state a batch of requests allocates nothing, with a ring and without.
func TestBatchOfRequestsAllocatesNothing(t *testing.T) {
	for _, mode := range []string{"auto", "off", "always", "aio"} {
		for _, conns := range []int{1, 8} {
			t.Run(mode+"/"+string(rune('0'+conns)), func(t *testing.T) {
				h := newTestPoller(t)
				if mode == "aio" {
					h.executors(aioAlways(), newRing)
				} else {
					h.rings(mode, func() (ring, error) { return newRing(ioUring) })
				}
				peers := make([]int, conns)
				for i := range peers {
					fd, peer := GetSysFdPairs()
					require.GreaterOrEqual(t, fd, 0)
					conn, err := NewFDConnection(fd)
					require.NoError(t, err)
					require.NoError(t, conn.(*UnixConnection).KeepDescriptors(false)) // as those that are served
					require.NoError(t, conn.SetOnRequest(echoAll))
					defer unix.Close(peer)
					defer conn.Close()
					limit := unix.NsecToTimeval(testkit.Timeout.Nanoseconds())
					require.NoError(t, unix.SetsockoptTimeval(peer, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &limit))
					peers[i] = peer
				}
				request := []byte(strings.Repeat("r", 512))
				answer := make([]byte, len(request))
				round := func() {
					for _, peer := range peers {
						if n, err := unix.Write(peer, request); n != len(request) {
							t.Error(n, err)
						}
					}
					for _, peer := range peers {
						if n, err := fdReader(peer).Read(answer); n != len(request) {
							t.Error(n, err)
						}
					}
				}
				for range 200 {
					round()
				}
				got := testing.AllocsPerRun(1000, round)
				require.LessOrEqual(t, got, float64(conns)*allocBudget(), "allocations for %d requests", conns)
			})
		}
	}
}

// allocBudget is how much a request may allocate: nothing, except under the race detector, which makes sync.Pool forget
// at random.
func allocBudget() float64 {
	info, _ := debug.ReadBuildInfo()
	for _, s := range info.Settings {
		if s.Key == "-race" && s.Value == "true" {
			return 20
		}
	}
	return 0
}
