package netpoll

// This file holds the acceptor: what accepts from one listener for one server, on a poller. It accepts as long as there
// are newcomers, a place and a descriptor for each. When one of the latter is missing it stalls: the listener is not
// watched until there is reason to try again.

import (
	"errors"
	"net"
	"sync/atomic"
	"syscall"
	"time"
)

const (
	// acceptBatch is how many connections are accepted before the others of the poller have their turn.
	acceptBatch = 64

	// minBackOff and maxBackOff bound the time to wait when the system has no descriptors or memory left. It doubles
	// from one failure to the next, until a connection is accepted.
	minBackOff = 5 * time.Millisecond
	maxBackOff = time.Second

	// reportInterval is the least time between two log messages of one acceptor.
	reportInterval = time.Second
)

// acceptor is one running Serve. Its state is guarded by the server's mu.
type acceptor struct {
	srv   *server
	ln    *listener
	watch watch

	// stalled is written under the server's mu; the watch reads it to know what to watch for.
	stalled atomic.Bool

	ended    bool
	backOff  time.Duration // the last time waited; 0 after a success
	retry    *time.Timer   // ends the stall for want of descriptors
	short    bool          // some newcomer could not be accepted since the backlog was last seen empty
	reported time.Time     // when that was last logged

	err  error         // why it ended; written before done is closed
	done chan struct{} // closed when it has ended
}

func newAcceptor(s *server, ln *listener) *acceptor {
	return &acceptor{srv: s, ln: ln, done: make(chan struct{})}
}

// start begins to accept. If that fails it has ended.
func (a *acceptor) start() {
	err := a.ln.attach(a)
	if err == nil {
		err = a.ln.hold(func(fd int) error { return a.watch.openAny(fd, a, a.interest()) })
	}
	if err != nil && !a.closedByUser(err) {
		a.finish(err)
	}
}

// closedByUser reports whether err only says that the listener was closed after attach: then listenerClosed, which
// Close calls, does what that calls for.
func (a *acceptor) closedByUser(err error) bool {
	return a.ln.attached(a) && errors.Is(err, net.ErrClosed)
}

// finish ends the acceptor; the first reason counts. It accepts nothing more once finish has returned, except for a
// connection that is being accepted at that moment.
func (a *acceptor) finish(err error) {
	if !a.end(err) {
		return
	}
	a.watch.close()
	a.ln.detach(a)
	close(a.done)
}

// listenerClosed is called by the listener before it closes its descriptor. A converted listener may be closed by its
// user long before the server is shut down; one of this package ends Serve.
func (a *acceptor) listenerClosed(converted bool) {
	if converted {
		a.watch.close()
		return
	}
	a.finish(a.ln.closedError("accept"))
}

// interest implements interestSource.
func (a *acceptor) interest() pollEvent {
	if a.stalled.Load() {
		return 0
	}
	return evRead
}

// onPoll implements pollHandler.
func (a *acceptor) onPoll(ev pollEvent) {
	if ev&evLost != 0 {
		a.finish(errors.New("netpoll: accept: the poller failed"))
		return
	}
	for range acceptBatch {
		if !a.acceptOne() {
			return
		}
	}
}

// acceptOne accepts a connection and says whether there may be another one to accept at once.
func (a *acceptor) acceptOne() bool {
	if !a.srv.takePlace(a) {
		return false
	}
	socket, err := a.ln.accept()
	if err != nil {
		a.srv.returnPlace()
		return a.goOnAfter(err)
	}
	if err := a.admit(socket); err != nil {
		return a.goOnAfter(err)
	}
	return true
}

// goOnAfter says whether there may be more to accept at once after err, and does what it calls for.
func (a *acceptor) goOnAfter(err error) bool {
	if a.closedByUser(err) {
		return false
	}
	switch errno := asErrno(err); errno {
	case syscall.EAGAIN:
		a.drained()
		return false
	case syscall.EINTR, syscall.ECONNABORTED, syscall.EPROTO:
		return true // this newcomer is gone already
	case 0, syscall.EBADF, syscall.EINVAL, syscall.ENOTSOCK, syscall.EOPNOTSUPP:
		a.finish(a.ln.opError("accept", err)) // waiting would not help
		return false
	default:
		a.wait(err)
		return false
	}
}

// admit makes a connection of an accepted socket, for which a place was taken. Its errors are those of a system that
// has no room for one connection more.
func (a *acceptor) admit(socket socketInfo) error {
	c := newSocketConnection(socket)
	if !a.srv.register(c) {
		_ = c.Close()
		a.srv.returnPlace()
		return nil
	}
	c.prepare(a.srv.opts)
	if err := c.start(causeFailed); err != nil {
		return err
	}
	a.succeeded()
	if a.srv.draining() {
		c.closeIfIdle() // Shutdown came too early to close it
	}
	return nil
}

// end marks the acceptor as ended and takes it from its server. It returns true the first time.
func (a *acceptor) end(err error) (first bool) {
	s := a.srv
	s.mu.Lock()
	defer s.mu.Unlock()
	if a.ended {
		return false
	}
	a.ended, a.err = true, err
	s.acceptors = without(s.acceptors, a)
	s.unstall(a)
	return true
}

// succeeded notes that a connection was accepted: there is no reason to wait long any more.
func (a *acceptor) succeeded() {
	a.srv.mu.Lock()
	defer a.srv.mu.Unlock()
	a.backOff = 0
}

// drained notes that the backlog is empty: nobody waits for want of descriptors.
func (a *acceptor) drained() {
	a.srv.mu.Lock()
	defer a.srv.mu.Unlock()
	a.short = false
}

// wait stalls the acceptor for a while, because the system had no room for one more connection.
func (a *acceptor) wait(err error) {
	if a.stallForAWhile() {
		logger().Printf("netpoll: accept on %v: %v; newcomers have to wait", a.ln.Addr(), err)
	}
}

// stallForAWhile reports whether it is time for a message: one for each time that newcomers have to wait.
func (a *acceptor) stallForAWhile() (report bool) {
	s := a.srv
	s.mu.Lock()
	defer s.mu.Unlock()
	if a.ended {
		return false
	}
	a.backOff = min(max(2*a.backOff, minBackOff), maxBackOff)
	s.stall(a)
	a.retry = time.AfterFunc(a.backOff, a.tryAgain)
	report = !a.short && time.Since(a.reported) >= reportInterval
	a.short = true
	if report {
		a.reported = time.Now()
	}
	return report
}

func (a *acceptor) tryAgain() {
	a.srv.mu.Lock()
	defer a.srv.mu.Unlock()
	a.srv.unstall(a)
}

// stall stops watching the listener of a. The caller holds mu.
func (s *server) stall(a *acceptor) {
	a.stalled.Store(true)
	s.stalled = append(s.stalled, a)
	_ = a.watch.follow()
}

// unstall undoes stall. The caller holds mu.
func (s *server) unstall(a *acceptor) {
	if !a.stalled.Swap(false) {
		return
	}
	s.stalled = without(s.stalled, a)
	if a.retry != nil {
		a.retry.Stop() // if it is too late for that, a later stall ends a little early
		a.retry = nil
	}
	_ = a.watch.follow()
}

// without returns list with a removed.
func without(list []*acceptor, a *acceptor) []*acceptor {
	for i := range list {
		if list[i] == a {
			last := len(list) - 1
			list[i], list[last] = list[last], nil
			return list[:last]
		}
	}
	return list
}
