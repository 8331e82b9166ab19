//go:build interleave && linux && !netconn

package netpoll

// The end of the peer's side under every schedule: the input that a handler sees before it, and answers after it.

import (
	"context"
	"testing"

	"github.com/cloudwego/netpoll/internal/interleave"
	"github.com/cloudwego/netpoll/internal/interleave/explored"
)

// The handler that is called on an inactive connection gets all that the peer has sent, although the input was at its
// limit when the peer hung up, and whenever the handler is set.
func TestScheduleInactiveConnectionHasAllOfItsInput(t *testing.T) {
	for name, wait := range map[string]bool{"handler set meanwhile": false, "handler set before": true} {
		t.Run(name, func(t *testing.T) {
			explored.Explore(t, 2, func(r *interleave.Run) {
				l := newLine(r, 100)
				n := countCalls(l)
				l.c.window.limit.Store(2)
				on := OnRequest(func(ctx context.Context, conn Connection) error {
					active := conn.IsActive()
					_ = n.onRequest(ctx, conn)
					if !active && n.seen != "abcd" {
						r.Failf("inactive, and only %q was seen: %v", n.seen, l.c.life.load())
					}
					return nil
				})
				l.c.calls.onRequest.Store(nil)
				if wait {
					l.c.calls.onRequest.Store(&on)
				}
				l.poll()
				r.Go("peer", func() {
					l.arrives("abcd")
					l.hangsUp()
				})
				if !wait {
					r.Go("user", func() { _ = l.c.SetOnRequest(on) })
				}
				r.Check(func() {
					if n.seen != "abcd" || n.closes != 1 {
						r.Failf("seen %q, closes %d: %v", n.seen, n.closes, l.c.life.load())
					}
				})
			})
		})
	}
}

// Output of OnDisconnect is sent: the connection is not closed before it has returned.
func TestScheduleOnDisconnectAnswersBeforeTheClose(t *testing.T) {
	explored.Explore(t, 2, func(r *interleave.Run) {
		l := newLine(r, 100)
		n := countCalls(l).handlerStays()
		onDisconnect := OnDisconnect(func(ctx context.Context, conn Connection) {
			n.onDisconnect(ctx, conn)
			if _, err := conn.Write([]byte("bye")); err != nil {
				r.Failf("Write in OnDisconnect: %v: %v", err, l.c.life.load())
			}
		})
		l.c.calls.onDisconnect.Store(&onDisconnect)
		l.poll()
		r.Go("peer", func() {
			l.arrives("a")
			l.hangsUp()
		})
		r.Check(func() {
			if n.seen != "a" || l.sent != "bye" || n.closes != 1 {
				r.Failf("seen %q, sent %q, closes %d: %v", n.seen, l.sent, n.closes, l.c.life.load())
			}
		})
	})
}

// Output of the handler's last call is sent, although OnDisconnect has returned before: the connection is not closed
// while a handler runs.
func TestScheduleHandlerAnswersBeforeTheClose(t *testing.T) {
	explored.Explore(t, 2, func(r *interleave.Run) {
		l := newLine(r, 100)
		n := countCalls(l).handlerStays()
		answers := 0
		onRequest := OnRequest(func(ctx context.Context, conn Connection) error {
			_ = n.onRequest(ctx, conn)
			answers++
			if _, err := conn.Write([]byte("re")); err != nil {
				r.Failf("Write in OnRequest: %v: %v", err, l.c.life.load())
			}
			return nil
		})
		l.c.calls.onRequest.Store(&onRequest)
		l.poll()
		r.Go("peer", func() {
			l.arrives("a")
			l.hangsUp()
		})
		r.Check(func() {
			if n.seen != "a" || answers == 0 || len(l.sent) != 2*answers || n.closes != 1 {
				r.Failf("seen %q, sent %q, closes %d: %v", n.seen, l.sent, n.closes, l.c.life.load())
			}
		})
	})
}

// A connection that ends without having sent anything gets one call, whenever the handler is set, and one that may stay
// half-open gets its last call and stays.
func TestScheduleEndWithoutInputIsSeenOnce(t *testing.T) {
	for name, halfOpen := range map[string]bool{"closes": false, "half-open": true} {
		t.Run(name, func(t *testing.T) {
			explored.Explore(t, 2, func(r *interleave.Run) {
				l := newLine(r, 100)
				n := countCalls(l)
				l.c.halfOpen.Store(halfOpen)
				ends, requests := 0, 0
				on := OnRequest(func(ctx context.Context, conn Connection) error {
					requests++
					if !conn.IsActive() {
						ends++
					}
					return n.onRequest(ctx, conn)
				})
				l.c.calls.onRequest.Store(nil)
				l.poll()
				r.Go("peer", func() { l.hangsUp() })
				r.Go("user", func() { _ = l.c.SetOnRequest(on) })
				r.Check(func() {
					closes := 1
					if halfOpen {
						closes = 0
					}
					if requests != 1 || ends != 1 || n.closes != closes {
						r.Failf("%d requests, %d of the end, closes %d: %v", requests, ends, n.closes, l.c.life.load())
					}
				})
			})
		})
	}
}
