package netpoll

// This file holds the idle limit: the end of a connection that carries nothing. A connection without a limit pays one
// pointer load whenever bytes move.

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/cloudwego/netpoll/internal/interleave/clock"
)

type idleLimit struct {
	last atomic.Int64 // when bytes moved last, as clock.Now counts; stored by the goroutine that moves them

	// mu guards the fields below.
	mu      sync.Mutex
	after   time.Duration
	timer   *time.Timer
	stopped bool
}

// SetIdleLimit closes the connection when no byte has moved in either direction for d while no handler is running. 0 or
// less removes the limit. Then waiting readers get an error that Is ErrConnClosed.
func (c *connection) SetIdleLimit(d time.Duration) error {
	if err := c.settable("set idle limit"); err != nil {
		return err
	}
	l := c.idle.Load()
	if l == nil {
		if d <= 0 {
			return nil
		}
		l = new(idleLimit)
		l.last.Store(clock.Now())
		if !c.idle.CompareAndSwap(nil, l) {
			l = c.idle.Load()
		}
	}
	l.set(d, c.checkIdle)
	if c.life.load().phase() >= phaseReleased {
		c.stopIdleLimit()
	}
	return nil
}

// set makes check run after d, or never.
func (l *idleLimit) set(d time.Duration, check func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.after = d
	switch {
	case l.stopped:
	case d <= 0:
		if l.timer != nil {
			l.timer.Stop()
		}
	case l.timer == nil:
		l.timer = time.AfterFunc(d, check)
	default:
		l.timer.Reset(d)
	}
}

// again makes the check run when the rest of the limit has passed, and reports whether it has passed already.
func (l *idleLimit) again(busy bool) (over bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.stopped || l.after <= 0 {
		return false
	}
	rest := l.after - time.Duration(clock.Now()-l.last.Load())
	if busy {
		rest = l.after
	}
	if rest > 0 {
		l.timer.Reset(rest)
		return false
	}
	return true
}

// checkIdle runs on the timer's goroutine.
func (c *connection) checkIdle() {
	l := c.idle.Load()
	const busy = bitRunning | bitDisconnecting
	if !l.again(c.life.load().has(busy)) {
		return
	}
	if !c.closeIf(causeIdle, func(b lifeBits) bool { return !b.has(busy) }) {
		l.again(true)
	}
}

// touch notes that bytes moved.
func (c *connection) touch() {
	if l := c.idle.Load(); l != nil {
		l.last.Store(clock.Now())
	}
}

func (c *connection) stopIdleLimit() {
	l := c.idle.Load()
	if l == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.stopped = true
	if l.timer != nil {
		l.timer.Stop()
	}
}
