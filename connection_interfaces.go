package netpoll

// This file holds names for what a connection can do beyond Connection. That interface does not grow, because programs
// implement it.

import (
	"context"
	"io"
	"net"
	"os"
	"syscall"
	"time"
)

// StreamConnection is everything that each stream of this package can do: those that are dialed or accepted, those that
// callbacks get, and those of [NewConnection], [NewFDConnection], [TLSClient] and [TLSServer]:
//
//	stream := conn.(netpoll.StreamConnection)
//
// A [Connection] over datagrams is a [Conn] and a [syscall.Conn], and one of another package, such as one made for a test,
// may have less. Code that takes those, too, asks for the small interface that it needs. StreamConnection may get more
// methods in later versions, so other packages should not implement it.
type StreamConnection interface {
	Connection
	Conn
	Contexter
	HalfCloser
	HalfOpener
	ReadLimiter
	IdleLimiter
	CallbackSetter
	HealthChecker
	Detacher
	NetConner
	Filer
	KeepAliver
	Drainer
	syscall.Conn
	io.StringWriter // these three send, or read, at once; those of Reader and Writer do not
	io.ByteWriter
	io.ByteReader

	// ID returns the number of the connection in the process. No other connection has or had it, and it is never 0.
	ID() uint64
}

// Contexter is a connection with a context, which ends when the peer is gone or the connection is closed.
type Contexter interface {
	// Context returns it; [context.Cause] tells why it has ended. It costs nothing until the first call. It does not
	// wait, and any goroutine may call it.
	Context() context.Context
}

// HalfCloser is a connection whose directions can be closed one by one.
type HalfCloser interface {
	// CloseRead ends reading on this side. What has arrived can still be read.
	CloseRead() error
	// CloseWrite sends the end of this side's stream behind all that was flushed, and drops what was not.
	CloseWrite() error
}

// HalfOpener is a connection that can stay open when the peer has ended its side: see [WithAllowHalfOpen].
type HalfOpener interface {
	// SetAllowHalfOpen says whether it does.
	SetAllowHalfOpen(allow bool) error
}

// ReadLimiter is a connection with a limit on unread input: see [WithReadLimit].
type ReadLimiter interface {
	// SetReadLimit sets it, in bytes. 0 or less removes it.
	SetReadLimit(bytes int) error
}

// IdleLimiter is a connection with a limit on the time without traffic: see [WithIdleLimit].
type IdleLimiter interface {
	// SetIdleLimit sets it, and its time begins anew. 0 or less removes it.
	SetIdleLimit(d time.Duration) error
}

// CallbackSetter is a connection whose callbacks can be set, beside SetOnRequest of [Connection].
type CallbackSetter interface {
	// SetOnConnect sets, and calls, the function for a dialed connection that is open. OnRequest comes after it.
	SetOnConnect(onConnect OnConnect) error
	// SetOnDisconnect sets the function that is called once, when the peer is gone.
	SetOnDisconnect(onDisconnect OnDisconnect) error
}

// HealthChecker is a connection that a pool can ask whether it is fit for another request.
type HealthChecker interface {
	// IsHealthyForReuse reports that, after a look at the socket. It waits only for a receive that is under way, and no
	// longer than wait.
	IsHealthyForReuse(wait time.Duration) bool
}

// Detacher is a connection that can give its descriptor away.
type Detacher interface {
	// Detach ends the connection without closing the descriptor, which belongs to the caller then.
	Detach() error
}

// NetConner is a connection that knows the [net.Conn] it was made of.
type NetConner interface {
	// NetConn returns it, or nil if there is none, as for a socket that a poller watches.
	NetConn() net.Conn
}

// Filer is a connection whose descriptor can be duplicated.
type Filer interface {
	// File returns the duplicate, which the caller closes. It is non-blocking.
	File() (f *os.File, err error)
}

// KeepAliver is a connection with TCP keepalive.
type KeepAliver interface {
	// SetKeepAlive sets the time without traffic after which the peer is probed, in seconds.
	SetKeepAlive(seconds int) error
}

// Drainer is a connection that knows of the Shutdown of its [EventLoop].
type Drainer interface {
	// Draining returns a channel that is closed when Shutdown begins; nil if no EventLoop has accepted the connection.
	Draining() <-chan struct{}
}

// DescriptorKeeper is a connection that can receive descriptors: a [*UnixConnection].
type DescriptorKeeper interface {
	// KeepDescriptors says whether those that arrive are kept, or closed.
	KeepDescriptors(keep bool) error
}

var (
	_ StreamConnection = (*TCPConnection)(nil)
	_ StreamConnection = (*UnixConnection)(nil)
	_ StreamConnection = (*TLSConnection)(nil)
	_ StreamConnection = (*streamConnection)(nil)
	_ DescriptorKeeper = (*UnixConnection)(nil)
)
