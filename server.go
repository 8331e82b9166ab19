package netpoll

// This file holds the server behind EventLoop: which connections it has, how many more it takes, and its end. What
// accepts on its behalf, one per listener, is in acceptor.go.

import (
	"context"
	"errors"
	"net"
	"slices"

	"github.com/cloudwego/netpoll/internal/interleave/atomic"
	"github.com/cloudwego/netpoll/internal/interleave/sync"
)

// server implements EventLoop.
type server struct {
	opts *options

	// ending is set once by Shutdown, under mu; connections that become idle read it.
	ending atomic.Bool

	// mu guards everything below, the link of every registered connection, and the state of every acceptor. It is
	// taken before the lock of a watch, never after it, and no user code runs under it.
	mu        sync.Mutex
	first     *connection // the registered connections, chained by their links
	places    int         // registered connections, and those that are being accepted at the moment
	acceptors []*acceptor // one for each running Serve
	stalled   []*acceptor // those of acceptors that wait for a place or for descriptors

	// empty is closed when the last place has been given back after Shutdown began.
	empty chan struct{}
}

var (
	_ EventLoop = (*server)(nil)
	_ connOwner = (*server)(nil)
)

func newServer(opts *options) *server {
	return &server{opts: opts, empty: make(chan struct{})}
}

// Serve implements EventLoop.
func (s *server) Serve(ln net.Listener) error {
	if isNil(ln) {
		return errors.New("netpoll: serve: listener is nil")
	}
	if s.ending.Load() {
		_ = ln.Close()
		return nil
	}
	l, err := listenerToServe(ln)
	if err != nil {
		return s.refuse(ln, err)
	}
	a := newAcceptor(s, l)
	defer func() { // also if OnPrepare ends this goroutine
		a.finish(nil)
		if a.err != errServedAlready {
			_ = l.Close() // most often it is closed already
		}
	}()
	if s.addAcceptor(a) {
		a.run()
	}
	return a.err
}

// refuse ends a Serve of what could not be converted. If Shutdown has come meanwhile that does not matter any more.
func (s *server) refuse(ln net.Listener, err error) error {
	ending := s.ending.Load()
	if ending || !errors.Is(err, ErrUnsupported) {
		_ = ln.Close()
	}
	if ending {
		return nil
	}
	return err
}

// addAcceptor returns false if Shutdown has begun.
func (s *server) addAcceptor(a *acceptor) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ending.Load() {
		return false
	}
	s.acceptors = append(s.acceptors, a)
	return true
}

// Shutdown implements EventLoop.
func (s *server) Shutdown(ctx context.Context) error {
	if ctx == nil {
		ctx = context.Background()
	}
	acceptors, conns, first := s.beginShutdown()
	if !first {
		return nil
	}
	ended := endAll(acceptors, conns)
	for _, work := range []<-chan struct{}{ended, s.empty} {
		select {
		case <-work:
			continue
		case <-ctx.Done():
		}
		select {
		case <-work: // both at once: that the work is done counts more
		default:
			return &ShutdownError{Err: ctx.Err(), Busy: s.busy()}
		}
	}
	return nil
}

// endAll ends the accepting and closes what is idle; a connection that is busy closes itself when it becomes idle. What
// is not of this package may take its time to close, so it does that apart. The result is closed when all listeners are.
func endAll(acceptors []*acceptor, conns []*connection) <-chan struct{} {
	ended := make(chan struct{})
	var slow atomic.Int64 // listeners that are being closed, and one for the loop
	slow.Store(1)
	done := func() {
		if slow.Add(-1) == 0 {
			close(ended)
		}
	}
	defer done()
	for _, a := range acceptors {
		a.finish(nil)
		if !a.ln.closesSlowly() {
			_ = a.ln.Close()
			continue
		}
		slow.Add(1)
		go func() {
			defer done()
			_ = a.ln.Close()
		}()
	}
	for _, c := range conns {
		c.closeIfIdleApart()
	}
	return ended
}

// beginShutdown returns what there is to end. From here on nothing is added to it.
func (s *server) beginShutdown() (acceptors []*acceptor, conns []*connection, first bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ending.Swap(true) {
		return nil, nil, false
	}
	if s.places == 0 {
		close(s.empty)
	}
	return slices.Clone(s.acceptors), s.connections(), true
}

// busy returns the registered connections in which code of the user is, or is to be, at work. Those that Shutdown has
// closed, and that have no close callbacks to run, only take their time to end.
func (s *server) busy() (list []Connection) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.connections() {
		if c.life.load().cause() != causeServer || c.calls.hasCloseCallbacks() {
			list = append(list, c.self)
		}
	}
	return list
}

// connections lists the registered connections. The caller holds mu.
func (s *server) connections() (list []*connection) {
	for c := s.first; c != nil; c = c.link.next {
		list = append(list, c)
	}
	return list
}

// takePlace takes the place of one connection for a. If there is none a stalls until there is. It returns false also
// when a must not accept for another reason.
func (s *server) takePlace(a *acceptor) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.placeFor(a) {
		return false
	}
	s.places++
	return true
}

// hasPlace is takePlace without taking it.
func (s *server) hasPlace(a *acceptor) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.placeFor(a)
}

// placeFor reports whether a may accept. If that is for want of a place only, a stalls. The caller holds mu.
func (s *server) placeFor(a *acceptor) bool {
	if s.ending.Load() || a.ended || a.stalled.Load() {
		return false
	}
	if s.opts.maxConns > 0 && s.places >= s.opts.maxConns {
		s.stall(a)
		return false
	}
	return true
}

// returnPlace gives back a place that was taken for nothing. No descriptor came free with it, so those that wait for
// one go on waiting.
func (s *server) returnPlace() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.placeFreed(func(a *acceptor) bool { return a.retry == nil })
}

// placeFreed tells of one place less, and lets those of the stalled acceptors that it helps try again. The caller holds
// mu.
func (s *server) placeFreed(helps func(*acceptor) bool) {
	s.places--
	if s.places == 0 && s.ending.Load() {
		close(s.empty)
	}
	for _, a := range slices.Clone(s.stalled) {
		if helps(a) {
			s.unstall(a)
		}
	}
}

// register adds c, which has a place. It returns false if Shutdown has begun; then c does not belong to the server.
func (s *server) register(c *connection) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ending.Load() {
		return false
	}
	c.owner = s
	c.link.next = s.first
	if s.first != nil {
		s.first.link.prev = c
	}
	s.first = c
	return true
}

// connClosed implements connOwner. A place for a connection is also a descriptor for it, so those that wait for either
// try again.
func (s *server) connClosed(c *connection) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c.link.prev != nil {
		c.link.prev.link.next = c.link.next
	} else {
		s.first = c.link.next
	}
	if c.link.next != nil {
		c.link.next.link.prev = c.link.prev
	}
	c.link = connLink{}
	s.placeFreed(func(*acceptor) bool { return true })
}

// draining implements connOwner.
func (s *server) draining() bool { return s.ending.Load() }
