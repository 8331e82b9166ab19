package netpoll

// This file holds how a goroutine waits for its connection: a waiter, borrowed only while it waits, and the timeout
// and deadline of one direction. What a waiter is made of, and the clock, are in waiter_channel.go.

import (
	"math"
	"time"

	"github.com/cloudwego/netpoll/internal/interleave/atomic"
)

// clockStart is what deadlines are counted from, so that one int64 holds them and the wall clock may be set. Only its
// monotonic reading means anything.
var clockStart = time.Now()

// noDeadline is later than any deadline.
const noDeadline int64 = math.MaxInt64

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
	w.forget()
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
		at = countedFrom(time.Until(t))
	}
	d.deadline.Store(at)
	d.wake()
}

// countedFrom returns the time in left from now, as now counts, and never 0, which means none. A deadline is turned into
// a duration first, when it is set: without a monotonic reading it says nothing but what the wall clock shows then, which
// may be set, before and after.
func countedFrom(left time.Duration) (at int64) {
	at = now()
	if int64(left) >= noDeadline-at {
		return noDeadline
	}
	if at += int64(left); at <= 0 {
		return -1 // long past, whatever it was
	}
	return at
}

// timeOf is the opposite, for those below who have a clock of their own: it is right by the wall clock and by the
// monotonic one.
func timeOf(at int64) time.Time { return time.Now().Add(time.Duration(at - now())) }
