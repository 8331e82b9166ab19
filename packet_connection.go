package netpoll

// This file holds connections over connected sockets of datagrams, which DialConnection makes for "udp" and "unixgram":
// what they are, their settings, their handler, and their end. Reading and writing are in packet_connection_io.go.

import (
	"context"
	"errors"
	"net"
	"os"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/cloudwego/netpoll/internal/interleave/clock"
	"github.com/cloudwego/netpoll/internal/wait"
)

// packetConnection implements Connection. Goroutines that wait for datagrams do so in the methods of the UDPConn. A
// connection with a handler is served as a PacketLoop serves a socket.
type packetConnection struct {
	conn   *UDPConn
	reader packetInput
	writer packetOutput

	onRequest atomic.Pointer[OnRequest]
	refused   atomic.Bool // the last call got a report that the peer is not there

	// mu guards the fields below. No user code runs under it.
	mu        sync.Mutex
	inside    int  // calls that have not returned, and a running handler
	closed    bool // by Close
	ended     bool // and the callbacks have been taken
	panicked  bool // a callback has closed it
	callbacks []CloseCallback
}

var (
	_ Connection   = (*packetConnection)(nil)
	_ Conn         = (*packetConnection)(nil)
	_ syscall.Conn = (*packetConnection)(nil)
)

// newPacketConnection makes a connection that owns conn, which is connected.
func newPacketConnection(conn *UDPConn) *packetConnection {
	c := &packetConnection{conn: conn}
	c.reader = packetInput{c: c, side: packetSide{set: conn.SetReadDeadline}}
	c.writer = packetOutput{c: c, side: packetSide{set: conn.SetWriteDeadline}}
	return c
}

// packetSide is one direction: whose turn it is, and how long calls wait.
type packetSide struct {
	turn  sync.Mutex // held for the whole call of Read or Write, so that callers take turns
	busy  sync.Mutex // held by the call that uses the buffer; another one does not wait for it
	limit wait.Side  // the timeout and the deadline

	// mu guards the fields below, and the calls of set.
	mu      sync.Mutex
	set     func(time.Time) error // sets the deadline of the socket
	start   int64                 // when the call that waits began; 0 if there is none
	limited bool                  // the socket has a deadline
	off     bool                  // no call waits any more
}

// begin is called before the socket may wait; end must follow if it returns true.
func (s *packetSide) begin() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.off {
		return false
	}
	s.start = max(clock.Now(), 1)
	s.apply()
	return true
}

func (s *packetSide) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.start = 0
}

// changed lets a call that waits know of another timeout or deadline.
func (s *packetSide) changed() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.start != 0 && !s.off {
		s.apply()
	}
}

// apply gives the socket the deadline of the call that waits. The caller holds mu. An error means that the socket is
// closed, and the call will find that.
func (s *packetSide) apply() {
	switch until := s.limit.Until(s.start); {
	case until != wait.NoDeadline:
		s.limited = true
		_ = s.set(wait.TimeOf(until))
	case s.limited:
		s.limited = false
		_ = s.set(time.Time{})
	}
}

// stop wakes the call that waits, and lets no other wait.
func (s *packetSide) stop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.off = true
	if s.start != 0 {
		_ = s.set(time.Unix(1, 0))
	}
}

// enter and leave count calls: the close callbacks run when none is inside.
func (c *packetConnection) enter() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.inside++
}

func (c *packetConnection) leave() { c.runCallbacks(c.left(1)) }

// left counts n calls as returned, and returns the callbacks to run now.
func (c *packetConnection) left(n int) (list []CloseCallback) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.inside -= n
	if c.inside > 0 || !c.closed || c.ended {
		return nil
	}
	c.ended = true
	list, c.callbacks = c.callbacks, nil
	return list
}

func (c *packetConnection) runCallbacks(list []CloseCallback) {
	for _, callback := range slices.Backward(list) {
		c.guard("CloseCallback", func() { _ = callback(c) })
	}
}

// Close closes the socket and wakes all that wait. It may be called from anywhere, any number of times, and does not wait.
// When no call is inside any more, a running handler above all, the close callbacks run.
func (c *packetConnection) Close() error {
	c.close(false)
	return nil
}

func (c *packetConnection) close(panicked bool) {
	if !c.shut(panicked) {
		return
	}
	_ = c.conn.Close()
	c.leave()
}

// shut marks c as closed; it counts as a call until left. It returns true the first time.
func (c *packetConnection) shut(panicked bool) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return false
	}
	c.closed, c.panicked = true, panicked
	c.inside++
	return true
}

func (c *packetConnection) isClosed() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.closed
}

// AddCloseCallback implements Connection.
func (c *packetConnection) AddCloseCallback(callback CloseCallback) error {
	if callback != nil && !c.addCallback(callback) {
		c.runCallbacks([]CloseCallback{callback})
	}
	return nil
}

func (c *packetConnection) addCallback(callback CloseCallback) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.ended {
		c.callbacks = append(c.callbacks, callback)
	}
	return !c.ended
}

// guard runs a callback; one that panics or ends its goroutine closes the connection.
func (c *packetConnection) guard(name string, f func()) {
	guardCallback(name, c, f, func(value any) {
		defer c.close(true)
		reportFailure(PanicReport{Callback: name, Conn: c, Value: value, Stack: debug.Stack()}, c.peerName(), 0)
	})
}

