package netpoll

// This file holds the listener around any net.Listener, and its accepting for callers. Accepting for a server is in
// acceptor_netconn.go.

import (
	"errors"
	"net"
	"os"
	"syscall"
	"time"
)

// netListener owns its net.Listener.
type netListener struct {
	net.Listener
	converted bool // its Close does not end Serve

	listenerState
}

var (
	_ Listener       = (*netListener)(nil)
	_ serverListener = (*netListener)(nil)
)

func newNetListener(l net.Listener) *netListener { return &netListener{Listener: l} }

// Accept waits for a connection and returns it: a [Connection] without handlers, which belongs to the caller.
func (ln *netListener) Accept() (net.Conn, error) {
	c, err := ln.accept()
	if err != nil {
		return nil, err
	}
	if err := c.start(causePoller); err != nil {
		return nil, ln.opError("accept", err)
	}
	return c.self, nil
}

// accept waits for a connection, which then must be prepared and started, or closed.
func (ln *netListener) accept() (*connection, error) {
	conn, err := ln.Listener.Accept()
	if err != nil {
		if ln.isClosed() && !errors.Is(err, net.ErrClosed) { // in-memory listeners have errors of their own
			err = errors.Join(net.ErrClosed, err)
		}
		return nil, err
	}
	c, err := connectionOf(conn)
	if err != nil {
		_ = conn.Close()
		return nil, ln.opError("accept", err)
	}
	c.closeOriginal(conn)
	return c, nil
}

// Close ends the listening and wakes those that wait in Accept. A Serve that accepts from it ends with an error, unless
// the listener came from [ConvertListener]. A second Close returns an error that Is [net.ErrClosed] and has no effect.
func (ln *netListener) Close() error {
	a, first := ln.shut()
	if !first {
		return ln.closedError("close")
	}
	if a != nil {
		a.listenerClosed(ln.converted)
	}
	err := ln.Listener.Close()
	if ln.converted && errors.Is(err, net.ErrClosed) {
		return nil // the original was closed before
	}
	return err
}

// closesSlowly implements serverListener.
func (ln *netListener) closesSlowly() bool { return true }

func (ln *netListener) opError(op string, err error) error { return opError(op, ln.Addr(), err) }

func (ln *netListener) closedError(op string) error { return ln.opError(op, net.ErrClosed) }

// outlives reports whether err says that the listener, or the one below it, was closed, and Serve goes on nevertheless.
func (ln *netListener) outlives(err error) bool {
	return ln.converted && errors.Is(err, net.ErrClosed) && (ln.isClosed() || ofPackageNet(ln.Listener))
}

// Fd implements Listener. It is -1 if there is no descriptor.
func (ln *netListener) Fd() (fd int) {
	fd = -1
	if s, ok := ln.Listener.(syscall.Conn); ok && !ln.isClosed() {
		if raw, err := s.SyscallConn(); err == nil {
			_ = raw.Control(func(n uintptr) { fd = int(n) })
		}
	}
	return fd
}

// SetDeadline limits calls of Accept, also those that are waiting. The zero time means no limit. The listener below
// must have a SetDeadline, too.
func (ln *netListener) SetDeadline(t time.Time) error {
	d, ok := ln.Listener.(interface{ SetDeadline(time.Time) error })
	if !ok {
		return ln.opError("set", Exception(ErrUnsupported, "deadlines"))
	}
	return d.SetDeadline(t)
}

// SyscallConn gives access to the descriptor, if there is one.
func (ln *netListener) SyscallConn() (syscall.RawConn, error) {
	s, ok := ln.Listener.(syscall.Conn)
	if !ok {
		return nil, ln.opError("syscall", Exception(ErrUnsupported, "access to the descriptor"))
	}
	return s.SyscallConn()
}

// acceptNet implements socketListener.
func (ln *netListener) acceptNet() (net.Conn, error) { return ln.Listener.Accept() }

// setUnlinkOnClose implements socketListener.
func (ln *netListener) setUnlinkOnClose(unlink bool) {
	if u, ok := ln.Listener.(*net.UnixListener); ok {
		u.SetUnlinkOnClose(unlink)
	}
}

// File returns a duplicate of the descriptor, if there is one. Closing either leaves the other open, but both are the
// same socket.
func (ln *netListener) File() (f *os.File, err error) {
	filer, ok := ln.Listener.(interface{ File() (*os.File, error) })
	if !ok {
		return nil, ln.opError("file", Exception(ErrUnsupported, "files"))
	}
	return filer.File()
}
