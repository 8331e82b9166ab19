//go:build interleave

package wait

// This file holds the waiter where schedules are explored: a flag in place of the channel, and the clock of the
// schedule.

import (
	"sync"
	"time"

	"github.com/cloudwego/netpoll/internal/interleave"
	"github.com/cloudwego/netpoll/internal/interleave/clock"
)

// Waiter blocks one goroutine until it is woken or a deadline passes.
type Waiter struct {
	woken bool          // in a schedule
	ch    chan struct{} // outside of one; holds one wake-up
}

// New returns a waiter that belongs to the caller.
func New() *Waiter { return &Waiter{ch: make(chan struct{}, 1)} }

// stack is a pool that always gives the waiter that was last put back, since a late wake-up may reach it there.
type stack struct {
	mu   sync.Mutex // guards the fields below
	list []*Waiter
	of   *interleave.Run // it begins anew for each
}

var pool stack

func (p *stack) Get() any {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.begin()
	n := len(p.list)
	if n == 0 {
		return New()
	}
	w := p.list[n-1]
	p.list = p.list[:n-1]
	return w
}

func (p *stack) Put(w any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.begin()
	p.list = append(p.list, w.(*Waiter))
}

func (p *stack) begin() {
	if r := interleave.Active(); r != p.of {
		p.list, p.of = nil, r
	}
}

// Wake makes Wait return, the one that blocks or the next.
func (w *Waiter) Wake() {
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

// Sleep is Wait without a deadline for a goroutine that runs no handler: it does not call BeforeBlock.
func (w *Waiter) Sleep() {
	if interleave.Await("sleep", w, func() bool { return w.woken }) {
		w.woken = false
		return
	}
	<-w.ch
}

// Wait blocks until Wake is called or the time is deadline.
func (w *Waiter) Wait(deadline int64) {
	beforeBlock()
	if interleave.Await("wait", w, func() bool { return w.woken || deadline <= clock.Now() }) {
		w.woken = false
		return
	}
	var late <-chan time.Time
	if d := time.Duration(deadline - clock.Now()); deadline != NoDeadline {
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
func (w *Waiter) forget() {
	interleave.Step("forget", w)
	w.woken = false
	select {
	case <-w.ch:
	default:
	}
}

// Atomics returns the variables that Start, SetTimeout and SetDeadline store to, for [interleave.Run.Quiet].
func (s *Side) Atomics() (waiting, timeout, deadline any) { return &s.waiting, &s.timeout, &s.deadline }
