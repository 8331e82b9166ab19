//go:build interleave && linux && !netconn

package netpoll

// Waiting under every schedule: a Flush for room, against its timeout and the end; a reader for input, against the
// limit, its deadline and the end. A wake-up that is lost is a deadlock here.

import (
	"errors"
	"syscall"
	"testing"
	"time"

	"github.com/cloudwego/netpoll/internal/interleave"
	"github.com/cloudwego/netpoll/internal/interleave/explored"
)

// sentInOrder checks that what was flushed is sent, in order, or still there.
func (l *line) sentInOrder(flushed string) {
	rest, _ := l.c.out.Peek(l.c.out.Len())
	if got := l.sent + string(rest); got != flushed {
		l.r.Failf("sent %q, left %q, of %q", l.sent, rest, flushed)
	}
}

func TestScheduleFlushAgainstRoomAndTimeout(t *testing.T) {
	for name, late := range map[string]func(l *line){
		"deadline": func(l *line) { _ = l.c.SetWriteDeadline(time.Unix(1, 0)) },
		"timeout":  func(l *line) { interleave.Step("pass", l); l.r.Advance(time.Second) },
	} {
		t.Run(name, func(t *testing.T) {
			explored.Explore(t, 2, func(r *interleave.Run) {
				l := newLine(r, 2)
				if name == "timeout" {
					_ = l.c.SetWriteTimeout(time.Second)
				}
				l.poll()
				var err error
				r.Go("flush", func() {
					_, _ = l.c.WriteString("hello")
					err = l.c.Flush()
					if err == nil {
						return
					}
					if !errors.Is(err, ErrWriteTimeout) {
						r.Failf("%v", err)
					}
					_ = l.c.SetWriteDeadline(time.Time{})
				})
				r.Go("peer", func() { l.drains(1); l.drains(10) })
				r.Go("late", func() { late(l) })
				r.Check(func() {
					l.sentInOrder("hello")
					if err == nil && l.sent != "hello" {
						r.Failf("Flush returned with %q sent", l.sent)
					}
					_ = l.c.SetWriteDeadline(time.Time{})
					if again := l.c.Flush(); again != nil || l.sent != "hello" {
						r.Failf("the next Flush: %v, sent %q", again, l.sent)
					}
				})
			})
		})
	}
}

func TestScheduleFlushAgainstTheEnd(t *testing.T) {
	for name, end := range map[string]func(l *line){
		"close":       func(l *line) { _ = l.c.Close() },
		"detach":      func(l *line) { _ = l.c.Detach() },
		"close write": func(l *line) { _ = l.c.CloseWrite() },
		"broken": func(l *line) {
			interleave.Step("break", l)
			l.broken, l.told = syscall.EPIPE, 0
			l.eof = true
		},
	} {
		t.Run(name, func(t *testing.T) {
			explored.Explore(t, 2, func(r *interleave.Run) {
				l := newLine(r, 2)
				l.poll()
				var err error
				r.Go("flush", func() {
					_, _ = l.c.WriteString("hello")
					err = l.c.Flush()
				})
				r.Go("peer", func() { l.drains(10) })
				r.Go("end", func() { end(l) })
				r.Check(func() {
					if err == nil && l.sent != "hello" {
						r.Failf("Flush returned nil with %q sent", l.sent)
					}
					if err != nil && l.sent == "hello" && !errors.Is(err, ErrConnClosed) && !errors.Is(err, syscall.EPIPE) {
						r.Failf("%v", err)
					}
				})
			})
		})
	}
}

// A socket reports a reset to one call. If that is a Flush, a receive at the same time finds the end of the stream,
// which is not orderly: the peer's last bytes may be missing.
func TestScheduleResetIsNoOrderlyEnd(t *testing.T) {
	for name, also := range map[string]func(l *line){
		"flush":       func(*line) {},
		"close write": func(l *line) { _ = l.c.CloseWrite() },
	} {
		t.Run(name, func(t *testing.T) {
			explored.Explore(t, 2, func(r *interleave.Run) {
				l := newLine(r, 100)
				l.sendsOnly()
				_, _ = l.c.WriteString("hello")
				l.poll()
				r.Go("flush", func() { _ = l.c.Flush() })
				r.Go("peer", func() { l.resets(); also(l) })
				r.Check(func() {
					if b := l.c.life.load(); !b.has(bitEnded) || b.errno() != syscall.ECONNRESET {
						r.Failf("%v", b)
					}
				})
			})
		})
	}
}

