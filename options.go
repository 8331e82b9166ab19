package netpoll

// This file holds the options of NewEventLoop, and what new connections begin with.

import (
	"crypto/tls"
	"net"
	"runtime"
	"sync/atomic"
	"time"
)

// Option sets one property of an [EventLoop] and of the connections it accepts. Options are applied in their order;
// the last one of a kind counts.
type Option struct {
	apply func(*options)
}

// options is the sum of the options of one event loop. It is not changed after NewEventLoop.
type options struct {
	onPrepare    OnPrepare
	onConnect    OnConnect
	onDisconnect OnDisconnect
	onRequest    OnRequest

	readTimeout  time.Duration
	writeTimeout time.Duration
	keepAlive    time.Duration // 0: as it is
	readLimit    int           // bytes; 0 or less: no limit
	idleLimit    time.Duration // 0 or less: none
	maxConns     int           // 0 or less: no limit
	connContext  bool
	onShutdown   []func()
	directFlush  bool
	halfOpen     bool

	tlsConfig  *tls.Config                    // nil: no TLS, unless the listener has it
	tlsTimeout time.Duration                  // for a handshake; less than 0: none
	tlsLimit   int                            // how many handshakes compute at a time; 0 or less: no limit
	tlsFailed  func(conn net.Conn, err error) // nil: they are logged
}

// newOptions applies list to the defaults.
func newOptions(onRequest OnRequest, list []Option) *options {
	o := &options{onRequest: onRequest, readLimit: defaultReadLimit(),
		tlsTimeout: defaultTLSTimeout, tlsLimit: defaultTLSHandshakes()}
	for _, option := range list {
		if option.apply != nil { // the zero Option is allowed and does nothing
			option.apply(o)
		}
	}
	return o
}

// WithOnPrepare sets the callback that runs first on every accepted connection; see [OnPrepare].
func WithOnPrepare(onPrepare OnPrepare) Option {
	return Option{func(o *options) { o.onPrepare = onPrepare }}
}

// WithOnConnect sets the callback that runs once a connection is open; see [OnConnect].
func WithOnConnect(onConnect OnConnect) Option {
	return Option{func(o *options) { o.onConnect = onConnect }}
}

// WithOnDisconnect sets the callback that runs as soon as the peer is gone; see [OnDisconnect].
func WithOnDisconnect(onDisconnect OnDisconnect) Option {
	return Option{func(o *options) { o.onDisconnect = onDisconnect }}
}

// WithReadTimeout limits every call that waits for input; see [Connection].SetReadTimeout. 0 or less means no limit,
// which is the default.
func WithReadTimeout(timeout time.Duration) Option {
	return Option{func(o *options) { o.readTimeout = max(timeout, 0) }}
}

// WithWriteTimeout limits every Flush and Write; see [Connection].SetWriteTimeout. 0 or less means no limit, which is
// the default.
func WithWriteTimeout(timeout time.Duration) Option {
	return Option{func(o *options) { o.writeTimeout = max(timeout, 0) }}
}

// WithIdleTimeout sets the TCP keepalive time, rounded up to whole seconds: a peer that does not answer probes is taken
// for dead. It does nothing on other networks and for a duration of 0 or less. In spite of its name it closes no
// connection whose peer is alive: that is what [WithIdleLimit] does.
func WithIdleTimeout(timeout time.Duration) Option {
	return Option{func(o *options) { o.keepAlive = timeout }}
}

// WithReadLimit limits the unread input that a connection buffers, in bytes. At the limit the connection takes no more
// from the socket until half of it has been read, so the peer has to wait. A reader that waits for more than the limit
// still gets it. The default is that of [Config], 1 MiB; 0 or less means no limit.
func WithReadLimit(bytes int) Option {
	return Option{func(o *options) { o.readLimit = bytes }}
}

// WithIdleLimit closes a connection that carried no traffic for d while none of its handlers ran. 0 or less means that
// idle connections stay open, which is the default.
func WithIdleLimit(d time.Duration) Option {
	return Option{func(o *options) { o.idleLimit = d }}
}

// WithMaxConnections limits how many connections an event loop has at a time, over all its listeners. At the limit it
// stops accepting until one of them has ended; new connections wait in the backlog of the listener, which the system
// keeps. 0 or less means no limit, which is the default.
func WithMaxConnections(n int) Option {
	return Option{func(o *options) { o.maxConns = n }}
}

// WithOnShutdown adds a function that Shutdown calls, in the runner, when it has ended accepting and before it closes idle
// connections. There it can say goodbye to them, by a GOAWAY for example: Shutdown waits until all such functions have
// returned, or its context has ended. net/http calls this RegisterOnShutdown. Handlers learn of a Shutdown by the method
// Draining of their connections.
func WithOnShutdown(f func()) Option {
	return Option{func(o *options) {
		if f != nil {
			o.onShutdown = append(o.onShutdown, f)
		}
	}}
}

// WithConnContext makes the context that OnConnect and OnRequest get one that is cancelled when the peer is gone or the
// connection is closed. [context.Cause] tells why. It descends from the context that OnPrepare returned.
func WithConnContext() Option {
	return Option{func(o *options) { o.connContext = true }}
}

// WithDirectFlush makes every Flush hand its bytes to the kernel before it returns. Otherwise a Flush of a small output
// that holds no memory of the user may leave it to the poller, which sends the output of several connections with one
// system call at the end of its batch. In either case the bytes arrive in order, and before the end that Close and
// CloseWrite make.
func WithDirectFlush() Option {
	return Option{func(o *options) { o.directFlush = true }}
}

// WithAllowHalfOpen leaves a connection open when its peer has ended its side (net.TCPConn's CloseWrite, a FIN), until
// the program closes it: Node.js calls this allowHalfOpen, netty ALLOW_HALF_CLOSURE. A proxy needs it, and so does a
// server that answers from another goroutine after OnRequest has returned.
//
// Otherwise a connection with an [OnRequest] is closed when OnRequest has seen everything, and both it and OnDisconnect
// have returned. With this option OnRequest is called once more at the end, also if no input is left: then IsActive is
// false and the Reader is empty. (If the end comes while OnRequest runs, that call may have seen it, too.) From there
// on the program must close the connection. The idle limit and Shutdown close it, too, because it counts as idle while
// no callback runs. A connection that the peer has reset closes by itself in any case.
func WithAllowHalfOpen() Option {
	return Option{func(o *options) { o.halfOpen = true }}
}

const (
	// defaultTLSTimeout is how long a handshake may take.
	defaultTLSTimeout = 10 * time.Second
	// defaultTLSLimit is how many handshakes run at a time, for each processor.
	defaultTLSLimit = 4
)

func defaultTLSHandshakes() int { return defaultTLSLimit * runtime.GOMAXPROCS(0) }

// What new connections begin with, as Configure has stored it: sizes in bytes, where 0 stands for the built-in value and
// a negative limit for none; and whether every Flush sends by itself.
var (
	bufferSize  atomic.Int64
	readLimit   atomic.Int64
	directFlush atomic.Bool
)

const (
	builtinBufferSize = 4 << 10
	builtinReadLimit  = 1 << 20
)

func defaultBufferSize() int { return orBuiltin(bufferSize.Load(), builtinBufferSize) }

func defaultReadLimit() int { return orBuiltin(readLimit.Load(), builtinReadLimit) }

func orBuiltin(set int64, builtin int) int {
	if set != 0 {
		return int(set)
	}
	return builtin
}
