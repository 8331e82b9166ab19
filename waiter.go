package netpoll

// This file holds how a goroutine waits for its connection: a waiter, borrowed only while it waits, and the timeout
// and deadline of one direction.

import (
	"math"
	"sync"
	"sync/atomic"
	"time"
)

// clockStart is what deadlines are counted from, so that one int64 holds them and the wall clock may be set.
var clockStart = time.Now()

// now is in nanoseconds and grows with the monotonic clock.
func now() int64 { return int64(time.Since(clockStart)) }

// noDeadline is later than any deadline.
const noDeadline int64 = math.MaxInt64

// waiter blocks one goroutine until it is woken or a deadline passes. A wake-up may come without a reason, even one
// meant for an earlier user: whoever waits looks again.
type waiter struct {
	ch    chan struct{} // holds one wake-up
	timer *time.Timer   // made when first needed
}

var waiterPool = sync.Pool{New: func() any { return &waiter{ch: make(chan struct{}, 1)} }}

func (w *waiter) wake() {
	select {
	case w.ch <- struct{}{}:
	default: // one is pending already
	}
}

// wait blocks until wake is called or the time is deadline.
func (w *waiter) wait(deadline int64) {
	helmWanted()
	if deadline == noDeadline {
		<-w.ch
		return
	}
	d := time.Duration(deadline - now())
	if d <= 0 {
		return
	}
	if w.timer == nil {
		w.timer = time.NewTimer(d)
	} else {
		w.timer.Reset(d)
	}
	select {
	case <-w.ch:
	case <-w.timer.C:
	}
	w.timer.Stop()
}

// direction is the waiting side of reading or of writing.
type direction struct {
	waiting  atomic.Pointer[waiter] // stored by the goroutine that waits; loaded by those that wake it
	timeout  atomic.Int64           // nanoseconds for one call; 0: none. Stored by SetReadTimeout and the like
	deadline atomic.Int64           // as now counts; 0: none. Stored by SetReadDeadline and the like
}

// startWaiting borrows a waiter and shows it to wakers. Look again afterwards, before waiting.
func (d *direction) startWaiting() *waiter {
	w := waiterPool.Get().(*waiter)
	d.waiting.Store(w)
	return w
}

func (d *direction) stopWaiting(w *waiter) {
	d.waiting.Store(nil)
	select {
	case <-w.ch:
	default:
	}
	waiterPool.Put(w)
}

// wake makes a waiting goroutine look again.
func (d *direction) wake() {
	if w := d.waiting.Load(); w != nil {
		w.wake()
	}
}

// until returns when a call that began at start has to give up. The deadline, if there is one, overrides the timeout.
func (d *direction) until(start int64) int64 {
	if t := d.deadline.Load(); t != 0 {
		return t
	}
	if t := d.timeout.Load(); t > 0 && t < noDeadline-start {
		return start + t
	}
	return noDeadline
}

// callStart is when a call begins that has to wait for its turn, 0 if nobody will ask.
func (d *direction) callStart() int64 {
	if d.timeout.Load() == 0 {
		return 0
	}
	return now()
}

// expired reports whether a deadline that was set has passed.
func (d *direction) expired() bool {
	t := d.deadline.Load()
	return t != 0 && t <= now()
}

// setTimeout replaces the timeout, and the deadline with it. A negative one is ignored.
func (d *direction) setTimeout(timeout time.Duration) {
	if timeout < 0 {
		return
	}
	d.timeout.Store(int64(timeout))
	d.deadline.Store(0)
	d.wake()
}

// setDeadline replaces the deadline; the zero time clears it.
func (d *direction) setDeadline(t time.Time) {
	var at int64
	if !t.IsZero() {
		at = int64(t.Sub(clockStart))
		if at <= 0 {
			at = -1 // long past, whatever it was; 0 means none
		}
	}
	d.deadline.Store(at)
	d.wake()
}
