//go:build interleave && linux && !netconn

package netpoll

// The life of a connection under every schedule: its end from several sides at once, the run of the handlers and who
// kicks it, and the order of the callbacks.

import (
	"context"
	"io"
	"os"
	"runtime"
	"testing"

	"github.com/cloudwego/netpoll/internal/interleave"
	"github.com/cloudwego/netpoll/internal/interleave/explored"
)

// calls counts the callbacks of a connection and fails where they come in the wrong order.
type calls struct {
	l           *line
	inside      int // handlers that run
	seen        string
	leaves      bool // the handler ends its goroutine
	requests    int
	connects    int
	disconnects int
	closes      int
}

// countCalls gives the connection of l all its callbacks; the handler takes what is there.
func countCalls(l *line) *calls {
	n := &calls{l: l}
	c := l.c
	onRequest, onDisconnect := OnRequest(n.onRequest), OnDisconnect(n.onDisconnect)
	c.calls.onRequest.Store(&onRequest)
	c.calls.onDisconnect.Store(&onDisconnect)
	l.r.Quiet(&c.calls.onDisconnect)
	_ = c.AddCloseCallback(n.onClose)
	l.r.Check(n.check)
	return n
}

// handlerStays is for scenarios in which no thread sets another handler.
func (n *calls) handlerStays() *calls {
	n.l.r.Quiet(&n.l.c.calls.onRequest)
	return n
}

func (n *calls) onRequest(_ context.Context, conn Connection) error {
	if n.inside++; n.inside > 1 {
		n.l.r.Failf("two runs of the handlers at a time")
	}
	p, err := conn.Reader().Next(conn.Reader().Len())
	if err == nil {
		n.seen += string(p)
	}
	_ = conn.Reader().Release()
	n.inside--
	n.requests++
	if n.leaves {
		runtime.Goexit()
	}
	return nil
}

func (n *calls) onConnect(ctx context.Context, _ Connection) context.Context {
	interleave.Step("OnConnect", n)
	n.connects++
	if n.seen != "" || n.disconnects+n.closes > 0 {
		n.l.r.Failf("OnConnect comes after others")
	}
	return ctx
}

func (n *calls) onDisconnect(context.Context, Connection) {
	interleave.Step("OnDisconnect", n)
	n.disconnects++
	if n.closes > 0 {
		n.l.r.Failf("OnDisconnect comes after the close callbacks")
	}
}

func (n *calls) onClose(Connection) error {
	interleave.Step("CloseCallback", n)
	n.closes++
	if n.inside > 0 || n.l.released > 0 {
		n.l.r.Failf("the close callbacks run beside a handler, or after the release")
	}
	return nil
}

func (n *calls) check() {
	closed := 0
	if n.l.c.life.load().phase() >= phaseReleased {
		closed = 1
	}
	if n.closes != closed || n.connects > 1 || n.disconnects > 1 {
		n.l.r.Failf("calls: %+v", *n)
	}
}

func TestScheduleEndFromEverySideReleasesOnce(t *testing.T) {
	for name, other := range map[string]func(l *line){
		"second close": func(l *line) { _ = l.c.Close() },
		"detach":       func(l *line) { _ = l.c.Detach() },
		"server":       func(l *line) { l.c.closeIfIdle() },
		"flush": func(l *line) {
			_, _ = l.c.WriteString("out")
			_ = l.c.Flush()
		},
	} {
		t.Run(name, func(t *testing.T) {
			explored.Explore(t, 1, func(r *interleave.Run) {
				l := newLine(r, 100)
				countCalls(l).handlerStays()
				l.input, l.eof = "in", true
				l.poll()
				r.Go("user", func() { _ = l.c.Close() })
				r.Go("other", func() { other(l) })
				r.Check(func() {
					if b := l.c.life.load(); b.phase() < phaseReleased {
						r.Failf("not closed: %v", b)
					}
				})
			})
		})
	}
}

