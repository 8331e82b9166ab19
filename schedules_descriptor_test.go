//go:build interleave && linux && !netconn

package netpoll

// Looks past the input buffer under every schedule: each sees all input that has arrived, no goroutine receives
// meanwhile, and afterwards the connection goes on with what comes.

import (
	"errors"
	"testing"
	"time"

	"github.com/cloudwego/netpoll/internal/interleave"
	"github.com/cloudwego/netpoll/internal/interleave/explored"
)

// looksAt is a function for RawConn.Read that takes what has arrived, and fails if the poller takes some beside it.
func (l *line) looksAt(got *string) func(uintptr) bool {
	return func(uintptr) bool {
		interleave.Step("raw", l)
		if l.receives || l.c.in.Len() > 0 {
			l.r.Failf("the poller receives beside the function, or before it: %d bytes", l.c.in.Len())
		}
		*got += l.input
		l.input = ""
		return true
	}
}

// A look that finds nothing is the truth at that moment, and does not keep what comes later from the handler.
func TestScheduleRawLookLeavesWhatComesLaterToTheHandler(t *testing.T) {
	explored.Explore(t, 2, func(r *interleave.Run) {
		l := newLine(r, 100)
		n := countCalls(l).handlerStays()
		l.poll()
		var got string
		r.Go("user", func() {
			if err := (rawConn{l.c}).Read(l.looksAt(&got)); err != nil && !errors.Is(err, ErrBufferedInput) &&
				!errors.Is(err, ErrConcurrentAccess) {
				r.Failf("%v", err)
			}
		})
		r.Go("peer", func() {
			l.arrives("a")
			l.arrives("b")
		})
		r.Check(func() {
			if got+n.seen != "ab" && n.seen+got != "ab" {
				r.Failf("the function has %q, the handler %q: %v", got, n.seen, l.c.life.load())
			}
		})
	})
}

// A function that waits for input gets it, whenever it arrives.
func TestScheduleRawReadWaitsForInput(t *testing.T) {
	explored.Explore(t, 2, func(r *interleave.Run) {
		l := newLine(r, 100)
		l.poll()
		var got string
		r.Go("user", func() {
			look := l.looksAt(&got)
			err := (rawConn{l.c}).Read(func(fd uintptr) bool { return look(fd) && got != "" })
			switch {
			case errors.Is(err, ErrBufferedInput):
				got, err = l.c.ReadString(l.c.Len())
			case err == nil && got == "a":
				var more string
				more, err = l.c.ReadString(1)
				got += more
			}
			if err != nil {
				r.Failf("%v", err)
			}
		})
		r.Go("peer", func() {
			l.arrives("a")
			l.arrives("b")
		})
		r.Check(func() {
			if rest := l.c.in.Len(); got != "ab"[:2-rest] {
				r.Failf("got %q, left %d: %v", got, rest, l.c.life.load())
			}
		})
	})
}

// A pool's look at a connection does not keep its pending output from being sent.
func TestScheduleHealthCheckDoesNotHoldPendingOutput(t *testing.T) {
	explored.Explore(t, 2, func(r *interleave.Run) {
		l := newLine(r, 100)
		l.owing()
		l.poll()
		r.Go("user", func() {
			if err := l.write("ab"); err != nil {
				r.Failf("%v", err)
			}
			l.c.IsHealthyForReuse(time.Second)
		})
		r.Check(func() { l.paid("ab") })
	})
}
