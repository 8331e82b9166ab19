package netpoll

// This file holds what a connection is: the public interfaces, the struct and how it is made, its identity (addresses,
// descriptor) and its settings. Its life is in connection_state.go and connection_close.go, its two directions in
// connection_read.go and connection_write.go, the user's callbacks in connection_callbacks.go.

import (
	"context"
	"net"
	"time"
	"unique"

	"github.com/cloudwego/netpoll/internal/interleave/atomic"
	"github.com/cloudwego/netpoll/internal/interleave/sync"
	"github.com/cloudwego/netpoll/internal/metric"
	"github.com/cloudwego/netpoll/internal/wait"
)

// Conn is a [net.Conn] that shows its descriptor.
type Conn interface {
	net.Conn

	// Fd returns the descriptor, or -1 if there is none. It belongs to the connection: the caller must not close it,
	// and once the connection is closed the number may be that of another file. A caller that writes to it directly
	// should ask for it after the last Flush, or set [WithDirectFlush].
	Fd() (fd int)
}

// CloseCallback is called once when a connection ends. A callback that panics or ends its goroutine is reported, and
// the others still run. Its error is ignored.
type CloseCallback func(connection Connection) error

// Connection is a byte stream with zero-copy access to its two buffers. It is also a full [net.Conn]: deadlines,
// errors and concurrency are those of package net where nothing else is said.
//
// One goroutine at a time may use Reader() or Read, except that Read may be called by several; the same holds for
// Writer() and Write. Reading and writing may go on at the same time, and all other methods may be called from any
// goroutine at any time. A call that breaks this rule gets [ErrConcurrentAccess].
type Connection interface {
	// Read, Write, Close, the addresses and the deadlines are those of net.Conn. Read returns exactly io.EOF at the
	// end of the stream. Write sends what is pending in Writer() first. Several goroutines may call Read and Write.
	net.Conn

	// Reader gives zero-copy access to what the peer sent. Its methods block until enough has arrived.
	Reader() Reader

	// Writer gives zero-copy access to what will be sent. Nothing is sent before Flush or Write. The WriteString and
	// WriteByte of the connection itself are those of package io, and send at once.
	Writer() Writer

	// IsActive reports whether the peer and this side both still have the connection open. It costs one load, so a pool
	// may ask before each use of a connection. With an OnRequest, it is true until everything that the peer sent is in
	// the Reader; without one, it is false as soon as the peer's end is known.
	IsActive() bool

	// SetReadTimeout limits each call that waits for input, from its beginning to its end. 0 means no limit, a negative
	// value changes nothing. It clears a read deadline, and calls that are waiting follow the new limit.
	SetReadTimeout(timeout time.Duration) error

	// SetWriteTimeout limits each Flush and Write in the same way.
	SetWriteTimeout(timeout time.Duration) error

	// SetIdleTimeout sets the TCP keepalive time, rounded up to whole seconds: a peer that does not answer probes is
	// taken for dead. It does nothing for a duration of 0 or less and for connections that are not TCP. To close
	// connections that carry no traffic use [WithIdleLimit].
	SetIdleTimeout(timeout time.Duration) error

	// SetOnRequest sets the handler that is called when there is input; see [OnRequest]. If there is input already it
	// is called for that. A nil handler changes nothing.
	SetOnRequest(on OnRequest) error

	// AddCloseCallback adds a function to call when the connection has ended and no call is inside any more. They run
	// in the reverse order of adding. A callback that is added later is called at once.
	AddCloseCallback(callback CloseCallback) error
}

// TCPConnection is a [Connection] over TCP.
type TCPConnection struct{ streamConnection }

// UnixConnection is a [Connection] over a Unix domain socket.
type UnixConnection struct{ unixStream }

var (
	_ Connection = (*TCPConnection)(nil)
	_ Connection = (*UnixConnection)(nil)
	_ Conn       = (*TCPConnection)(nil)
	_ ReadWriter = (*TCPConnection)(nil)
)

// connOwner learns when the connections it started end.
type connOwner interface {
	// connClosed is called once, when the close callbacks have run and the descriptor has been closed.
	connClosed(c *connection)
	// adopt makes c, which takes the place of a connection that ends, one of the owner's.
	adopt(c *connection)
	// draining reports that connections which become idle must close.
	draining() bool
	// drainBegun returns a channel that is closed when that begins.
	drainBegun() <-chan struct{}
}

// connLink chains the connections of one owner. Only the owner uses it, under its own lock.
type connLink struct{ prev, next *connection }

