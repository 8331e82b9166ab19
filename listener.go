package netpoll

// This file holds listeners: how they are made, the one type behind them, and its accepting for callers. Accepting for
// a server is in acceptor.go.

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Listener is a [net.Listener] that shows its descriptor. Those made by this package are real listeners beside that:
// Accept blocks and returns a [Connection], so that they can be given to anything that serves a net.Listener. They also
// have SetDeadline(time.Time) error and File() (*os.File, error), with the meaning they have in package net.
type Listener interface {
	net.Listener

	// Fd returns the descriptor, or -1 after Close. It stays the property of the listener.
	Fd() (fd int)
}

// ListenConfig makes listeners with options beyond those of [CreateListener]. The zero value is ready to use.
type ListenConfig struct {
	// ListenConfig holds the options of package net: Control, KeepAlive, KeepAliveConfig, multipath TCP.
	net.ListenConfig

	// ReusePort lets several listeners, of this process or others, share the address: the system spreads newcomers
	// over them. All of them must set it.
	ReusePort bool

	// Backlog bounds how many newcomers the system keeps waiting; it may have a lower bound of its own. 0 or less
	// means as many as the system allows.
	Backlog int
}

// CreateListener listens on a network address, as [net.Listen] does. The network is "tcp", "tcp4", "tcp6" or "unix".
func CreateListener(network, addr string) (l Listener, err error) {
	return new(ListenConfig).Listen(context.Background(), network, addr)
}

// Listen is CreateListener with the options in lc. The context bounds the resolving of the address only.
func (lc *ListenConfig) Listen(ctx context.Context, network, address string) (Listener, error) {
	if strings.HasPrefix(network, "udp") {
		return nil, Exception(ErrUnsupported, "UDP")
	}
	if network == "unixpacket" {
		return nil, Exception(ErrUnsupported, network)
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
	return ln, nil
}

// takeOver replaces original, which it closes unless it returns an error.
func (lc *ListenConfig) takeOver(original net.Listener) (*listener, error) {
	ln, err := duplicateListener(original, keepAliveOf(&lc.ListenConfig))
	if err != nil {
		return nil, err
	}
	if lc.Backlog > 0 {
		if err := unix.Listen(ln.sysfd, lc.Backlog); err != nil { // on a listening socket this changes the bound
			_ = ln.file.Close()
			return nil, os.NewSyscallError("listen", err)
		}
	}
	if u, ok := original.(*net.UnixListener); ok {
		u.SetUnlinkOnClose(false) // the path goes with the new listener
		ln.path = pathToUnlink(ln.addr)
	}
	_ = original.Close()
	return ln, nil
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
		var failure error
		err := c.Control(func(fd uintptr) {
			failure = os.NewSyscallError("setsockopt", unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEPORT, 1))
		})
		return errors.Join(err, failure)
	}
}

// pathToUnlink is the file of a Unix socket; "" if it is in the abstract name space.
func pathToUnlink(addr net.Addr) string {
	u, ok := addr.(*net.UnixAddr)
	if !ok || strings.HasPrefix(u.Name, "@") {
		return ""
	}
	return u.Name
}

// ConvertListener makes a Listener of a *net.TCPListener or a *net.UnixListener, by duplicating its descriptor. Closing
// the result closes l too; closing l alone leaves the result as it is. A Listener is returned as it is. Other types,
// above all those that wrap a listener in order to change what Accept does, give an error that Is [ErrUnsupported].
//
// A converted listener that is closed while an [EventLoop] serves it stops accepting, and Serve goes on until Shutdown.
func ConvertListener(l net.Listener) (nl Listener, err error) {
	if converted, ok := l.(Listener); ok {
		return converted, nil
	}
	ln, err := convert(l)
	if err != nil {
		return nil, err
	}
	return ln, nil
}

