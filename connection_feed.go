package netpoll

// This file holds connections over a net.Conn: how they are made, how they are given their input, and what they lend of
// the net.Conn below them.

import (
	"errors"
	"net"
	"reflect"
	"syscall"
)

// NewConnection makes a [Connection] of any [net.Conn]: one of crypto/tls, an end of a [net.Pipe], one of your own. It
// has all that other connections have: buffers, callbacks, deadlines, the same errors. A *net.TCPConn or *net.UnixConn
// is taken over by a poller if this system has one, and costs nothing while it waits. For all others there is a
// goroutine that reads while reading is wanted; it notices the peer's end, but not while unread input is at its bound.
//
// The connection owns conn from then on: nobody else may use it, and Close closes it. After an error it still belongs
// to the caller. A value that is a Connection of this package already is returned as it is.
//
// conn must keep the promises of net.Conn: above all Close and a deadline must end a Read or Write that is blocked. One
// that heeds no deadlines works too, except that write timeouts are its own business and that Detach fails. A TLS
// connection may be given before its handshake, which then takes place with the first input or output. The addresses
// are conn's: it is asked for them when somebody asks for them, and may wait then for a header of the PROXY protocol.
func NewConnection(conn net.Conn) (Connection, error) {
	if isNil(conn) {
		return nil, errors.New("netpoll: new connection: it is nil")
	}
	if own := connectionOfValue(conn); own != nil {
		return own.self, nil
	}
	c, err := connectionOf(conn)
	if err != nil {
		return nil, err
	}
	if err := c.start(causeDetach); err != nil {
		c.closeDuplicate()
		return nil, err
	}
	c.closeOriginal(conn)
	return c.self, nil
}

// isNil also holds for a nil pointer in the interface.
func isNil(v any) bool {
	if v == nil {
		return true
	}
	p := reflect.ValueOf(v)
	return p.Kind() == reflect.Pointer && p.IsNil()
}

// newNetConnection makes a connection that owns conn. It must then be prepared and started, or closed. Whoever accepts
// calls it, so it asks conn nothing: the peer may have to say something before there is an answer.
func newNetConnection(conn net.Conn) *connection {
	c := newConnection(networkOf(conn))
	c.setTransport(conn)
	return c
}

// answersAtOnce reports whether conn is known to give its addresses without waiting: one of package net is, also below
// TLS. It goes by the names of types, since package crypto/tls is large and not every program has it.
func answersAtOnce(conn net.Conn) bool {
	if _, ok := conn.(interface{ streamNetwork() string }); ok || conn == nil {
		return ok
	}
	typ := reflect.TypeOf(conn)
	if typ.Kind() != reflect.Pointer {
		return false
	}
	switch typ.Elem().PkgPath() {
	case "net":
		return true
	case "crypto/tls":
		over, ok := conn.(interface{ NetConn() net.Conn })
		return ok && answersAtOnce(over.NetConn())
	}
	return false
}

// networkOf returns "tcp" or "unix" for a plain stream of that kind, and "" for anything else.
func networkOf(conn net.Conn) string {
	switch conn := conn.(type) {
	case *net.TCPConn:
		return "tcp"
	case *net.UnixConn:
		if addr := conn.LocalAddr(); addr == nil || addr.Network() == "unix" {
			return "unix"
		}
	case interface{ streamNetwork() string }:
		return conn.streamNetwork()
	}
	return ""
}

// NetConn returns the [net.Conn] that carries the connection, for what only that one knows, such as the state of a TLS
// session. It must not be read from, written to, or closed. It is nil for a connection that a poller watches.
func (c *connection) NetConn() net.Conn {
	if t, ok := c.transport.(*netConn); ok {
		return t.conn
	}
	return nil
}

// withNetConn runs f while the connection cannot be released.
func (c *connection) withNetConn(what string, f func(conn net.Conn) error) error {
	if c.life.enter(0, phasePeerDone) != entered {
		return c.closedError(what)
	}
	defer c.leave(0)
	conn := c.NetConn()
	if conn == nil {
		return Exception(ErrUnsupported, what)
	}
	return f(conn)
}

// netSyscallConn is SyscallConn for a net.Conn. What has been read from that is buffered here, so Read is not its own.
func (c *connection) netSyscallConn() (raw syscall.RawConn, err error) {
	err = c.withNetConn("when syscall conn", func(conn net.Conn) (err error) {
		s, ok := conn.(syscall.Conn)
		if !ok {
			return Exception(ErrUnsupported, "when syscall conn")
		}
		below, err := s.SyscallConn()
		if err == nil {
			raw = rawNetConn{below, c}
		}
		return err
	})
	return raw, err
}

// netFd is Fd for a net.Conn.
func (c *connection) netFd() (fd int) {
	fd = -1
	if s, ok := c.NetConn().(syscall.Conn); ok {
		if raw, err := s.SyscallConn(); err == nil {
			_ = raw.Control(func(n uintptr) { fd = int(n) }) // fails when it is closed
		}
	}
	return fd
}