// connection is the one implementation of Connection. An idle one holds no block, no goroutine, no timer and no
// channel; what is needed only in use is made then.
type connection struct {
	life lifeWord
	self Connection // the value the user knows this connection by

	// transport carries the bytes; common is it for most connections of this system.
	transport transport
	common    commonTransport

	in       LinkBuffer  // filled by the transport's reports, emptied by the holder of bitReading
	out      LinkBuffer  // filled under bitProducing, sent under bitFlushing
	reading  wait.Side   // the waiting of readers
	writing  wait.Side   // the waiting of the flushing goroutine
	window   inputWindow // how much input is taken
	waited   bool        // under bitReading: input came while the reader waited
	disarmed bool        // the end of the input was seen and is no longer watched for; of the receiving goroutine
	direct   bool        // every Flush sends by itself; constant after prepare
	layered  bool        // transport is a layer; constant after it is made

	raw        rawInput      // whether a goroutine reads from the descriptor itself; see connection_descriptor.go
	once       oneShot       // input is reported once; see connection_copy_linux.go
	hungUp     atomic.Bool   // the poller saw the peer's end: the kernel has all of the input. Set by the poller
	halfOpen   atomic.Bool   // the end of the peer's side does not close it; stored by SetAllowHalfOpen
	wantWrite  atomic.Bool   // a sender waits for room; set by the sender, cleared by the reporting goroutine
	pendingEnd atomic.Uint64 // position in out up to which the poller has to send; see connection_pending.go
	readers    sync.Mutex    // held for the whole call of Read, so that callers take turns
	writers    sync.Mutex    // the same for Write

	calls callbacks
	owner connOwner // set, if at all, before prepare and start
	link  connLink

	network unique.Handle[string]
	id      uint64                   // constant after it is made
	remote  atomic.Pointer[net.Addr] // the remote address, stored by the first call that asks

	derived atomic.Pointer[derivedContext] // see connection_context.go
	idle    atomic.Pointer[idleLimit]      // see connection_idle.go

	detaching atomic.Pointer[wait.Waiter] // stored by Detach, which waits for those that use the descriptor
}

func newConnection(network string) (c *connection) {
	switch network {
	case "tcp":
		t := new(TCPConnection)
		c, t.self = &t.connection, t
	case "unix":
		u := new(UnixConnection)
		c, u.self = &u.connection, u
	default:
		s := new(streamConnection)
		c, s.self = &s.connection, s
	}
	c.init(network)
	return c
}

// init is for a new connection.
func (c *connection) init(network string) {
	c.network = unique.Make(network)
	c.id = metric.Process.Made.Add(1)
	c.life.begin(true)
	c.direct = directFlush.Load()
	c.window.init(defaultBufferSize(), defaultReadLimit())
}

// prepare gives the connection the settings of the server that accepted it and calls OnPrepare, which may close it.
func (c *connection) prepare(o *options) {
	if c.life.setUp() != entered {
		return // its server has closed it already
	}
	defer c.leave(0)
	c.dropsControl()
	c.calls.take(o)
	if o.onConnect != nil || c.layered { // a layer has to begin first
		c.life.clear(bitConnected)
	}
	c.reading.SetTimeout(o.readTimeout)
	c.writing.SetTimeout(o.writeTimeout)
	_ = c.SetIdleTimeout(o.keepAlive) // the next read or write finds a peer that is gone already
	c.window.limit.Store(int64(o.readLimit))
	c.direct = c.direct || o.directFlush
	c.halfOpen.Store(o.halfOpen)
	if o.idleLimit > 0 {
		_ = c.SetIdleLimit(o.idleLimit)
	}
	if o.onPrepare != nil {
		c.runOnPrepare(o.onPrepare)
	}
	if base := c.calls.base.Load(); base != nil {
		c.calls.ctx = *base
	}
	if o.connContext {
		c.calls.ctx = c.endingContext(c.calls.ctx)
	}
}

func (c *connection) runOnPrepare(on OnPrepare) {
	c.guard("OnPrepare", func() {
		if base := on(c.self); base != nil {
			c.calls.base.Store(&base)
		}
	})
}

// start begins the life of the connection: it is watched from here on, and OnConnect runs. After an error it is closed,
// for the cause onError.
func (c *connection) start(onError cause) error {
	if c.life.setUp() != entered {
		return nil // closed while it was prepared
	}
	defer c.leave(0)
	if !c.life.open() {
		return nil
	}
	if err := c.transport.start(); err != nil {
		c.close(onError)
		return err
	}
	if !c.life.load().has(bitConnected) && !c.layered {
		c.trigger(nil)
	}
	return nil
}

// Reader implements Connection. It returns the connection's other face: see connection_stream.go.
func (c *connection) Reader() Reader { return c }

// Writer implements Connection, as Reader does.
func (c *connection) Writer() Writer { return c }