// The peer's end closes a connection whose handler has seen all input, whenever the handler is set.
func TestSchedulePeersEndIsSeenAndClosesOnce(t *testing.T) {
	explored.Explore(t, 1, func(r *interleave.Run) {
		l := newLine(r, 100)
		n := countCalls(l)
		l.c.calls.onRequest.Store(nil)
		l.poll()
		r.Go("peer", func() {
			l.arrives("last")
			l.hangsUp()
		})
		r.Go("user", func() { _ = l.c.SetOnRequest(n.onRequest) })
		r.Check(func() {
			if n.seen != "last" || n.disconnects != 1 || n.closes != 1 {
				r.Failf("seen %q, disconnects %d, closes %d: %v", n.seen, n.disconnects, n.closes, l.c.life.load())
			}
		})
	})
}

// Whatever arrives while the handlers are ending is seen by them.
func TestScheduleNoNotificationIsLost(t *testing.T) {
	explored.Explore(t, 3, func(r *interleave.Run) {
		l := newLine(r, 100)
		n := countCalls(l).handlerStays()
		l.poll()
		r.Go("peer", func() {
			l.arrives("a")
			l.arrives("b")
			l.arrives("c")
		})
		r.Check(func() {
			if n.seen != "abc" {
				r.Failf("seen %q: %v", n.seen, l.c.life.load())
			}
		})
	})
}

// A handler that ends its goroutine closes its connection, whatever arrives or ends meanwhile, and is not called again.
func TestScheduleHandlerThatEndsItsGoroutineClosesOnce(t *testing.T) {
	SetLoggerOutput(io.Discard)
	defer SetLoggerOutput(os.Stderr)
	for name, other := range map[string]func(l *line){
		"input": func(l *line) { l.arrives("b") },
		"end":   func(l *line) { l.hangsUp() },
		"close": func(l *line) { _ = l.c.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			explored.Explore(t, 1, func(r *interleave.Run) {
				l := newLine(r, 100)
				n := countCalls(l).handlerStays()
				n.leaves = true
				l.poll()
				r.Go("peer", func() { l.arrives("a") })
				r.Go("other", func() { other(l) })
				r.Check(func() {
					b := l.c.life.load()
					if n.requests > 1 || n.closes != 1 || b.has(bitRunning|bitNotified) {
						r.Failf("%+v: %v", *n, b)
					}
					if b.cause() == causePanic != (n.requests == 1) && b.cause() != causeUser {
						r.Failf("%d calls: %v", n.requests, b)
					}
				})
			})
		})
	}
}

// OnConnect comes first although it is set late, and OnDisconnect after it.
func TestScheduleConnectComesBeforeRequestsAndDisconnect(t *testing.T) {
	explored.Explore(t, 1, func(r *interleave.Run) {
		l := newLine(r, 100)
		n := countCalls(l).handlerStays()
		l.c.life.clear(bitConnected) // as prepare does for a server's OnConnect
		onConnect := OnConnect(n.onConnect)
		l.c.calls.onConnect.Store(&onConnect)
		l.poll()
		r.Go("start", func() { l.c.trigger(nil) })
		r.Go("peer", func() {
			l.arrives("a")
			l.hangsUp()
		})
		r.Check(func() {
			if n.connects != 1 || n.disconnects != 1 || n.seen != "a" || n.closes != 1 {
				r.Failf("%+v: %v", *n, l.c.life.load())
			}
		})
	})
}

// Starting, closing and rearming may meet in any order.
func TestScheduleStartAgainstClose(t *testing.T) {
	explored.Explore(t, 1, func(r *interleave.Run) {
		l := makeLine(r, 100)
		l.input = "a"
		n := countCalls(l).handlerStays()
		l.poll()
		r.Go("start", func() { _ = l.c.start(causePoller) })
		r.Go("user", func() { _ = l.c.Close() })
		r.Go("other", func() { l.c.closeIfIdle() })
		r.Check(func() {
			if n.closes != 1 {
				r.Failf("%+v: %v", *n, l.c.life.load())
			}
		})
	})
}
