package netpoll

// This file holds the server behind EventLoop: its connections, and its end. Its acceptors, one per listener, are in
// acceptor.go, and its connection limit is in connlimit.go.

import (
	"context"
	"errors"
	"fmt"
	"net"
	"runtime/debug"
	"slices"

	"github.com/cloudwego/netpoll/internal/interleave/atomic"
	"github.com/cloudwego/netpoll/internal/interleave/sync"
	"github.com/cloudwego/netpoll/internal/metric"
	"github.com/cloudwego/netpoll/internal/runner"
)

// server implements EventLoop.
type server struct {
	opts       *options
	handshakes *handshakeLimiter // of all listeners with TLS
	limit      limiter           // counts registered connections, and those that are being accepted at the moment
	counts     metric.Connections

	// ending is set once by Shutdown, under mu; connections that become idle read it.
	ending atomic.Bool
	// began is closed when ending is set.
	began chan struct{}

	// mu guards the fields below and the link of every registered connection. It is taken after the lock of an acceptor,
	// never before it, and no user code runs under it.
	mu         sync.Mutex
	first      *connection // the registered connections, chained by their links
	acceptors  []*acceptor // one for each running Serve
	backingOff []*acceptor // those that wait for descriptors
}

var (
	_ EventLoop = (*server)(nil)
	_ connOwner = (*server)(nil)
)

func newServer(opts *options) *server {
	s := &server{opts: opts, limit: newLimiter(opts.maxConns), began: make(chan struct{})}
	if opts.tlsLimit > 0 {
		s.handshakes = newHandshakeLimiter(opts.tlsLimit)
	}
	return s
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

// refuse ends a Serve whose listener could not be converted. The error does not matter if Shutdown has begun.
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
	servedLoops.add(s)
	return true
}

func (s *server) removeAcceptor(a *acceptor) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.acceptors = without(s.acceptors, a)
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
	ended := endAll(acceptors, conns, func() { s.giveNotice(ctx) })
	for _, work := range []<-chan struct{}{ended, s.limit.empty} {
		select {
		case <-work:
			continue
		case <-ctx.Done():
		}
		select {
		case <-work: // both at once: the end of the work counts more
		default:
			return &ShutdownError{Err: ctx.Err(), Busy: s.busy()}
		}
	}
	return nil
}

// endAll ends accepting and closes idle connections; a busy connection closes itself when it becomes idle. A listener
// or a net.Conn from outside this package may take long to close, so it closes in a goroutine of its own. The result is
// closed when all listeners are. Between listeners and connections notice is called.
func endAll(acceptors []*acceptor, conns []*connection, notice func()) <-chan struct{} {
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
	notice()
	for _, c := range conns {
		c.closeIfIdleApart()
	}
	return ended
}

// giveNotice calls what the program wants to be called when Shutdown begins, and waits for it until ctx ends.
func (s *server) giveNotice(ctx context.Context) {
	returned := make(chan struct{}, len(s.opts.onShutdown))
	for _, f := range s.opts.onShutdown {
		runner.Run(context.Background(), func() {
			defer func() { returned <- struct{}{} }()
			runner.Guard(f, func(value any) {
				stack := string(debug.Stack())
				logPanic(fmt.Sprintf("panic in a function of WithOnShutdown: %v\n%s", value, stack),
					"callback", "WithOnShutdown", "panic", value, "stack", stack)
			})
		})
	}
	for range s.opts.onShutdown {
		select {
		case <-returned:
		case <-ctx.Done():
			return
		}
	}
}

// beginShutdown returns the acceptors and connections to end. No more are added from here on.
func (s *server) beginShutdown() (acceptors []*acceptor, conns []*connection, first bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ending.Swap(true) {
		return nil, nil, false
	}
	close(s.began)
	s.limit.close()
	return slices.Clone(s.acceptors), s.connections(), true
}

// busy returns the registered connections in which code of the user runs or has yet to run. A connection that Shutdown
// has closed, and that has no close callbacks to run, is not busy, however long its end takes.
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

// register adds c, which acquire has counted. It returns false if Shutdown has begun; then c does not belong to the server.
func (s *server) register(c *connection) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ending.Load() {
		return false
	}
	s.link(c)
	return true
}

// adopt implements connOwner. Until the connection whose place c takes has ended, both count. The limit has to wait.
func (s *server) adopt(c *connection) {
	s.limit.add()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.link(c)
}

// link chains c to the registered connections. The caller holds mu.
func (s *server) link(c *connection) {
	c.owner = s
	c.link.next = s.first
	if s.first != nil {
		s.first.link.prev = c
	}
	s.first = c
}

// connClosed implements connOwner. The descriptor of the connection is free, too, now.
func (s *server) connClosed(c *connection) {
	s.counts.Ended[c.life.load().endReason()].Add(1)
	backingOff := s.unregister(c)
	s.limit.release()
	for _, a := range backingOff {
		a.tryAgain()
	}
}

// unregister removes c and returns the acceptors that wait for a descriptor.
func (s *server) unregister(c *connection) (backingOff []*acceptor) {
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
	backingOff, s.backingOff = s.backingOff, nil
	return backingOff
}

// addBackingOff notes that a waits for descriptors.
func (s *server) addBackingOff(a *acceptor) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.backingOff = append(s.backingOff, a)
}

// removeBackingOff notes that a waits no more.
func (s *server) removeBackingOff(a *acceptor) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.backingOff = without(s.backingOff, a)
}

// draining implements connOwner.
func (s *server) draining() bool { return s.ending.Load() }

// drainBegun implements connOwner.
func (s *server) drainBegun() <-chan struct{} { return s.began }

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
