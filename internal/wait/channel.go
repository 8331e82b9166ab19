//go:build !interleave

package wait

// This file holds the waiter: a channel, and the timers of the Go runtime. In the schedules that the tests explore,
// explored.go takes its place.

import (
	"sync"
	"time"

	"github.com/cloudwego/netpoll/internal/interleave/clock"
)

// Waiter blocks one goroutine until it is woken or a deadline passes. A wake-up may come without a reason, even one
// meant for an earlier user: the goroutine that waits looks again.
type Waiter struct {
	ch    chan struct{} // holds one wake-up
	timer *time.Timer   // made when first needed
}

// New returns a waiter that belongs to the caller.
func New() *Waiter { return &Waiter{ch: make(chan struct{}, 1)} }

var pool = sync.Pool{New: func() any { return New() }}

// Wake makes Wait return, the one that blocks or the next.
func (w *Waiter) Wake() {
	select {
	case w.ch <- struct{}{}:
	default: // one is pending already
	}
}

// Sleep is Wait without a deadline for a goroutine that runs no handler: it does not call BeforeBlock.
func (w *Waiter) Sleep() { <-w.ch }

// Wait blocks until Wake is called or the time is deadline.
func (w *Waiter) Wait(deadline int64) {
	beforeBlock()
	if deadline == NoDeadline {
		<-w.ch
		return
	}
	d := time.Duration(deadline - clock.Now())
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
func (w *Waiter) forget() {
	select {
	case <-w.ch:
	default:
	}
}
