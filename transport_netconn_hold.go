package netpoll

// This file holds how the reading goroutine of the transport over any net.Conn makes way for somebody who has to look at
// the descriptor below: it is interrupted by a deadline, and begins again afterwards.

import (
	"time"

	"github.com/cloudwego/netpoll/internal/interleave/clock"
	"github.com/cloudwego/netpoll/internal/wait"
)

// holdReading lets no Read begin until letReading, which must follow if there is no error, and ends the one that is
// going on. When it returns, what that has read is in the input, and the read deadline of conn is until. One call at a
// time.
func (t *netConn) holdReading(until int64) error {
	w, err := t.beginHold()
	if err != nil {
		return err
	}
	for patience := min(until, clock.Now()+int64(stopGrace)); t.reading() && clock.Now() < patience; {
		w.Wait(patience)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.awaited = nil // and w is not used again: a wake-up may still be on its way
	switch {
	case t.stopped:
		err = Exception(ErrConnClosed, "when read")
	case t.booked && until <= clock.Now():
		err = Exception(ErrReadTimeout, "when read")
	case t.booked:
		err = Exception(ErrUnsupported, "looking below a net.Conn that heeds no deadline")
	case until == wait.NoDeadline:
		err = t.conn.SetReadDeadline(time.Time{})
	default:
		err = t.conn.SetReadDeadline(wait.TimeOf(until))
	}
	if err != nil {
		t.endHold()
	}
	return err
}

// beginHold returns what to wait with.
func (t *netConn) beginHold() (w *wait.Waiter, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.stopped {
		return nil, Exception(ErrConnClosed, "when read")
	}
	t.held = true
	w = wait.New()
	if t.booked {
		t.awaited, t.cut = w, true
		if err := t.conn.SetReadDeadline(longAgo); err != nil {
			t.awaited, t.cut = nil, false
			t.endHold()
			return nil, Exception(ErrUnsupported, "looking below a net.Conn that takes no deadline")
		}
	}
	return w, nil
}

// letReading undoes holdReading.
func (t *netConn) letReading() {
	t.mu.Lock()
	t.endHold()
	t.mu.Unlock()
	_ = t.updateInterest()
}

// endHold ends the hold. The caller holds mu.
func (t *netConn) endHold() {
	if !t.stopped {
		_ = t.conn.SetReadDeadline(time.Time{}) // it is the connection that has deadlines
	}
	t.finish(&t.held)
}
