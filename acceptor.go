package netpoll

// This file holds the acceptor, which accepts from one listener for one server. It accepts until no connection waits.
// At the connection limit, or without descriptors, it stops watching the listener, and resumes when a connection closes
// or a back-off of 5 ms to 1 s has passed. How it accepts is in acceptor_socket.go for listeners that a poller watches,
// and in acceptor_netconn.go for all others.

import (
	"errors"
	"net"
	"time"

	"github.com/cloudwego/netpoll/internal/interleave/atomic"
	"github.com/cloudwego/netpoll/internal/interleave/clock"
	"github.com/cloudwego/netpoll/internal/interleave/sync"
	"github.com/cloudwego/netpoll/internal/metric"
)

const (
	// minBackOff and maxBackOff limit the time to wait when the system has no descriptors or memory left. It doubles
	// from one failure to the next, until a connection is accepted.
	minBackOff = 5 * time.Millisecond
	maxBackOff = time.Second

	// reportInterval is the least time between two log messages of one acceptor.
	reportInterval = time.Second
)

// acceptor is one running Serve. It pauses for one of two reasons: at the connection limit, which resumes it, or because
// the system has no descriptors or memory left, for a while or until a connection of the server has closed.
type acceptor struct {
	srv    *server
	ln     serverListener
	source acceptSource
	side   *tlsSide // of its connections; nil: they have no TLS

	// paused is written under mu; the source reads it to know whether to watch for new connections.
	paused atomic.Bool

	// mu guards the fields below. It is taken before the locks of the server, its limit, and a watch, never after them.
	mu       sync.Mutex
	ended    bool
	backOff  time.Duration // the last time waited; 0 after a success
	retry    *clock.Timer  // ends a pause for lack of descriptors; nil if there is none
	short    bool          // some new connection could not be accepted since the backlog was last seen empty
	reported time.Time     // when a shortage was last logged

	err  error         // why it ended; written before done is closed
	done chan struct{} // closed when it has ended
}

// acceptSource is where the new connections of a listener come in. Its methods may be called from any goroutine.
type acceptSource interface {
	// open begins to let them in, by calls of acquire and admit. It may block until close, if it does so itself.
	open() error
	// updateInterest is called when a.paused has changed, under the acceptor's mu.
	updateInterest()
	// close lets no more connections in, except one that is coming in at that moment. It is idempotent.
	close()
}

// serverListener is a listener that a server can accept from.
type serverListener interface {
	Listener
	bind(a *acceptor) error
	bound(a *acceptor) bool
	unbind(a *acceptor)
	newSource(a *acceptor) acceptSource
	closesSlowly() bool // it is not of this package, and its Close may take long
	opError(op string, err error) error
	closedError(op string) error
}

// listenerState is the part of a listener that knows its acceptor.
type listenerState struct {
	// mu guards the fields below. It is not held during calls of the acceptor.
	mu       sync.Mutex
	closed   bool
	acceptor *acceptor // the Serve that accepts from it
}

// errServedAlready ends a second Serve of a listener; the first goes on.
var errServedAlready = errors.New("netpoll: serve: listener is being served already")

// bind makes a the acceptor that Close ends.
func (s *listenerState) bind(a *acceptor) error {
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

// bound reports whether a is the acceptor that Close ends.
func (s *listenerState) bound(a *acceptor) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.acceptor == a
}

func (s *listenerState) unbind(a *acceptor) {
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

// shut marks the listener as closed and returns the acceptor that has to end, if there is one, the first time.
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
	a := &acceptor{srv: s, ln: ln, side: s.tlsSide(ln), done: make(chan struct{})}
	a.source = ln.newSource(a)
	return a
}

// run accepts until the acceptor has ended.
func (a *acceptor) run() {
	err := a.ln.bind(a)
	if err == nil {
		err = a.source.open()
	}
	if err != nil && !a.closedByUser(err) {
		a.finish(err)
	}
	<-a.done
}

// closedByUser reports whether err only says that the listener was closed after bind: then Close calls listenerClosed,
// which decides whether Serve ends.
func (a *acceptor) closedByUser(err error) bool {
	return a.ln.bound(a) && errors.Is(err, net.ErrClosed)
}

// finish ends the acceptor; the first reason counts. It accepts nothing more once finish has returned, except for a
// connection that is being accepted at that moment.
func (a *acceptor) finish(err error) {
	if !a.end(err) {
		return
	}
	a.source.close()
	a.ln.unbind(a)
	close(a.done)
}

