//go:build interleave

package mux

// The queue under every schedule: callers of Add against the drain, against Close, and against a connection that fails.

import (
	"errors"
	"testing"

	"github.com/cloudwego/netpoll"
	"github.com/cloudwego/netpoll/internal/interleave"
	"github.com/cloudwego/netpoll/internal/interleave/explored"
)

// load is a queue with the getters added to it, over a connection that counts.
type load struct {
	netpoll.Connection
	r *interleave.Run
	q *ShardQueue

	calls    []int // of each getter
	running  int
	appended int // buffers that wait for a Flush
	sent     int
	failing  bool // the next Flush fails
	failed   bool
	closes   int
	onClose  func() // a close callback
}

var errBroken = errors.New("broken")

func newLoad(r *interleave.Run, shards int) *load {
	l := &load{r: r}
	l.q = NewShardQueue(shards, l)
	r.Quiet(&l.q.next)
	r.Check(l.check)
	return l
}

// add adds a getter and returns its number.
func (l *load) add() int {
	i := len(l.calls)
	l.calls = append(l.calls, 0)
	l.q.Add(func() (netpoll.Writer, bool) {
		if l.running++; l.running > 1 && !l.q.closed && l.q.failure == nil {
			l.r.Failf("two getters run at a time")
		}
		interleave.Step("getter", l)
		l.running--
		l.calls[i]++
		return netpoll.NewLinkBuffer(), false
	})
	return i
}

func (l *load) check() {
	for i, n := range l.calls {
		if n != 1 {
			l.r.Failf("getter %d was called %d times", i, n)
		}
	}
	if l.sent+l.q.lost != len(l.calls) {
		l.r.Failf("%d sent, %d lost of %d", l.sent, l.q.lost, len(l.calls))
	}
	if l.q.state.Load() != drainIdle || l.closes > 0 != l.failed {
		l.r.Failf("state %d, closed %d times", l.q.state.Load(), l.closes)
	}
}

func (l *load) Writer() netpoll.Writer { return loadWriter{l: l} }

func (l *load) Close() error {
	interleave.Step("close", l)
	if l.closes++; l.closes == 1 && l.onClose != nil {
		l.onClose()
	}
	return nil
}

// loadWriter is the Writer of a load.
type loadWriter struct {
	netpoll.Writer
	l *load
}

func (w loadWriter) Append(netpoll.Writer) error {
	interleave.Step("append", w.l)
	w.l.appended++
	return nil
}

func (w loadWriter) Flush() error {
	interleave.Step("flush", w.l)
	if w.l.failing {
		w.l.failed = true
		return errBroken
	}
	w.l.sent += w.l.appended
	w.l.appended = 0
	return nil
}

func TestScheduleNoGetterIsForgotten(t *testing.T) {
	for _, tc := range []struct{ shards, bound int }{{1, 3}, {2, 2}} {
		explored.Explore(t, tc.bound, func(r *interleave.Run) {
			l := newLoad(r, tc.shards)
			for range 3 {
				r.Go("add", func() { l.add() })
			}
			r.Check(func() {
				if l.sent != 3 {
					r.Failf("%d sent", l.sent)
				}
			})
		})
	}
}

func TestScheduleCloseWaitsForWhatWasAdded(t *testing.T) {
	for _, shards := range []int{1, 2} {
		explored.Explore(t, 2, func(r *interleave.Run) {
			l := newLoad(r, shards)
			added := 0 // Add has returned for so many
			for range 2 {
				r.Go("add", func() {
					l.add()
					added++
				})
			}
			r.Go("close", func() {
				before := added
				err := l.q.Close()
				if l.sent < before || l.running > 0 && err == nil {
					r.Failf("Close has returned with %d of %d sent", l.sent, before)
				}
				if lost := l.q.lost; err == nil != (lost == 0) {
					r.Failf("%d lost: %v", lost, err)
				}
			})
		})
	}
}

func TestScheduleSecondCloseReturnsAtOnce(t *testing.T) {
	explored.Explore(t, 3, func(r *interleave.Run) {
		l := newLoad(r, 1)
		refused := 0
		r.Go("add", func() { l.add() })
		for range 2 {
			r.Go("close", func() {
				if err := l.q.Close(); errors.Is(err, netpoll.ErrConnClosed) && l.q.lost == 0 {
					refused++
				}
			})
		}
		r.Check(func() {
			if l.q.lost == 0 && refused != 1 {
				r.Failf("%d were told that it is closed", refused)
			}
		})
	})
}

// A connection that fails ends the queue; every getter is still called, and a close callback may close the queue.
func TestScheduleFailedConnectionEndsTheQueue(t *testing.T) {
	explored.Explore(t, 2, func(r *interleave.Run) {
		l := newLoad(r, 2)
		l.failing = true
		l.onClose = func() {
			if err := l.q.Close(); !errors.Is(err, errBroken) && !errors.Is(err, netpoll.ErrConnClosed) {
				r.Failf("%v", err)
			}
		}
		r.Go("add", func() { l.add() })
		r.Go("add", func() { l.add() })
		r.Go("close", func() { _ = l.q.Close() })
		r.Check(func() {
			if l.sent > 0 {
				r.Failf("%d sent", l.sent)
			}
		})
	})
}