// connectionPackets is what serves the sockets of connections with handlers, with little memory for each.
var connectionPackets = newPacketOptions([]PacketOption{WithPacketBatch(8)})

var connectionSlabs = newSlabPool(connectionPackets.batch, connectionPackets.size)

// SetOnRequest implements Connection. The handler is called once for each datagram, which is what Reader then has; what it
// leaves is dropped. Reader does not wait any more. What was left of a datagram before is dropped.
func (c *packetConnection) SetOnRequest(on OnRequest) error {
	if on == nil {
		return nil
	}
	if c.onRequest.Swap(&on) != nil {
		return nil // it is being served
	}
	c.reader.side.stop()
	s := newPacketServer(&packetLoop{on: c.serve, guarded: true, watched: true, opts: connectionPackets,
		slabs: connectionSlabs}, c.conn)
	s.onEnd = func() { go c.close(false) }
	if c.conn.bind(s) != nil {
		return nil // it is closed
	}
	if err := s.source.open(); err != nil {
		s.end(err)
		return Exception(err, "when set on request")
	}
	return nil
}

// serve is the OnPacket of a connection.
func (c *packetConnection) serve(ctx context.Context, _ *UDPConn, packets []Packet) error {
	c.enter()
	defer c.leave()
	for i := range packets {
		if c.isClosed() {
			break
		}
		c.reader.load(packets[i].Data)
		c.guard("OnRequest", func() { _ = (*c.onRequest.Load())(ctx, c) })
		c.reader.drop()
	}
	return nil
}

// IsActive implements Connection. It is false after Close, and while the last call got an error that says that the peer is
// not there.
func (c *packetConnection) IsActive() bool { return !c.refused.Load() && !c.isClosed() }

// Reader implements Connection.
func (c *packetConnection) Reader() Reader { return &c.reader }

// Writer implements Connection.
func (c *packetConnection) Writer() Writer { return &c.writer }

// LocalAddr returns the address of this side.
func (c *packetConnection) LocalAddr() net.Addr { return c.conn.LocalAddr() }

// RemoteAddr returns the address of the peer.
func (c *packetConnection) RemoteAddr() net.Addr { return c.conn.RemoteAddr() }

func (c *packetConnection) peerName() string {
	if addr := c.conn.RemoteAddr(); addr != nil {
		return addr.String()
	}
	return "(no address)"
}

// Fd returns the descriptor, or -1 if there is none; see [Conn].
func (c *packetConnection) Fd() int {
	fd := -1
	if raw, err := c.conn.SyscallConn(); err == nil {
		_ = raw.Control(func(n uintptr) { fd = int(n) })
	}
	return fd
}

// SyscallConn gives access to the descriptor, as for connections of package net.
func (c *packetConnection) SyscallConn() (syscall.RawConn, error) { return c.conn.SyscallConn() }

// SetReadTimeout implements Connection.
func (c *packetConnection) SetReadTimeout(timeout time.Duration) error {
	c.reader.side.limit.SetTimeout(timeout)
	c.reader.side.changed()
	return nil
}

// SetWriteTimeout implements Connection.
func (c *packetConnection) SetWriteTimeout(timeout time.Duration) error {
	c.writer.side.limit.SetTimeout(timeout)
	c.writer.side.changed()
	return nil
}

// SetIdleTimeout implements Connection: there is no keepalive.
func (c *packetConnection) SetIdleTimeout(time.Duration) error { return nil }

// SetDeadline implements [net.Conn].
func (c *packetConnection) SetDeadline(t time.Time) error {
	return errors.Join(c.SetReadDeadline(t), c.SetWriteDeadline(t))
}

// SetReadDeadline implements [net.Conn].
func (c *packetConnection) SetReadDeadline(t time.Time) error {
	return c.setDeadline(&c.reader.side, t, "set read deadline")
}

// SetWriteDeadline implements [net.Conn].
func (c *packetConnection) SetWriteDeadline(t time.Time) error {
	return c.setDeadline(&c.writer.side, t, "set write deadline")
}

func (c *packetConnection) setDeadline(s *packetSide, t time.Time, what string) error {
	if c.isClosed() {
		return c.closedError(what)
	}
	s.limit.SetDeadline(t)
	s.changed()
	return nil
}

func (c *packetConnection) closedError(what string) error {
	closed := &exception{no: ErrConnClosed, suffix: what}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.panicked {
		closed.reason = ErrPanic
	}
	return closed
}

// result gives an error of the socket the form that errors of connections have, and notes whether the peer is there.
func (c *packetConnection) result(err error, timeout syscall.Errno, what string) error {
	if err == nil {
		if c.refused.Load() {
			c.refused.Store(false)
		}
		return nil
	}
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return Exception(timeout, what+" "+c.peerName())
	case errors.Is(err, net.ErrClosed):
		return c.closedError(what)
	}
	errno := asErrno(err)
	if errno == 0 {
		return Exception(err, what)
	}
	if errno == syscall.ECONNREFUSED || errno == syscall.ECONNRESET {
		c.refused.Store(true)
	}
	return Exception(errno, what)
}
