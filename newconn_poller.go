//go:build (linux && !netconn) || darwin || dragonfly || freebsd || netbsd || openbsd

package netpoll

// This file holds how connections are made of sockets that a poller watches, of a net.Conn, and of descriptors.

import (
	"net"
	"net/netip"
	"syscall"

	"github.com/cloudwego/netpoll/internal/sock"
)

// commonTransport is part of every connection, which saves an allocation where it is used.
type commonTransport = socket

// socketInfo describes a connected stream socket that is to become a connection. Its descriptor is non-blocking and
// close-on-exec.
type socketInfo struct {
	fd       int
	network  string // "tcp", "unix" or "" for anything else
	local    net.Addr
	remote   net.Addr
	remoteAP netip.AddrPort // instead of remote: turned into a *net.TCPAddr on demand
}

// newSocketConnection makes a connection that owns s.fd. It must then be prepared and started, or closed.
func newSocketConnection(s socketInfo) *connection { return newSocketSession(s, nil) }

// newSocketSession is newSocketConnection of a connection with TLS, unless side is nil.
func newSocketSession(s socketInfo, side *tlsSide) *connection {
	c := newSession(s.network, side)
	c.common.sysfd, c.common.up = s.fd, c
	c.transport = &c.common
	if u, ok := c.self.(*UnixConnection); ok {
		u.control.init(c)
	}
	c.common.local, c.common.peer = s.local, s.remoteAP
	if s.remote != nil {
		c.remote.Store(&s.remote)
	}
	c.beginSession(side)
	return c
}

// sessionOf makes a connection of conn, with TLS unless side is nil. If a poller can watch conn, the connection gets a
// duplicate of its descriptor. The connection must then be prepared and started, or closed, and replace conn.
func sessionOf(conn net.Conn, side *tlsSide) (*connection, error) {
	if m, ok := conn.(sessionMaker); ok {
		return m.session(side)
	}
	network := networkOf(conn)
	if network == "" {
		return newNetSession(conn, side), nil
	}
	fd, err := duplicateOf(conn)
	if err != nil {
		return nil, err
	}
	c := newSocketSession(socketInfo{fd: fd, network: network, local: conn.LocalAddr(), remote: conn.RemoteAddr()}, side)
	return c, nil
}

// sessionMaker is a net.Conn of this package that is no connection yet. session makes one that owns what it has.
type sessionMaker interface {
	session(side *tlsSide) (*connection, error)
}

// closeOriginal closes conn, of which c was made, unless c needs it: a duplicate keeps the socket open.
func (c *connection) closeOriginal(conn net.Conn) {
	if c.descriptor() >= 0 {
		_ = conn.Close()
	}
}

// closeDuplicate frees the duplicate of a connection that was made by connectionOf and then detached.
func (c *connection) closeDuplicate() {
	if fd := c.descriptor(); fd >= 0 {
		_ = sock.Close(fd)
	}
}

// descriptor is the descriptor that a poller watches, also below a layer, or -1.
func (c *connection) descriptor() int {
	if c.layered {
		return c.layer().descriptor()
	}
	return c.transport.fd()
}

// setTransport makes conn carry the connection.
func (c *connection) setTransport(conn net.Conn) {
	t := new(netConn)
	t.init(conn, c)
	c.transport = t
}

// successor makes a connection with TLS that has the transport of c, which was detached.
func (c *connection) successor(side *tlsSide) *connection {
	if fd := c.transport.fd(); fd >= 0 {
		return newSocketSession(socketInfo{fd: fd, network: c.network.Value(), local: c.LocalAddr(), remote: c.RemoteAddr()}, side)
	}
	return newNetSession(c.transport.netConn(), side)
}

// duplicate returns a duplicate, close-on-exec, of the descriptor of raw. It shares the mode of the original, which
// package net makes non-blocking.
func duplicate(raw syscall.RawConn) (fd int, err error) {
	controlErr := raw.Control(func(original uintptr) { fd, err = sock.Duplicate(int(original)) })
	if controlErr != nil {
		return -1, controlErr
	}
	return fd, err
}

// duplicateOf is duplicate for a connection or listener of package net.
func duplicateOf(v any) (fd int, err error) {
	s, ok := v.(syscall.Conn)
	if !ok {
		return -1, Exception(ErrUnsupported, "what has no descriptor")
	}
	raw, err := s.SyscallConn()
	if err != nil {
		return -1, err
	}
	return duplicate(raw)
}

// NewFDConnection makes a connection of a descriptor: a connected stream socket of any kind, or an end of a pipe. The
// connection owns fd from then on, and makes it non-blocking and close-on-exec. Its addresses are nil if the descriptor
// has none. A descriptor of a file, of a listening socket or of packets gives an error and still belongs to the caller.
func NewFDConnection(fd int) (Connection, error) {
	network, err := sock.Classify(fd)
	if err != nil {
		return nil, asUnsupported(err)
	}
	if err := pollers.init(); err != nil { // while fd can still be given back
		return nil, err
	}
	if err := sock.Adopt(fd); err != nil {
		return nil, err
	}
	c := newSocketConnection(socketInfo{fd: fd, network: network, local: sock.LocalAddr(fd), remote: sock.RemoteAddr(fd)})
	if err := c.start(causeDetach); err != nil {
		return nil, err
	}
	return c.self, nil
}

// GetSysFdPairs returns two connected Unix stream sockets, close-on-exec, which the caller has to close or to give to
// [NewFDConnection]. Both are -1 if there are no descriptors left.
func GetSysFdPairs() (r, w int) {
	fds, err := sock.Pair()
	if err != nil {
		return -1, -1
	}
	return fds[0], fds[1]
}
