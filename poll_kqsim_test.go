//go:build linux && kqsim

package netpoll

// This file holds what tests of pollers need to know of the model that stands in for a kqueue.

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/cloudwego/netpoll/internal/kqueue"
)

// breakQueue makes the queue of a poller fail.
func breakQueue(_ *testing.T, p *poller) { kqueue.Break(p.sel.kq) }

// A filter for room that is never deleted, a wake-up that is never taken, or an end that is reported for ever, shows as
// a poller that asks again and again.
func TestIdlePollerAsksForNothing(t *testing.T) {
	p := freshPoller(t)
	a, b := socketPair(t)
	r := newRecorder(a)
	require.NoError(t, r.watch.open(p, a, r, evRead|evHup|evWrite))
	defer r.watch.close()
	r.until(t, evWrite, evRead)
	require.NoError(t, r.set(evRead|evHup))
	_, err := unix.Write(b, []byte("x"))
	require.NoError(t, err)
	r.until(t, evRead, evWrite)
	p.sel.interrupt()

	c, d := socketPair(t)
	paused := newRecorder(-1)
	require.NoError(t, paused.watch.open(p, c, paused, evHup))
	defer paused.watch.close()
	_, err = unix.Write(d, []byte("not read"))
	require.NoError(t, err)
	require.NoError(t, unix.Shutdown(d, unix.SHUT_WR))
	paused.until(t, evHup, evRead)
	before := settledWaits(t, p)
	timer := time.NewTimer(100 * time.Millisecond) // nothing happens, which only time can show
	<-timer.C
	require.LessOrEqual(t, kqueue.Waits(p.sel.kq)-before, 3, "asked in a time of silence")
}

// settledWaits returns how often events were asked for, once that has stayed the same for a while, or in the end
// anyway.
func settledWaits(t *testing.T, p *poller) (n int) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for range 100 {
		now := kqueue.Waits(p.sel.kq)
		if now == n {
			break
		}
		n = now
		<-tick.C
	}
	return n
}