func TestScheduleReaderAgainstInputAndDeadline(t *testing.T) {
	explored.Explore(t, 2, func(r *interleave.Run) {
		l := newLine(r, 100)
		l.poll()
		r.Go("reader", func() {
			p, err := l.c.Next(2)
			if err != nil {
				if !errors.Is(err, ErrReadTimeout) {
					r.Failf("%v", err)
				}
				_ = l.c.SetReadDeadline(time.Time{})
				p, err = l.c.Next(2)
			}
			if err == nil && string(p) != "ab" || err != nil && !errors.Is(err, ErrReadTimeout) {
				r.Failf("%q %v", p, err)
			}
		})
		r.Go("peer", func() { l.arrives("a"); l.arrives("b") })
		r.Go("late", func() { _ = l.c.SetReadDeadline(time.Unix(1, 0)) })
	})
}

func TestScheduleReaderAgainstTheEnd(t *testing.T) {
	for name, end := range map[string]func(l *line){
		"close":      func(l *line) { _ = l.c.Close() },
		"close read": func(l *line) { _ = l.c.CloseRead() },
		"peer":       func(l *line) { l.hangsUp() },
		"server": func(l *line) {
			interleave.Step("shut down", l)
			l.ending = true
			l.c.closeIfIdle()
		},
	} {
		t.Run(name, func(t *testing.T) {
			explored.Explore(t, 1, func(r *interleave.Run) {
				l := newLine(r, 100)
				l.c.owner = l
				l.poll()
				r.Go("reader", func() {
					p, err := l.c.Next(1)
					if err == nil && string(p) != "a" {
						r.Failf("%q", p)
					}
					if _, again := l.c.Next(1); again == nil && err == nil { // after an error it is the first one
						r.Failf("more than was sent")
					}
				})
				r.Go("peer", func() { l.arrives("a") })
				r.Go("end", func() { end(l) })
			})
		})
	}
}

// A reader gets what came before the end, and then the end.
func TestScheduleReaderGetsAllBeforeTheEnd(t *testing.T) {
	explored.Explore(t, 2, func(r *interleave.Run) {
		l := newLine(r, 100)
		l.poll()
		r.Go("reader", func() {
			if p, err := l.c.Next(1); err != nil || string(p) != "a" {
				r.Failf("%q %v", p, err)
			}
			if _, err := l.c.Next(1); !errors.Is(err, ErrEOF) {
				r.Failf("%v", err)
			}
		})
		r.Go("peer", func() {
			l.arrives("a")
			l.hangsUp()
		})
	})
}

// Input at its limit is received again when there is room, whatever makes it.
func TestScheduleNoResumeIsLost(t *testing.T) {
	explored.Explore(t, 2, func(r *interleave.Run) {
		l := newLine(r, 100)
		l.c.window.limit.Store(2)
		l.c.window.base, l.c.window.size = 1, 1
		l.input = "abcde"
		l.poll()
		got := ""
		r.Go("reader", func() {
			for range 5 {
				s, err := l.c.ReadString(1)
				if err != nil {
					r.Failf("%v", err)
				}
				got += s
			}
		})
		r.Check(func() {
			if got != "abcde" {
				r.Failf("got %q", got)
			}
		})
	})
}

// Two calls of Read have their turn, and one that fails leaves the other's input alone.
func TestScheduleReadersTakeTurns(t *testing.T) {
	explored.Explore(t, 2, func(r *interleave.Run) {
		l := newLine(r, 100)
		l.poll()
		var got [2]string
		for i := range got {
			r.Go("reader", func() {
				p := make([]byte, 1)
				n, err := l.c.Read(p)
				if err != nil {
					r.Failf("%v", err)
				}
				got[i] = string(p[:n])
			})
		}
		r.Go("peer", func() { l.arrives("a"); l.arrives("b") })
		r.Check(func() {
			if got[0]+got[1] != "ab" && got[0]+got[1] != "ba" {
				r.Failf("got %q", got)
			}
		})
	})
}
