//go:build (linux && !netconn) || darwin || dragonfly || freebsd || netbsd || openbsd

package netpoll

// This file holds the watchdog, which goes on in the place of a worker whose handler does not return.
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

// watchdogPeriod is how often the watchdog looks. A worker that has run a batch for half of it has
// been at it for too long.
const watchdogPeriod = 2 * time.Millisecond

// watchdog watches the batches of one poller.
type watchdog struct {
	alarm alarm.Alarm
	set   atomic.Bool // the alarm is set, or about to look whether it has to be
}

// watch makes sure that the batch which may be taken now is looked at.
func (w *watchdog) watch() {
	if !w.set.Load() {
		w.set.Store(true)
		w.alarm.Set(watchdogPeriod)
	}
}

// checkWorkers is what the alarm calls.
func (p *poller) checkWorkers() (again time.Duration) {
	p.workers.countProcs()
	waits.Store(false)
	news := false
	for _, w := range *p.workers.list.Load() {
		v := w.handOff.v.Load()
		if v&offersTasks != 0 && clock.Now()-w.started.Load() >= int64(watchdogPeriod)/2 {
			p.rescue(w, true)
		}
		if v != w.seen {
			w.seen, news = v, true
		}
	}
	if news {
		return watchdogPeriod
	}
	// A batch that begins now either finds that it has to set the alarm, or is found here. So is that of a worker which
	// has been added since: it is in the list before its first batch begins.
	p.watchdog.set.Store(false)
	for _, w := range *p.workers.list.Load() {
		if w.handOff.v.Load()&offersTasks != 0 && p.watchdog.set.CompareAndSwap(false, true) {
			return watchdogPeriod
		}
	}
	return 0
}
