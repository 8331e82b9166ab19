package netpoll

// This file holds listeners as their user sees them, on every system. The listener for a socket is in
// listener_socket.go, the one around any net.Listener in listener_netconn.go.

import (
	"context"
	"errors"
	"net"
	"os"
	"syscall"
	"time"

	"github.com/cloudwego/netpoll/internal/sock"
)

// Listener is a [net.Listener] that shows its descriptor. Those made by this package are real listeners beside that:
// Accept blocks and returns a [Connection], so that they can be given to anything that serves a net.Listener. They also
// have the other methods of *net.TCPListener or *net.UnixListener, with the meaning they have in package net:
// SetDeadline, SyscallConn, AcceptTCP or AcceptUnix, which return a connection of package net, SetUnlinkOnClose, and
// File, except that the file stays non-blocking, also after its Fd. Around a listener of another package there are
// SetDeadline, SyscallConn and File, which work if that one has them.
type Listener interface {
	net.Listener

	// Fd returns the descriptor, or -1 after Close. It stays the property of the listener.
	Fd() (fd int)
}

// ListenConfig makes listeners with options beyond those of [CreateListener]. The zero value is ready to use.
type ListenConfig struct {
	// ListenConfig holds the options of package net: Control, KeepAlive, KeepAliveConfig, multipath TCP. Its
	// ListenPacket is that of package net.
	net.ListenConfig

	// ReusePort lets several listeners, of this process or others, share the address: the system spreads new connections
	// over them. All of them must set it.
	ReusePort bool

	// Backlog limits how many new connections the system keeps waiting; the system may have a lower limit. 0 or less
	// means as many as the system allows.
	Backlog int
}

// CreateListener listens on a network address, as [net.Listen] does. The network is "tcp", "tcp4", "tcp6" or "unix", or
// "shm" for shared memory, with the address of a Unix socket: see [NewShmListener]. Any other that package net knows gives
// an error that Is [ErrUnsupported]. Errors are *[net.OpError].
func CreateListener(network, addr string) (l Listener, err error) {
	return new(ListenConfig).Listen(context.Background(), network, addr)
}

// Listen is CreateListener with the options in lc. The context limits the resolving of the address only.
func (lc *ListenConfig) Listen(ctx context.Context, network, address string) (Listener, error) {
	if network == networkShm {
		return lc.listenShm(ctx, address)
	}
	if unsupported, ok := checkNetwork(network).(unsupportedNetwork); ok { // package net refuses unknown networks
		return nil, &net.OpError{Op: "listen", Net: network, Err: unsupported}
	}
	config := lc.ListenConfig
	if lc.ReusePort {
		config.Control = reusePort(config.Control)
	}
	original, err := config.Listen(ctx, network, address)
	if err != nil {
		return nil, err
	}
	ln, err := lc.takeOver(original)
	if err != nil {
		_ = original.Close()
		return nil, &net.OpError{Op: "listen", Net: network, Addr: original.Addr(), Err: err}
	}
	return asOfPackageNet(ln), nil
}

// controlFunc is the type of net.ListenConfig.Control.
type controlFunc = func(network, address string, c syscall.RawConn) error

// reusePort returns a Control function that sets the option after next, which may be nil.
func reusePort(next controlFunc) controlFunc {
	return func(network, address string, c syscall.RawConn) error {
		if next != nil {
			if err := next(network, address, c); err != nil {
				return err
			}
		}
		return asUnsupported(sock.ReusePort(c))
	}
}

// ConvertListener makes a Listener of any net.Listener. Its Accept returns a [Connection], made as [NewConnection] does.
// Closing the result closes l too. A Listener is returned as it is, also one of another package.
//
// Where this system has a poller a *net.TCPListener or *net.UnixListener is converted by duplicating its descriptor,
// and closing l alone leaves the result as it is. The settings of its owner hold for accepted connections as they do in
// package net: the KeepAlive and KeepAliveConfig of a [net.ListenConfig], and the options that its Control has set.
// Other types, above all those that wrap a listener in order to change what Accept does, TLS listeners among them, are
// asked for connections by their Accept.
//
// A converted listener that is closed while an [EventLoop] serves it stops accepting, and Serve goes on until Shutdown.
func ConvertListener(l net.Listener) (nl Listener, err error) {
	if converted, ok := l.(Listener); ok {
		return converted, nil
	}
	if isNil(l) {
		return nil, errors.New("netpoll: convert listener: it is nil")
	}
	ln, err := convert(l)
	if err != nil {
		return nil, err
	}
	return ln, nil
}

// listenerToServe is ConvertListener for a server. A listener that is not of package net and was not converted before
// ends Serve when it is closed.
func listenerToServe(l net.Listener) (serverListener, error) {
	if ln, ok := l.(serverListener); ok {
		return ln, nil
	}
	if ofPackageNet(l) {
		return convert(l)
	}
	return newNetListener(l), nil
}

// ofPackageNet reports whether l is a plain listener of package net.
func ofPackageNet(l net.Listener) bool {
	switch l.(type) {
	case *net.TCPListener, *net.UnixListener:
		return true
	}
	return false
}

// opError gives an error of a listener the form that package net gives it.
func opError(op string, addr net.Addr, err error) error {
	network := ""
	if addr != nil {
		network = addr.Network()
	}
	return &net.OpError{Op: op, Net: network, Addr: addr, Err: err}
}

// sessionListener is a listener whose connections may have TLS.
type sessionListener interface {
	serverListener
	// acceptSession is Accept. The connection has TLS unless side is nil.
	acceptSession(side *tlsSide) (net.Conn, error)
}

// socketListener is a listener for a socket, below its public type.
type socketListener interface {
	sessionListener
	SetDeadline(t time.Time) error
	File() (f *os.File, err error)
	SyscallConn() (syscall.RawConn, error)
	// acceptNet is Accept that returns a connection of package net.
	acceptNet() (net.Conn, error)
	// setUnlinkOnClose says whether Close removes the file of a Unix socket.
	setUnlinkOnClose(unlink bool)
}

// tcpListener has the methods of *net.TCPListener.
type tcpListener struct{ socketListener }

// unixListener has the methods of *net.UnixListener.
type unixListener struct{ socketListener }

// asOfPackageNet gives ln the type for its network.
func asOfPackageNet(ln socketListener) serverListener {
	if ln.Addr().Network() == "unix" {
		return &unixListener{ln}
	}
	return &tcpListener{ln}
}

// AcceptTCP is Accept that returns a connection of package net, which no poller of this package watches.
func (ln *tcpListener) AcceptTCP() (*net.TCPConn, error) {
	conn, err := ln.acceptNet()
	if err != nil {
		return nil, err
	}
	return conn.(*net.TCPConn), nil
}

// AcceptUnix is Accept that returns a connection of package net, which no poller of this package watches.
func (ln *unixListener) AcceptUnix() (*net.UnixConn, error) {
	conn, err := ln.acceptNet()
	if err != nil {
		return nil, err
	}
	return conn.(*net.UnixConn), nil
}

// SetUnlinkOnClose says whether Close removes the file of the socket, as it does if this package has made it.
func (ln *unixListener) SetUnlinkOnClose(unlink bool) { ln.setUnlinkOnClose(unlink) }