func convert(l net.Listener) (*listener, error) {
	switch t := l.(type) {
	case *net.TCPListener:
		if t == nil {
			return nil, errors.New("netpoll: convert listener: it is nil")
		}
	case *net.UnixListener:
		if t == nil {
			return nil, errors.New("netpoll: convert listener: it is nil")
		}
		if network := t.Addr().Network(); network != "unix" {
			return nil, Exception(ErrUnsupported, "listeners on "+network)
		}
	default:
		return nil, Exception(ErrUnsupported, fmt.Sprintf("listeners of type %T", l))
	}
	ln, err := duplicateListener(l, keepAliveOf(new(net.ListenConfig)))
	if err != nil {
		return nil, &net.OpError{Op: "listen", Net: l.Addr().Network(), Addr: l.Addr(), Err: err}
	}
	ln.original = l
	return ln, nil
}

// listenerToServe is ConvertListener for what a server can accept from.
func listenerToServe(l net.Listener) (*listener, error) {
	if ln, ok := l.(*listener); ok {
		return ln, nil
	}
	return convert(l)
}

// listener is a listening stream socket. Its file is the reference-counted owner of the descriptor: the descriptor is
// closed when the file has been closed and the last call that uses it has returned.
type listener struct {
	file  *os.File
	raw   syscall.RawConn // of file
	sysfd int

	addr      net.Addr
	network   string              // "tcp" or "unix"
	wildcard  bool                // addr is not the address of any connection
	keepAlive net.KeepAliveConfig // for accepted connections, if they are TCP
	original  net.Listener        // closed together with this one, if it was converted
	path      string              // removed by Close, if it is not empty

	// mu guards what follows. It is not held during calls of the acceptor.
	mu       sync.Mutex
	closed   bool
	acceptor *acceptor // the Serve that accepts from it
}

var _ Listener = (*listener)(nil)

// duplicateListener makes a listener with a descriptor of its own for the socket of l.
func duplicateListener(l net.Listener, keepAlive net.KeepAliveConfig) (*listener, error) {
	fd, err := duplicateOf(l)
	if err != nil {
		return nil, err
	}
	ln := &listener{sysfd: fd, addr: l.Addr(), network: "unix", keepAlive: keepAlive}
	if tcp, ok := ln.addr.(*net.TCPAddr); ok {
		ln.network = "tcp"
		ln.wildcard = tcp.IP.IsUnspecified()
	}
	ln.file = os.NewFile(uintptr(fd), ln.network+":"+ln.addr.String())
	if err := ln.file.SetReadDeadline(time.Time{}); err != nil { // fails if Accept could not wait
		_ = ln.file.Close()
		return nil, err
	}
	if ln.raw, err = ln.file.SyscallConn(); err != nil {
		_ = ln.file.Close()
		return nil, err
	}
	return ln, nil
}

// Accept waits for a connection and returns it: a [Connection] without handlers, which belongs to the caller. Several
// goroutines may call it at once, also beside a server. Close and a deadline end it with an error that Is
// [net.ErrClosed] and [os.ErrDeadlineExceeded].
func (ln *listener) Accept() (net.Conn, error) {
	socket, err := ln.acceptWaiting()
	if err != nil {
		return nil, ln.opError("accept", err)
	}
	c := newSocketConnection(socket)
	if err := c.start(causeFailed); err != nil {
		return nil, ln.opError("accept", err)
	}
	return c.self, nil
}

// acceptWaiting takes the next socket that is ready to be used.
func (ln *listener) acceptWaiting() (socket socketInfo, err error) {
	for {
		rawErr := ln.raw.Read(func(uintptr) (done bool) {
			socket, err = ln.acceptNow()
			return err != error(syscall.EAGAIN)
		})
		switch {
		case rawErr != nil:
			return socket, ln.fileError(rawErr)
		case err == nil:
			return socket, nil
		case err != error(syscall.ECONNABORTED):
			return socket, os.NewSyscallError("accept4", err)
		}
	}
}

// accept takes a socket that is waiting. If there is none the error Is EAGAIN.
func (ln *listener) accept() (socket socketInfo, err error) {
	err = ln.hold(func(int) (err error) {
		socket, err = ln.acceptNow()
		return os.NewSyscallError("accept4", err)
	})
	return socket, err
}

