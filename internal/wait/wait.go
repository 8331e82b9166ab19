// Package wait is how a goroutine waits for one side of a connection: a [Waiter], borrowed only while it waits, and the
// timeout and deadline of that [Side]. Times are those of package clock.
package wait

// The waiter is in channel.go.

import (
	"math"
	"time"

	"github.com/cloudwego/netpoll/internal/interleave/atomic"
	"github.com/cloudwego/netpoll/internal/interleave/clock"
)

// NoDeadline is later than any deadline.
const NoDeadline int64 = math.MaxInt64

// BeforeBlock is called before a goroutine waits, on that goroutine, unless it is nil. It is set at most once, by an init
// function.
var BeforeBlock func()

func beforeBlock() {
	if BeforeBlock != nil {
		BeforeBlock()
	}
}

// Side is the waiting side of reading or of writing. The zero value is ready. One goroutine at a time may wait; all
// methods but Start and Stop may be called by any goroutine.
type Side struct {
	waiting  atomic.Pointer[Waiter] // stored by the goroutine that waits; loaded by those that wake it
	timeout  atomic.Int64           // nanoseconds for one call; 0: none. Stored by SetTimeout
	deadline atomic.Int64           // as clock.Now counts; 0: none. Stored by SetDeadline
}

// Start borrows a waiter and shows it to those that call Wake. Look again afterwards, before waiting.
func (s *Side) Start() *Waiter {
	w := pool.Get().(*Waiter)
	s.waiting.Store(w)
	return w
}

// Stop gives back the waiter that Start returned.
func (s *Side) Stop(w *Waiter) {
	s.waiting.Store(nil)
	w.forget()
	pool.Put(w)
}

// Waiting reports whether a goroutine waits, or is about to.
func (s *Side) Waiting() bool { return s.waiting.Load() != nil }

// Wake makes a waiting goroutine look again.
func (s *Side) Wake() {
	if w := s.waiting.Load(); w != nil {
		w.Wake()
	}
}

// Until returns the time at which a call that began at start has to give up. The deadline, if there is one, overrides
// the timeout.
func (s *Side) Until(start int64) int64 {
	if t := s.deadline.Load(); t != 0 {
		return t
	}
	if t := s.timeout.Load(); t > 0 && t < NoDeadline-start {
		return start + t
	}
	return NoDeadline
}

// CallStart is the time now, for a call that waits for its turn; 0 if there is no timeout.
func (s *Side) CallStart() int64 {
	if s.timeout.Load() == 0 {
		return 0
	}
	return clock.Now()
}

// Expired reports whether a deadline that was set has passed.
func (s *Side) Expired() bool {
	t := s.deadline.Load()
	return t != 0 && t <= clock.Now()
}

// Timeout returns the timeout; 0: none.
func (s *Side) Timeout() time.Duration { return time.Duration(s.timeout.Load()) }

// SetTimeout replaces the timeout, and the deadline with it. A negative one is ignored.
func (s *Side) SetTimeout(timeout time.Duration) {
	if timeout < 0 {
		return
	}
	s.timeout.Store(int64(timeout))
	s.deadline.Store(0)
	s.Wake()
}

// SetDeadline replaces the deadline; the zero time clears it.
func (s *Side) SetDeadline(t time.Time) {
	var at int64
	if !t.IsZero() {
		at = In(time.Until(t))
	}
	s.deadline.Store(at)
	s.Wake()
}

// In returns the time in left from now, as clock.Now counts, and never 0, which means none. A deadline is turned into a
// duration when it is set: without a monotonic reading it is a time of the wall clock, which may be changed before and
// after.
func In(left time.Duration) (at int64) {
	at = clock.Now()
	if int64(left) >= NoDeadline-at {
		return NoDeadline
	}
	if at += int64(left); at <= 0 {
		return -1 // long past, in any case
	}
	return at
}

// TimeOf returns the time at, as clock.Now counts, for other packages: it is right by the wall clock and by the
// monotonic clock.
func TimeOf(at int64) time.Time { return time.Now().Add(time.Duration(at - clock.Now())) }
