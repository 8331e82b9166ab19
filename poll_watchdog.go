//go:build (linux && !netconn) || darwin || dragonfly || freebsd || netbsd || openbsd

package netpoll

// This file holds the watchdog, which takes the leadership from a goroutine whose handler does not return.
//
// Most batches end in microseconds, so it must cost next to nothing to watch one. Starting a timer for each and stopping
// it again costs more than it seems: a goroutine that parks with a timer pending waits in the kernel for a time, not just
// for an event. So the alarm is set only if it is not set yet, and sets itself again as long as it finds that batches
// have begun since; a poller with nothing to do soon has no alarm.

import (
	"time"

	"github.com/cloudwego/netpoll/internal/alarm"
	"github.com/cloudwego/netpoll/internal/interleave/atomic"
	"github.com/cloudwego/netpoll/internal/interleave/clock"
)

// watchdogPeriod is how often the watchdog looks. It takes the leadership if a batch has been running for half of it.
const watchdogPeriod = 2 * time.Millisecond

// watchdog watches the batches of one poller.
type watchdog struct {
	alarm   alarm.Alarm
	set     atomic.Bool  // the alarm is set, or about to look whether it has to be
	started atomic.Int64 // when the leadership became free, as clock.Now counts; stored by the leader
	seen    uint64       // the leadership when checkLeader last looked, which alone uses it
}

// watch makes sure that the batch which has made the leadership free is looked at.
func (w *watchdog) watch() {
	if !w.set.Load() {
		w.set.Store(true)
		w.alarm.Set(watchdogPeriod)
	}
}

// checkLeader is called by the alarm.
func (p *poller) checkLeader() (again time.Duration) {
	w := &p.watchdog
	v := p.leadership.v.Load()
	if v&leaderFree != 0 && clock.Now()-w.started.Load() >= int64(watchdogPeriod)/2 {
		w.set.Store(false)
		p.handOff(true)
		return 0
	}
	if v == w.seen {
		// A batch that begins now either finds that it has to set the alarm, or is found here.
		w.set.Store(false)
		if p.leadership.v.Load()&leaderFree == 0 || !w.set.CompareAndSwap(false, true) {
			return 0
		}
	}
	w.seen = v
	return watchdogPeriod
}
