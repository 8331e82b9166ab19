package netpoll

// This file holds the handshake of TLS: when it begins, where it runs, and what follows; and the limit on handshakes.

import (
	"crypto/tls"
	"net"

	"github.com/cloudwego/netpoll/internal/interleave/clock"
	"github.com/cloudwego/netpoll/internal/interleave/sync"
	"github.com/cloudwego/netpoll/internal/metric"
	"github.com/cloudwego/netpoll/internal/runner"
)

// use implements layer.
func (t *tlsTransport) use() {
	if !t.used.Load() {
		t.used.Store(true)
	}
	t.startHandshake()
}

// startHandshake begins the handshake if it may begin: when the connection is used, and a server has received something.
// The goroutine that makes the last of these true calls it, so one of them finds all true.
func (t *tlsTransport) startHandshake() {
	if !t.is(tlsFresh) || !t.used.Load() || !t.side.client && t.in.Len() == 0 && !t.inEnded.Load() {
		return
	}
	if !t.move(tlsFresh, tlsHandshaking) {
		return
	}
	if !t.up.hold() {
		t.move(tlsHandshaking, tlsFailed)
		return // it is closed already
	}
	t.side.limiter.acquire(func() {
		runner.Run(t.up.context(), t.runHandshake)
	})
}

// limitTime gives the handshake a time limit, which counts from now.
func (t *tlsTransport) limitTime() {
	if t.side.timeout <= 0 || t.is(tlsOpen) {
		return
	}
	t.limit = clock.AfterFunc(t.side.timeout, func() {
		t.cancel(Exception(ErrReadTimeout, "in TLS handshake"))
	})
}

// stopLimit undoes limitTime. No other goroutine may call it.
func (t *tlsTransport) stopLimit() {
	if t.limit != nil {
		t.limit.Stop()
		t.limit = nil
	}
}

// cancel ends a handshake that goes on, or has not begun, with err.
func (t *tlsTransport) cancel(err error) {
	if t.is(tlsOpen) {
		return
	}
	t.cancelWith(err)
	if t.move(tlsFresh, tlsFailed) && t.up.hold() {
		defer t.up.drop()
		t.handshakeFailed(err)
	}
}

// cancelWith makes the wire return err instead of waiting.
func (t *tlsTransport) cancelWith(err error) {
	if t.cancelled.Load() == nil {
		t.cancelled.CompareAndSwap(nil, &connError{err})
	}
	t.arrival.Wake()
}

// runHandshake runs in the runner, as the opener, with a reference.
func (t *tlsTransport) runHandshake() {
	defer t.up.drop()
	defer t.endHandshake() // also if a callback of the configuration ends the goroutine
	t.slot = true
	metric.TLS.Started.Add(1)
	var b batch
	t.up.guard(handshakeCallback, func() {
		returned := false
		defer func() {
			if !returned { // a callback of the configuration has panicked, or has ended the goroutine
				t.handshakeFailed(Exception(ErrPanic, "in TLS handshake"))
			}
		}()
		err := t.conn.HandshakeContext(t.up.context())
		returned = true
		if cancelled := t.cancelled.Load(); err == nil && cancelled != nil && cancelled.err != net.ErrClosed {
			err = cancelled.err // a callback has taken too long
		}
		if err != nil {
			t.handshakeFailed(t.handshakeError(err))
			return
		}
		b.inline = true
		t.opened(&b)
	})
	t.endHandshake()
	for _, task := range b.ready {
		task.runTask()
	}
	if t.is(tlsOpen) && t.forGood {
		t.openForGood()
	}
}

// handshakeError returns what has ended a handshake: the reason of a cancel, rather than what crypto/tls made of it.
func (t *tlsTransport) handshakeError(err error) error {
	if cancelled := t.cancelled.Load(); cancelled != nil && cancelled.err != net.ErrClosed {
		return cancelled.err
	}
	return err
}

// endHandshake gives up what only a handshake needs.
func (t *tlsTransport) endHandshake() {
	t.leaveSlot()
	t.stopLimit()
}

// opened follows a handshake that has succeeded. Tasks that are due are in b then.
func (t *tlsTransport) opened(b *batch) {
	t.version = 3 // TLS 1.3 calls itself 1.2 in the headers of records
	if v := t.conn.ConnectionState().Version; v < tls.VersionTLS12 {
		t.version = byte(v)
	}
	t.forGood = t.side.client && t.side.config.Renegotiation != tls.RenegotiateNever &&
		t.conn.ConnectionState().Version < tls.VersionTLS13
	t.blocking = t.forGood
	t.own.Store(0)
	if late := t.cancelled.Load(); late != nil && late.err != net.ErrClosed {
		t.cancelled.CompareAndSwap(late, nil) // its time was over when it had ended
	}
	t.move(tlsHandshaking, tlsOpen)
	metric.TLS.Done.Add(1)
	if t.out.Len() > 0 {
		t.up.sendOwn()
	}
	if task := t.up.handshakeDone(); task != nil {
		b.ready = append(b.ready, task)
	}
	if t.forGood {
		return
	}
	for {
		t.open(b)
		if t.role.release() {
			t.resumeUnopened()
			return
		}
	}
}

// handshakeFailed follows one that has failed.
func (t *tlsTransport) handshakeFailed(err error) {
	metric.TLS.Failed.Add(1)
	t.failure.CompareAndSwap(nil, &connError{err}) // unlike fail, also where an errno says it
	t.phase.Store(uint32(tlsFailed))
	t.inEnded.Store(true)
	_ = t.below.updateInterest()
	t.up.handshakeFailed(err)
}

// reportFailure implements layer.
func (t *tlsTransport) reportFailure(conn net.Conn) {
	if failed := t.side.failed; failed != nil {
		failed(conn, t.failureNow())
	}
}

// leaveSlot makes room for another handshake while this one waits for its peer, or when it has ended.
func (t *tlsTransport) leaveSlot() {
	if t.slot {
		t.slot = false
		t.side.limiter.release()
	}
}

// takeSlot undoes leaveSlot. It waits until it is the handshake's turn.
func (t *tlsTransport) takeSlot() {
	if t.slot || !t.is(tlsHandshaking) || t.cancelled.Load() != nil {
		return
	}
	granted := make(chan struct{})
	t.side.limiter.acquire(func() { close(granted) })
	<-granted
	t.slot = true
}

// handshakeLimiter limits how many handshakes compute at a time. Those that wait for their peer do not count, so slow
// peers keep no others from being served.
type handshakeLimiter struct {
	// mu guards the fields below.
	mu      sync.Mutex
	free    int
	waiting []func() // in the order of their calls
}

func newHandshakeLimiter(n int) *handshakeLimiter { return &handshakeLimiter{free: n} }

// acquire calls run, at once or when one of those before it has called release.
func (l *handshakeLimiter) acquire(run func()) {
	if l == nil || l.take(run) {
		run()
	}
}

// take returns false if run has to wait.
func (l *handshakeLimiter) take(run func()) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.free == 0 {
		l.waiting = append(l.waiting, run)
		return false
	}
	l.free--
	return true
}

// release undoes acquire.
func (l *handshakeLimiter) release() {
	if l == nil {
		return
	}
	if run := l.next(); run != nil {
		run()
	}
}

// next returns the first that waits, to be run in place of the one that has ended.
func (l *handshakeLimiter) next() (run func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.waiting) == 0 {
		l.free++
		return nil
	}
	run = l.waiting[0]
	l.waiting[0] = nil
	l.waiting = l.waiting[1:]
	return run
}