// listenerClosed is called by the listener before it closes its descriptor. The user may close a converted listener
// long before the server is shut down; the Close of any other listener ends Serve.
func (a *acceptor) listenerClosed(converted bool) {
	if converted {
		a.source.close()
		return
	}
	a.finish(a.ln.closedError("accept"))
}

// admit starts an accepted connection, which acquire has counted. Its errors are those of a system that has no room for
// one connection more.
func (a *acceptor) admit(c *connection) error {
	if !a.srv.register(c) {
		c.close(causeServer)
		a.srv.limit.release() // no descriptor came free: acceptors that wait for one go on waiting
		return nil
	}
	a.count(func(n *metric.Connections) { n.Accepted.Add(1) })
	c.prepare(a.srv.opts)
	if c.life.load().phase() >= phaseClosing {
		a.count(func(n *metric.Connections) { n.Refused.Add(1) })
	}
	if err := c.start(causePoller); err != nil {
		return err
	}
	a.succeeded()
	if a.srv.draining() {
		c.closeIfIdleApart() // Shutdown came too early to close it
	}
	return nil
}

// count counts for the server and for the process.
func (a *acceptor) count(add func(*metric.Connections)) {
	add(&a.srv.counts)
	add(&metric.Process)
}

// acquire counts the next connection before it is accepted. At the connection limit it returns false, and the acceptor
// pauses until a connection has ended. It also returns false when the acceptor has ended or is paused.
func (a *acceptor) acquire() bool { return a.ask(a.srv.limit.acquire) }

// hasRoom is acquire without counting anything.
func (a *acceptor) hasRoom() bool { return a.ask(a.srv.limit.hasRoom) }

// ask calls get, which asks the limit, and pauses if that refuses.
func (a *acceptor) ask(get func(limitWaiter) bool) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.ended || a.paused.Load() {
		return false
	}
	if get(a) {
		return true
	}
	a.pauseAccept()
	if !a.srv.ending.Load() {
		a.count(func(n *metric.Connections) { n.PausedAtLimit.Add(1) })
	}
	return false
}

// end marks the acceptor as ended and takes it from its server. It returns true the first time.
func (a *acceptor) end(err error) (first bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.ended {
		return false
	}
	a.ended, a.err = true, err
	a.srv.removeAcceptor(a)
	a.srv.limit.forget(a)
	a.resumeAccept()
	return true
}

// hasEnded reports whether nothing more is to be accepted.
func (a *acceptor) hasEnded() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.ended || a.srv.ending.Load()
}

// succeeded notes that a connection was accepted: there is no reason to wait long any more.
func (a *acceptor) succeeded() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.backOff = 0
}

// wait pauses the acceptor for a while, because the system had no room for one more connection.
func (a *acceptor) wait(err error) {
	if backOff, report := a.pauseForAWhile(); report {
		logger().Printf("netpoll: Accept error on %v: %v; retrying in %v", a.ln.Addr(), err, backOff)
	}
}

// pauseForAWhile returns how long the pause is, and whether to log it: once for each time that new connections have to
// wait.
func (a *acceptor) pauseForAWhile() (backOff time.Duration, report bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.ended {
		return 0, false
	}
	a.backOff = min(max(2*a.backOff, minBackOff), maxBackOff)
	a.pauseAccept()
	a.count(func(n *metric.Connections) { n.PausedForLack.Add(1) })
	a.retry = clock.AfterFunc(a.backOff, a.tryAgain)
	a.srv.addBackingOff(a)
	report = !a.short && time.Since(a.reported) >= reportInterval
	a.short = true
	if report {
		a.reported = time.Now()
	}
	return a.backOff, report
}

// tryAgain ends a pause for lack of descriptors: its time has passed, or a connection has closed.
func (a *acceptor) tryAgain() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.retry != nil {
		a.resumeAccept()
	}
}

// released implements limitWaiter.
func (a *acceptor) released() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.resumeAccept()
}

// pauseAccept stops watching the listener. The caller holds mu.
func (a *acceptor) pauseAccept() {
	a.paused.Store(true)
	a.source.updateInterest()
}

// resumeAccept ends a pause, if there is one. The caller holds mu.
func (a *acceptor) resumeAccept() {
	if !a.paused.Swap(false) {
		return
	}
	if a.retry != nil {
		a.retry.Stop() // if it has fired already, a later pause ends a little early
		a.retry = nil
		a.srv.removeBackingOff(a)
	}
	a.source.updateInterest()
}
