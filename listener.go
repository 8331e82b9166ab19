//go:build (linux && !netconn) || darwin || dragonfly || freebsd || netbsd || openbsd

package netpoll

// This file holds the listener that owns a descriptor: how it is made, and its accepting for callers. Accepting for a
// server is in acceptor_socket.go.

import (
	"errors"
	"net"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/cloudwego/netpoll/internal/sock"
)

// takeOver replaces original, which it closes unless it returns an error.
func (lc *ListenConfig) takeOver(original net.Listener) (*listener, error) {
	ln, err := duplicateListener(original, keepAliveOf(&lc.ListenConfig))
	if err != nil {
		return nil, err
	}
	if lc.Backlog > 0 {
		if err := sock.SetBacklog(uintptr(ln.sysfd), lc.Backlog); err != nil {
			_ = ln.file.Close()
			return nil, err
		}
	}
	if u, ok := original.(*net.UnixListener); ok {
		u.SetUnlinkOnClose(false) // the path goes with the new listener
		ln.path = pathToUnlink(ln.addr)
	}
	_ = original.Close()
	return ln, nil
}

// pathToUnlink is the file of a Unix socket; "" if it is in the abstract name space.
func pathToUnlink(addr net.Addr) string {
	u, ok := addr.(*net.UnixAddr)
	if !ok || strings.HasPrefix(u.Name, "@") {
		return ""
	}
	return u.Name
}

// convert makes a listener of l, with a descriptor of its own if l is of package net.
func convert(l net.Listener) (serverListener, error) {
	if !ofPackageNet(l) {
		ln := newNetListener(l)
		ln.converted = true
		return ln, nil
	}
	if network := l.Addr().Network(); network != "tcp" && network != "unix" {
		return nil, opError("listen", l.Addr(), unsupportedNetwork(network))
	}
	ln, err := duplicateListener(l, keepAliveOfListener(l))
	if err != nil {
		return nil, opError("listen", l.Addr(), err)
	}
	ln.original = l
	return asOfPackageNet(ln), nil
}

// listener is a listening stream socket. Its file is the reference-counted owner of the descriptor: the descriptor is
// closed when the file has been closed and the last call that uses it has returned.
type listener struct {
	file  *os.File
	raw   syscall.RawConn // of file
	sysfd int

	addr      net.Addr
	network   string              // "tcp" or "unix"
	keepAlive net.KeepAliveConfig // for accepted connections, if they are TCP
	original  net.Listener        // closed together with this one, if it was converted
	path      string              // of a Unix socket whose file is ours
	keepPath  bool                // Close is not to remove it; guarded by the mu of serving

	listenerState
}

var (
	_ Listener       = (*listener)(nil)
	_ serverListener = (*listener)(nil)
)

// duplicateListener makes a listener with a descriptor of its own for the socket of l.
func duplicateListener(l net.Listener, keepAlive net.KeepAliveConfig) (*listener, error) {
	fd, err := duplicateOf(l)
	if err != nil {
		return nil, err
	}
	ln := &listener{sysfd: fd, addr: l.Addr(), network: "unix", keepAlive: keepAlive}
	if _, ok := ln.addr.(*net.TCPAddr); ok {
		ln.network = "tcp"
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
	if err := c.start(causePoller); err != nil {
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
	fd, peer, err := sock.Accept(ln.sysfd)
	if err != nil {
		return socket, err
	}
	socket = socketInfo{fd: fd, network: ln.network, local: ln.addr}
	if ln.network != "tcp" {
		socket.remote = peer.Unix()
		return socket, nil
	}
	socket.remoteAP = peer.TCP
	// It need not be the listener's: that may be a wildcard, or the kernel was told to send others' connections here.
	if local := sock.LocalAddr(fd); local != nil {
		socket.local = local
	}
	_ = sock.SetNoDelay(fd, true) // fails if the peer is gone already
	sock.StartKeepAlive(fd, ln.keepAlive)
	return socket, nil
}

// unblock makes sure that accepting does not wait in the kernel. The mode belongs to everybody who has a duplicate of the
// descriptor, in other processes too, and package os changes it when a file of package net is given to a program.
func (ln *listener) unblock() error {
	return ln.hold(sock.Unblock)
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

// Close ends the listening and wakes those that wait in Accept. A Serve that accepts from it ends with an error, unless
// the listener came from [ConvertListener]. The file of a Unix socket is removed. A second Close returns an error that
// Is [net.ErrClosed] and has no effect.
func (ln *listener) Close() error {
	a, first := ln.shut()
	if !first {
		return ln.closedError("close")
	}
	if a != nil {
		a.listenerClosed(ln.original != nil) // the descriptor must not be watched when it is closed
	}
	if ln.path != "" && !ln.keepsPath() {
		_ = syscall.Unlink(ln.path) // may be gone already; package net does not tell either
	}
	err := ln.file.Close()
	if ln.original != nil {
		if e := ln.original.Close(); e != nil && !errors.Is(e, net.ErrClosed) {
			err = errors.Join(err, e)
		}
	}
	return err
}

// hold calls f while the descriptor cannot be closed.
func (ln *listener) hold(f func(fd int) error) (err error) {
	if rawErr := ln.raw.Control(func(fd uintptr) { err = f(int(fd)) }); rawErr != nil {
		return ln.fileError(rawErr)
	}
	return err
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
