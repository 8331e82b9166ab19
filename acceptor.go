package netpoll

// This file holds the acceptor: what accepts from one listener for one server. It accepts until no connection waits any
// more. At the connection limit, or without descriptors, it stops watching the listener, and resumes when a connection
// closes or a back-off of 5 ms to 1 s has passed. How it accepts is in acceptor_socket.go for listeners that a poller
// watches, and in acceptor_netconn.go for all others.

import (
	"errors"
	"net"
	"time"

	"github.com/cloudwego/netpoll/internal/interleave/atomic"
	"github.com/cloudwego/netpoll/internal/interleave/clock"
	"github.com/cloudwego/netpoll/internal/interleave/sync"
)

const (
	// minBackOff and maxBackOff bound the time to wait when the system has no descriptors or memory left. It doubles
	// from one failure to the next, until a connection is accepted.
	minBackOff = 5 * time.Millisecond
	maxBackOff = time.Second

	// reportInterval is the least time between two log messages of one acceptor.
	reportInterval = time.Second
)

// acceptor is one running Serve. Its state is guarded by the server's mu.
type acceptor struct {
	srv    *server
	ln     serverListener
	source acceptSource

	// stalled is written under the server's mu; the door reads it to know whether it is to be open.
	stalled atomic.Bool

	ended    bool
	backOff  time.Duration // the last time waited; 0 after a success
	retry    *clock.Timer  // ends the stall for want of descriptors
	short    bool          // some new connection could not be accepted since the backlog was last seen empty
	reported time.Time     // when that was last logged

	err  error         // why it ended; written before done is closed
	done chan struct{} // closed when it has ended
}

// acceptSource is where the new connections of a listener come in. Its methods may be called from any goroutine.
type acceptSource interface {
	// open begins to let them in, by calls of takePlace and admit. It may block until close, if it does so itself.
	open() error
	// follow is called when a.stalled has changed, under the server's mu.
	updateInterest()
	// close lets nobody in any more, except for one who is coming in at that moment. It is idempotent.
	close()
}

// serverListener is a listener that a server can accept from.
type serverListener interface {
	Listener
	attach(a *acceptor) error
	attached(a *acceptor) bool
	detach(a *acceptor)
	newSource(a *acceptor) acceptSource
	closesSlowly() bool // it is not of this package, and its Close may take its time
	opError(op string, err error) error
	closedError(op string) error
}

// listenerState is the part of a listener that knows who accepts from it.
type listenerState struct {
	// mu guards what follows. It is not held during calls of the acceptor.
	mu       sync.Mutex
	closed   bool
	acceptor *acceptor // the Serve that accepts from it
}

// errServedAlready ends a second Serve of a listener; the first goes on.
var errServedAlready = errors.New("netpoll: serve: listener is being served already")

// attach makes a the one that is told of Close.
func (s *listenerState) attach(a *acceptor) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closed:
		return a.ln.closedError("accept")
	case s.acceptor != nil:
		return errServedAlready
	}
	s.acceptor = a
	return nil
}

// attached reports whether a is told of Close.
func (s *listenerState) attached(a *acceptor) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.acceptor == a
}

func (s *listenerState) detach(a *acceptor) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.acceptor == a {
		s.acceptor = nil
	}
}

func (s *listenerState) isClosed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closed
}

// shut marks the listener as closed and returns whom to tell of it, the first time.
func (s *listenerState) shut() (a *acceptor, first bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, false
	}
	s.closed = true
	return s.acceptor, true
}

func newAcceptor(s *server, ln serverListener) *acceptor {
	a := &acceptor{srv: s, ln: ln, done: make(chan struct{})}
	a.source = ln.newSource(a)
	return a
}

// run accepts until the acceptor has ended.
func (a *acceptor) run() {
	err := a.ln.attach(a)
	if err == nil {
		err = a.source.open()
	}
	if err != nil && !a.closedByUser(err) {
		a.finish(err)
	}
	<-a.done
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
	a.source.close()
	a.ln.detach(a)
	close(a.done)
}

// listenerClosed is called by the listener before it closes its descriptor. A converted listener may be closed by its
// user long before the server is shut down; one of this package ends Serve.
func (a *acceptor) listenerClosed(converted bool) {
	if converted {
		a.source.close()
		return
	}
	a.finish(a.ln.closedError("accept"))
}

// admit starts an accepted connection, for which a place was taken. Its errors are those of a system that has no room
// for one connection more.
func (a *acceptor) admit(c *connection) error {
	if !a.srv.register(c) {
		c.close(causeServer)
		a.srv.returnPlace()
		return nil
	}
	c.prepare(a.srv.opts)
	if err := c.start(causePoller); err != nil {
		return err
	}
	a.succeeded()
	if a.srv.draining() {
		c.closeIfIdleApart() // Shutdown came too early to close it
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

// hasEnded reports whether nothing more is to be accepted.
func (a *acceptor) hasEnded() bool {
	a.srv.mu.Lock()
	defer a.srv.mu.Unlock()
	return a.ended || a.srv.ending.Load()
}

// succeeded notes that a connection was accepted: there is no reason to wait long any more.
func (a *acceptor) succeeded() {
	a.srv.mu.Lock()
	defer a.srv.mu.Unlock()
	a.backOff = 0
}

// wait stalls the acceptor for a while, because the system had no room for one more connection.
func (a *acceptor) wait(err error) {
	if backOff, report := a.stallForAWhile(); report {
		logger().Printf("netpoll: Accept error on %v: %v; retrying in %v", a.ln.Addr(), err, backOff)
	}
}

// stallForAWhile returns how long, and whether it is time for a message: one for each time that new connections have to
// wait.
func (a *acceptor) stallForAWhile() (backOff time.Duration, report bool) {
	s := a.srv
	s.mu.Lock()
	defer s.mu.Unlock()
	if a.ended {
		return 0, false
	}
	a.backOff = min(max(2*a.backOff, minBackOff), maxBackOff)
	s.stall(a)
	a.retry = clock.AfterFunc(a.backOff, a.tryAgain)
	report = !a.short && time.Since(a.reported) >= reportInterval
	a.short = true
	if report {
		a.reported = time.Now()
	}
	return a.backOff, report
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
	a.source.updateInterest()
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
	a.source.updateInterest()
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