// acceptNow is accept for a caller that holds the descriptor open. Its errors are bare errnos.
func (ln *listener) acceptNow() (socket socketInfo, err error) {
	var peer sockaddr
	fd, err := acceptSocket(ln.sysfd, &peer)
	if err != nil {
		return socket, err
	}
	socket = socketInfo{fd: fd, network: ln.network, local: ln.addr}
	if ln.network != "tcp" {
		socket.remote = peer.unixAddr()
		return socket, nil
	}
	socket.remoteAP = peer.addrPort()
	if ln.wildcard {
		socket.local = localAddr(fd)
	}
	setNoDelay(fd)
	setKeepAliveConfig(fd, ln.keepAlive)
	return socket, nil
}

// fileError gives an error of ln.file the name it has in package net.
func (ln *listener) fileError(err error) error {
	if ln.isClosed() {
		return net.ErrClosed
	}
	return err
}

func (ln *listener) opError(op string, err error) error {
	return &net.OpError{Op: op, Net: ln.network, Addr: ln.addr, Err: err}
}

func (ln *listener) closedError(op string) error { return ln.opError(op, net.ErrClosed) }

func (ln *listener) isClosed() bool {
	ln.mu.Lock()
	defer ln.mu.Unlock()
	return ln.closed
}

// Close ends the listening and wakes those that wait in Accept. A Serve that accepts from it ends with an error, unless
// the listener came from [ConvertListener]. The file of a Unix socket is removed. A second Close returns an error that
// Is [net.ErrClosed] and has no effect.
func (ln *listener) Close() error {
	ln.mu.Lock()
	if ln.closed {
		ln.mu.Unlock()
		return ln.closedError("close")
	}
	ln.closed = true
	a := ln.acceptor
	ln.mu.Unlock()

	if a != nil {
		a.listenerClosed(ln.original != nil) // the descriptor must not be watched when it is closed
	}
	if ln.path != "" {
		_ = unix.Unlink(ln.path) // may be gone already; package net does not tell either
	}
	err := ln.file.Close()
	if ln.original != nil {
		if e := ln.original.Close(); e != nil && !errors.Is(e, net.ErrClosed) {
			err = errors.Join(err, e)
		}
	}
	return err
}

// errServedAlready ends a second Serve of a listener; the first goes on.
var errServedAlready = errors.New("netpoll: serve: listener is being served already")

// attach makes a the one that is told of Close.
func (ln *listener) attach(a *acceptor) error {
	ln.mu.Lock()
	defer ln.mu.Unlock()
	switch {
	case ln.closed:
		return ln.closedError("accept")
	case ln.acceptor != nil:
		return errServedAlready
	}
	ln.acceptor = a
	return nil
}

// attached reports whether a is told of Close.
func (ln *listener) attached(a *acceptor) bool {
	ln.mu.Lock()
	defer ln.mu.Unlock()
	return ln.acceptor == a
}

// hold calls f while the descriptor cannot be closed.
func (ln *listener) hold(f func(fd int) error) (err error) {
	if rawErr := ln.raw.Control(func(fd uintptr) { err = f(int(fd)) }); rawErr != nil {
		return ln.fileError(rawErr)
	}
	return err
}

func (ln *listener) detach(a *acceptor) {
	ln.mu.Lock()
	defer ln.mu.Unlock()
	if ln.acceptor == a {
		ln.acceptor = nil
	}
}

// Addr returns the address that is listened on.
func (ln *listener) Addr() net.Addr { return ln.addr }

// Fd implements Listener.
func (ln *listener) Fd() (fd int) {
	if ln.isClosed() {
		return -1
	}
	return ln.sysfd
}

// SetDeadline bounds calls of Accept, also those that are waiting. The zero time means no bound.
func (ln *listener) SetDeadline(t time.Time) error {
	if err := ln.file.SetReadDeadline(t); err != nil {
		return ln.opError("set", ln.fileError(err))
	}
	return nil
}

// File returns a duplicate of the descriptor. Closing either leaves the other open, but both are the same socket.
func (ln *listener) File() (f *os.File, err error) {
	fd, err := duplicate(ln.raw)
	if err != nil {
		return nil, ln.opError("file", ln.fileError(err))
	}
	return os.NewFile(uintptr(fd), ln.file.Name()), nil
}
