//go:build interleave && linux && !netconn

package netpoll

// Output that is left to the poller, under every schedule: it is sent once, in order, before whatever comes after it,
// and the queue never keeps one that no batch will look at.

import (
	"errors"
	"syscall"
	"testing"
	"time"

	"github.com/cloudwego/netpoll/internal/interleave"
	"github.com/cloudwego/netpoll/internal/interleave/explored"
	"github.com/cloudwego/netpoll/internal/metric"
)

// owing gives l a poller that sends output left to it: once while handlers run, and once before it parks. There is no
// ring here, so each sender sends by itself.
func (l *line) owing() {
	w := newWorker(&poller{counts: new(metric.Set)})
	w.io.policy = plainCalls()
	l.sends = &w.sends
	l.sendsOnly()
	l.sends.setOpen()
	l.r.Go("sends", func() {
		w.sendAll(w.sends.take())
		w.sendAll(w.sends.shut())
	})
	l.r.Check(func() {
		if len(w.sends.list) > 0 {
			l.r.Failf("%d are left in the queue", len(w.sends.list))
		}
	})
}

func (l *line) write(s string) error {
	_, _ = l.c.WriteString(s)
	return l.c.Flush()
}

// paid checks that all that Flush promised was sent and nothing is pending any more.
func (l *line) paid(flushed string) {
	if b := l.c.life.load(); b.has(bitPending | bitSendFailed) {
		l.r.Failf("still pending: %v", b)
	}
	if l.sent != flushed {
		l.r.Failf("sent %q of %q", l.sent, flushed)
	}
}

func TestSchedulePendingIsSentOnceAndInOrder(t *testing.T) {
	explored.Explore(t, 2, func(r *interleave.Run) {
		l := newLine(r, 3)
		l.owing()
		l.poll()
		r.Go("user", func() {
			if err := errors.Join(l.write("ab"), l.write("cd")); err != nil {
				r.Failf("%v", err)
			}
		})
		r.Go("peer", func() { l.drains(10) })
		r.Check(func() { l.paid("abcd") })
	})
}

// Whatever comes after a Flush finds its bytes sent.
func TestSchedulePendingComesBeforeTheEnd(t *testing.T) {
	for _, tc := range []struct {
		name string
		end  func(l *line)
		done func(l *line) bool
	}{
		{"close", func(l *line) { _ = l.c.Close() }, func(l *line) bool { return l.released == 1 }},
		{"close write", func(l *line) { _ = l.c.CloseWrite() }, func(l *line) bool { return l.shut }},
		{"detach", func(l *line) {
			_ = l.c.Detach()
			if l.sent != "abcd" {
				l.r.Failf("Detach has returned, and %q was sent", l.sent)
			}
		}, func(l *line) bool { return l.released == 1 && l.kept }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			explored.Explore(t, 2, func(r *interleave.Run) {
				l := newLine(r, 3)
				l.owing()
				l.poll()
				r.Go("user", func() {
					if err := l.write("abcd"); err != nil {
						r.Failf("%v", err)
					}
					tc.end(l)
				})
				r.Go("peer", func() { l.drains(10) })
				r.Check(func() {
					l.paid("abcd")
					if !tc.done(l) {
						r.Failf("not over: %v", l.c.life.load())
					}
				})
			})
		})
	}
}

// An end from elsewhere meets a Flush: output for which it returned nil is still sent.
func TestSchedulePendingAgainstAnEndFromElsewhere(t *testing.T) {
	for name, end := range map[string]func(l *line){
		"close":       func(l *line) { _ = l.c.Close() },
		"close write": func(l *line) { _ = l.c.CloseWrite() },
		"detach":      func(l *line) { _ = l.c.Detach() },
		"server":      func(l *line) { l.c.closeIfIdle() },
	} {
		t.Run(name, func(t *testing.T) {
			explored.Explore(t, 2, func(r *interleave.Run) {
				l := newLine(r, 100)
				l.owing()
				l.poll()
				var promised string
				r.Go("user", func() {
					for _, s := range []string{"ab", "cd"} {
						if l.write(s) != nil {
							return
						}
						promised += s
					}
				})
				r.Go("end", func() { end(l) })
				r.Check(func() {
					if l.sent != promised {
						r.Failf("sent %q, promised %q: %v", l.sent, promised, l.c.life.load())
					}
					if b := l.c.life.load(); b.has(bitPending | bitSendFailed) {
						r.Failf("still pending: %v", b)
					}
				})
			})
		})
	}
}

