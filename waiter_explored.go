//go:build interleave

package netpoll

// This file holds what waiting is made of where schedules are explored: a flag in place of the channel, the clock of
// the schedule, and calls that come as soon as that clock lets them and some schedule wants them.

import (
	"sync"
	"time"

	"github.com/cloudwego/netpoll/internal/interleave"
)

// now is in nanoseconds.
func now() int64 {
	if r := interleave.Active(); r != nil {
		return r.Now()
	}
	return int64(time.Since(clockStart))
}

// lateCall is a call that comes later, unless it is stopped.
type lateCall struct{ stop func() bool }

func (l *lateCall) Stop() bool { return l.stop() }

// callLater calls f after d, on a goroutine of its own.
func callLater(d time.Duration, f func()) *lateCall {
	if r := interleave.Active(); r != nil {
		return &lateCall{r.After(d, f)}
	}
	return &lateCall{time.AfterFunc(d, f).Stop}
}

// waiter blocks one goroutine until it is woken or a deadline passes.
type waiter struct {
	woken bool          // in a schedule
	ch    chan struct{} // outside of one; holds one wake-up
}

// waiterStack is a pool that always gives the waiter that was last put back, since a late wake-up may reach it there.
type waiterStack struct {
	mu   sync.Mutex // guards the fields below
	list []*waiter
	of   *interleave.Run // it begins anew for each
}

var waiterPool waiterStack

func (p *waiterStack) Get() any {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.begin()
	n := len(p.list)
	if n == 0 {
		return &waiter{ch: make(chan struct{}, 1)}
	}
	w := p.list[n-1]
	p.list = p.list[:n-1]
	return w
}

func (p *waiterStack) Put(w any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.begin()
	p.list = append(p.list, w.(*waiter))
}

func (p *waiterStack) begin() {
	if r := interleave.Active(); r != p.of {
		p.list, p.of = nil, r
	}
}

func (w *waiter) wake() {
	interleave.Step("wake", w)
	if interleave.Active() != nil {
		w.woken = true
		return
	}
	select {
	case w.ch <- struct{}{}:
	default: // one is pending already
	}
}

// wait blocks until wake is called or the time is deadline.
func (w *waiter) wait(deadline int64) {
	beforeBlock()
	if interleave.Await("wait", w, func() bool { return w.woken || deadline <= now() }) {
		w.woken = false
		return
	}
	var late <-chan time.Time
	if d := time.Duration(deadline - now()); deadline != noDeadline {
		if d <= 0 {
			return
		}
		late = time.After(d)
	}
	if interleave.Ending() {
		return
	}
	select {
	case <-w.ch:
	case <-late:
	}
}

// forget takes back a wake-up that came too late.
func (w *waiter) forget() {
	interleave.Step("forget", w)
	w.woken = false
	select {
	case <-w.ch:
	default:
	}
}