// IsActive implements Connection.
func (c *connection) IsActive() bool { return c.life.load().phase() <= phaseOpen }

// Fd returns the descriptor, or -1 if there is none; see [Conn].
func (c *connection) Fd() (fd int) {
	c.sendPending() // so that everything the caller does to the descriptor comes after it
	if fd := c.transport.fd(); fd >= 0 {
		return fd
	}
	below := -1
	c.withDescriptor(func(fd int) { below = fd })
	return below
}

// LocalAddr returns the address of this side, or nil if it has none. Over a [net.Conn] it calls that one's LocalAddr,
// and takes as long.
func (c *connection) LocalAddr() (addr net.Addr) { return c.transport.localAddr() }

// RemoteAddr returns the address of the peer, or nil if it has none. Over a [net.Conn] the first call calls that one's
// RemoteAddr, and takes as long: it may read a header of the PROXY protocol.
func (c *connection) RemoteAddr() (addr net.Addr) {
	if a := c.remote.Load(); a != nil {
		return *a
	}
	if addr = c.transport.remoteAddr(); addr != nil {
		c.remote.Store(&addr)
	}
	return addr
}

// peerName is the peer's address for error texts. It never waits, because the caller that gets the error has not asked
// for an address.
func (c *connection) peerName() string {
	if c.remote.Load() == nil && !c.transport.answersAtOnce() {
		return "(unknown address)"
	}
	if addr := c.RemoteAddr(); addr != nil {
		return addr.String()
	}
	return "(no address)"
}

// SetReadTimeout implements Connection.
func (c *connection) SetReadTimeout(timeout time.Duration) error {
	c.reading.SetTimeout(timeout)
	return nil
}

// SetWriteTimeout implements Connection.
func (c *connection) SetWriteTimeout(timeout time.Duration) error {
	c.writing.SetTimeout(timeout)
	c.transport.deadlineChanged()
	return nil
}

// SetDeadline sets both deadlines. Like those of package net they hold for calls that are waiting already, a passed
// one makes calls fail at once, the zero time removes them. A deadline overrides the timeout of its direction.
func (c *connection) SetDeadline(t time.Time) error {
	if err := c.settable("set deadline"); err != nil {
		return err
	}
	c.reading.SetDeadline(t)
	c.writing.SetDeadline(t)
	c.transport.deadlineChanged()
	return nil
}

// SetReadDeadline is SetDeadline for input. Past it Read fails, whatever is buffered; methods of Reader still return what
// is buffered if that is enough for them.
func (c *connection) SetReadDeadline(t time.Time) error {
	if err := c.settable("set read deadline"); err != nil {
		return err
	}
	c.reading.SetDeadline(t)
	return nil
}

// SetWriteDeadline is SetDeadline for output.
func (c *connection) SetWriteDeadline(t time.Time) error {
	if err := c.settable("set write deadline"); err != nil {
		return err
	}
	c.writing.SetDeadline(t)
	c.transport.deadlineChanged()
	return nil
}

func (c *connection) settable(what string) error {
	if c.life.load().phase() >= phaseClosing {
		return c.closedError(what)
	}
	return nil
}

// SetReadLimit limits the unread input that is buffered, in bytes: at the limit the connection stops reading from the
// socket until half of it has been consumed, and the peer has to wait. A reader that waits for more than the limit
// still gets it, and so does a handler that returns without consuming anything. 0 or less removes the limit. The
// default is 1 MiB; see [WithReadLimit] and [Config]. A Read of a [net.Conn] that is under way keeps to the limit it
// began with.
func (c *connection) SetReadLimit(bytes int) error {
	c.window.limit.Store(int64(bytes))
	c.resumeInput()
	if c.full() {
		c.triggerRequest(nil) // a handler that waits by returning had no limit to go beyond at its last call
	}
	return nil
}

// ID returns the number of the connection, which no other connection of the process has or had. It is for logs and maps. It
// says nothing about the order of connections, and is never 0.
func (c *connection) ID() uint64 { return c.id }

// Draining returns a channel that is closed when the Shutdown of the connection's [EventLoop] begins. A handler that finds
// it closed may say so to its peer, by "Connection: close" or GOAWAY, in its last answer: the connection closes when it is
// idle. See [WithOnShutdown] for connections that are idle already. The channel of a connection that no EventLoop has
// accepted is nil.
func (c *connection) Draining() <-chan struct{} {
	if c.owner == nil {
		return nil
	}
	return c.owner.drainBegun()
}

// Context returns a context that is cancelled when the peer is gone or the connection is closed; [context.Cause] tells
// why, with an error that answers to the same names as one from Read. It descends from what OnPrepare returned. It
// costs nothing until it is asked for.
func (c *connection) Context() context.Context { return c.deriveContext() }
