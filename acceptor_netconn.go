package netpoll

// This file holds accepting from a listener whose Accept blocks: the goroutine of Serve calls it.

import (
	"errors"
	"net"
)

// acceptLoop accepts in the goroutine that calls open.
type acceptLoop struct {
	a     *acceptor
	ln    *netListener
	again chan struct{} // holds one wake-up: the acceptor has been resumed, or has ended
}

// newSource implements serverListener.
func (ln *netListener) newSource(a *acceptor) acceptSource {
	return &acceptLoop{a: a, ln: ln, again: make(chan struct{}, 1)}
}

// updateInterest implements acceptSource.
func (l *acceptLoop) updateInterest() { l.wake() }

// close implements acceptSource. A blocked Accept ends when the listener is closed, which the caller of finish does.
func (l *acceptLoop) close() { l.wake() }

func (l *acceptLoop) wake() {
	select {
	case l.again <- struct{}{}:
	default: // one is pending already
	}
}

// open implements acceptSource. At the connection limit it asks for no new connection, so that they wait in the
// listener's backlog. A connection that Accept returned while another listener reached the limit waits here.
func (l *acceptLoop) open() error {
	for l.waitFor(l.a.hasRoom) {
		c, err := l.ln.accept()
		if err != nil {
			if !l.goOnAfter(err) {
				return nil
			}
			continue
		}
		if !l.waitFor(l.a.acquire) {
			c.close(causeServer)
			return nil
		}
		if err := l.a.admit(c); err != nil {
			l.a.wait(err)
		}
	}
	return nil
}

// waitFor waits until get, which asks the limit, returns true. It returns false if the acceptor has ended before.
func (l *acceptLoop) waitFor(get func() bool) bool {
	for !get() {
		if l.a.hasEnded() {
			return false
		}
		<-l.again
	}
	return true
}

// goOnAfter handles err from Accept, and reports whether to accept again.
func (l *acceptLoop) goOnAfter(err error) bool {
	switch {
	case l.ln.outlives(err):
		return false // Serve goes on until Shutdown
	case errors.Is(err, net.ErrClosed):
		l.a.finish(l.ln.closedError("accept"))
		return false
	case isTemporary(err):
		l.a.wait(err)
		return true
	}
	l.a.finish(err)
	return false
}

// isTemporary reports whether waiting may help. As in net/http, the error itself says so.
func isTemporary(err error) bool {
	var t interface{ Temporary() bool }
	return errors.As(err, &t) && t.Temporary()
}