// A second writer waits for the poller's send and goes on behind it.
func TestSchedulePendingAgainstAWriterWithATimeout(t *testing.T) {
	explored.Explore(t, 1, func(r *interleave.Run) {
		l := newLine(r, 1)
		l.owing()
		l.poll()
		var err error
		r.Go("user", func() {
			if err := l.write("ab"); err != nil {
				r.Failf("%v", err)
			}
			_ = l.c.SetWriteDeadline(time.Unix(1, 0))
			err = l.write("cd")
			_ = l.c.SetWriteDeadline(time.Time{})
		})
		r.Go("peer", func() { l.drains(10) })
		r.Check(func() {
			if err != nil && !errors.Is(err, ErrWriteTimeout) {
				r.Failf("%v", err)
			}
			if l.sentInOrder("abcd"); len(l.sent) < 2 || err == nil && l.sent != "abcd" {
				r.Failf("sent %q, error %v", l.sent, err)
			}
		})
	})
}

// A connection that breaks ends with its pending output.
func TestSchedulePendingAgainstABrokenConnection(t *testing.T) {
	explored.Explore(t, 2, func(r *interleave.Run) {
		l := newLine(r, 1)
		l.owing()
		l.poll()
		r.Go("user", func() {
			_ = l.write("ab")
			_ = l.c.Close()
		})
		r.Go("peer", func() {
			interleave.Step("break", l)
			l.broken, l.told = syscall.ECONNRESET, 0
		})
		r.Check(func() {
			if b := l.c.life.load(); b.phase() < phaseReleased || b.has(bitPending) {
				r.Failf("not over: %v, sent %q", b, l.sent)
			}
		})
	})
}

// After Close a peer that takes no more ends the pending output by its patience, and one that takes the rest in time
// gets it all.
func TestSchedulePendingAfterCloseEndsByPatience(t *testing.T) {
	explored.Explore(t, 1, func(r *interleave.Run) {
		l := newLine(r, 1)
		l.owing()
		l.poll()
		if err := l.write("ab"); err != nil || !l.c.life.load().has(bitPending) {
			r.Failf("nothing is pending: %v", err)
		}
		closed := false
		afterClose := func() bool { return closed }
		r.Go("user", func() {
			_ = l.c.Close()
			closed = true
		})
		r.Go("peer", func() { l.drains(1) })
		r.Daemon("clock", afterClose, func() {
			for range 2 {
				interleave.Await("pass", l, afterClose)
				r.Advance(lingerLimit)
			}
		})
		r.Check(func() {
			b := l.c.life.load()
			if b.phase() < phaseReleased || b.has(bitPending) || l.sent != "ab" && !b.has(bitSendFailed) {
				r.Failf("not over: %v, sent %q", b, l.sent)
			}
		})
	})
}

// queued is a sender that counts.
type queued struct{ hasPending, sent int }

func (q *queued) addPending() bool               { q.hasPending++; return true }
func (q *queued) sendPending()                   { q.sent++ }
func (q *queued) beginSend() (int, []byte, bool) { return 0, nil, false }
func (q *queued) endSend(int32)                  {}

func TestScheduleQueueOfSendersKeepsNone(t *testing.T) {
	explored.Explore(t, 3, func(r *interleave.Run) {
		w := newWorker(&poller{counts: new(metric.Set)})
		w.io.policy = plainCalls()
		var senders [3]queued
		var added [3]bool
		r.Go("poller", func() {
			for range 2 {
				w.sends.setOpen()
				w.sendAll(w.sends.take())
				w.sendAll(w.sends.shut())
			}
		})
		for i := range senders {
			r.Go("sender", func() { added[i] = w.sends.add(&senders[i]) })
		}
		r.Check(func() {
			for i, s := range senders {
				if want := map[bool]int{true: 1}[added[i]]; s.hasPending != want || s.sent != want {
					r.Failf("sender %d: added %v, hasPending %d, sent %d", i, added[i], s.hasPending, s.sent)
				}
			}
		})
	})
}
