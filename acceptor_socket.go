//go:build (linux && !netconn) || darwin || dragonfly || freebsd || netbsd || openbsd

package netpoll

// This file holds accepting from a listener that a poller watches.

import (
	"errors"
	"syscall"
)

// acceptBatch is how many connections are accepted before the others of the poller have their turn.
const acceptBatch = 64

// acceptWatch accepts on a poller, which does not watch the listener while its acceptor is paused.
type acceptWatch struct {
	a     *acceptor
	ln    *listener
	watch watch
}

// newSource implements serverListener.
func (ln *listener) newSource(a *acceptor) acceptSource { return &acceptWatch{a: a, ln: ln} }

// open implements acceptSource.
func (d *acceptWatch) open() error {
	return d.ln.hold(func(fd int) error { return d.watch.openAny(fd, d, d.interest()) })
}

// updateInterest implements acceptSource.
func (d *acceptWatch) updateInterest() { _ = d.watch.updateInterest() }

// close implements acceptSource.
func (d *acceptWatch) close() { d.watch.close() }

// interest implements pollHandler.
func (d *acceptWatch) interest() pollEvent {
	if d.a.paused.Load() {
		return 0
	}
	return evRead
}

// onPoll implements pollHandler.
func (d *acceptWatch) onPoll(ev pollEvent, _ *batch) {
	if ev&evDetached != 0 {
		d.a.finish(errors.New("netpoll: accept: the poller failed"))
		return
	}
	if err := d.ln.unblock(); err != nil { // else a program that makes it blocking stops a poller
		d.goOnAfter(err)
		return
	}
	for range acceptBatch {
		if !d.acceptOne() {
			return
		}
	}
}

// acceptOne accepts a connection and says whether there may be another one to accept at once.
func (d *acceptWatch) acceptOne() bool {
	a := d.a
	if !a.acquire() {
		return false
	}
	socket, err := d.ln.accept()
	if err != nil {
		a.srv.limit.release()
		return d.goOnAfter(err)
	}
	if err := a.admit(newSocketConnection(socket)); err != nil {
		return d.goOnAfter(err)
	}
	return true
}

// goOnAfter handles err from accept, and reports whether there may be more to accept at once.
func (d *acceptWatch) goOnAfter(err error) bool {
	a := d.a
	if a.closedByUser(err) {
		return false
	}
	switch errno := asErrno(err); errno {
	case syscall.EAGAIN:
		a.drained()
		return false
	case syscall.EINTR, syscall.ECONNABORTED, syscall.EPROTO:
		return true // this new connection is gone already
	case 0, syscall.EBADF, syscall.EINVAL, syscall.ENOTSOCK, syscall.EOPNOTSUPP:
		a.finish(d.ln.opError("accept", err)) // waiting would not help
		return false
	default:
		a.wait(err)
		return false
	}
}

// drained notes that the backlog is empty: no new connection waits for lack of descriptors.
func (a *acceptor) drained() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.short = false
}
