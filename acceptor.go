package netpoll

// This file holds the acceptor: what accepts from one listener for one server. It accepts as long as there are
// newcomers, a place and a descriptor for each. When one of the latter is missing it stalls until there is reason to try
// again. Where the newcomers come from is in acceptor_socket.go, for listeners that a poller watches, and in
// acceptor_netconn.go for all others.

import (
	"errors"
	"net"
	"time"

	"github.com/cloudwego/netpoll/internal/interleave/atomic"
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
	srv  *server
	ln   servable
	door acceptDoor

	// stalled is written under the server's mu; the door reads it to know whether it is to be open.
	stalled atomic.Bool

	ended    bool
	backOff  time.Duration // the last time waited; 0 after a success
	retry    *lateCall     // ends the stall for want of descriptors
	short    bool          // some newcomer could not be accepted since the backlog was last seen empty
	reported time.Time     // when that was last logged

	err  error         // why it ended; written before done is closed
	done chan struct{} // closed when it has ended
}

// acceptDoor is where the newcomers of a listener come in. Its methods may be called from any goroutine.
type acceptDoor interface {
	// open begins to let them in, by calls of takePlace and admit. It may block until close, if it does so itself.
	open() error
	// follow is called when a.stalled has changed, under the server's mu.
	follow()
	// close lets nobody in any more, except for one who is coming in at that moment. It is idempotent.
	close()
}

// servable is a listener that a server can accept from.
type servable interface {
	Listener
	attach(a *acceptor) error
	attached(a *acceptor) bool
	detach(a *acceptor)
	newDoor(a *acceptor) acceptDoor
	closesSlowly() bool // it is not of this package, and its Close may take its time
	opError(op string, err error) error
	closedError(op string) error
}

// serving is the part of a listener that knows who accepts from it.
type serving struct {
	// mu guards what follows. It is not held during calls of the acceptor.
	mu       sync.Mutex
	closed   bool
	acceptor *acceptor // the Serve that accepts from it
}

// errServedAlready ends a second Serve of a listener; the first goes on.
var errServedAlready = errors.New("netpoll: serve: listener is being served already")

// attach makes a the one that is told of Close.
func (s *serving) attach(a *acceptor) error {
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
func (s *serving) attached(a *acceptor) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.acceptor == a
}

func (s *serving) detach(a *acceptor) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.acceptor == a {
		s.acceptor = nil
	}
}

func (s *serving) isClosed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closed
}

// shut marks the listener as closed and returns whom to tell of it, the first time.
func (s *serving) shut() (a *acceptor, first bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, false
	}
	s.closed = true
	return s.acceptor, true
}

func newAcceptor(s *server, ln servable) *acceptor {
	a := &acceptor{srv: s, ln: ln, done: make(chan struct{})}
	a.door = ln.newDoor(a)
	return a
}

// run accepts until the acceptor has ended.
func (a *acceptor) run() {
	err := a.ln.attach(a)
	if err == nil {
		err = a.door.open()
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
	a.door.close()
	a.ln.detach(a)
	close(a.done)
}

// listenerClosed is called by the listener before it closes its descriptor. A converted listener may be closed by its
// user long before the server is shut down; one of this package ends Serve.
func (a *acceptor) listenerClosed(converted bool) {
	if converted {
		a.door.close()
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
	a.retry = callLater(a.backOff, a.tryAgain)
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
	a.door.follow()
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
	a.door.follow()
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
