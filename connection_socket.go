//go:build (linux && !netconn) || darwin || dragonfly || freebsd || netbsd || openbsd

package netpoll

// This file holds how a connection is made of a socket that a poller watches, and of what package net gives.

import (
	"net"
	"net/netip"

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
	remoteAP netip.AddrPort // instead of remote: turned into a *net.TCPAddr when somebody asks
}

// newSocketConnection makes a connection that owns s.fd. It must then be prepared and started, or closed.
func newSocketConnection(s socketInfo) *connection {
	c := newConnection(s.network)
	c.common.sysfd, c.common.up = s.fd, c
	c.transport = &c.common
	if u, ok := c.self.(*UnixConnection); ok {
		u.control.init(c)
	}
	c.localAddr = s.local
	c.remoteAP = s.remoteAP
	if s.remote != nil {
		c.remote.Store(&s.remote)
	}
	return c
}

// connectionOf makes a connection of conn. What a poller can watch goes there, by a duplicate of its descriptor. The
// connection must then be prepared and started, or closed, and replace conn.
func connectionOf(conn net.Conn) (*connection, error) {
	network := networkOf(conn)
	if network == "" {
		return newNetConnection(conn), nil
	}
	fd, err := duplicateOf(conn)
	if err != nil {
		return nil, err
	}
	c := newSocketConnection(socketInfo{fd: fd, network: network, local: conn.LocalAddr(), remote: conn.RemoteAddr()})
	return c, nil
}

// closeOriginal closes conn, of which c was made, unless c needs it: a duplicate keeps the socket open.
func (c *connection) closeOriginal(conn net.Conn) {
	if c.NetConn() == nil {
		_ = conn.Close()
	}
}

// closeDuplicate frees the duplicate of a connection that was made by connectionOf and then detached.
func (c *connection) closeDuplicate() {
	if c.NetConn() == nil {
		_ = sock.Close(c.common.sysfd)
	}
}

// setTransport makes conn what carries the connection.
func (c *connection) setTransport(conn net.Conn) {
	t := new(netConn)
	t.init(conn, c)
	c.transport = t
}
