//go:build !interleave

package netpoll

// This file holds what waiting is made of: a channel, the clock, and the timers of the Go runtime. In the schedules
// that the tests explore, waiter_explored.go takes its place.

import (
	"sync"
	"time"
)

// now is in nanoseconds and grows with the monotonic clock.
func now() int64 { return int64(time.Since(clockStart)) }

// lateCall is a call that comes later, unless it is stopped.
type lateCall = time.Timer

// callLater calls f after d, on a goroutine of its own.
func callLater(d time.Duration, f func()) *lateCall { return time.AfterFunc(d, f) }

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
	beforeBlock()
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

// forget takes back a wake-up that came too late.
func (w *waiter) forget() {
	select {
	case <-w.ch:
	default:
	}
}
