//go:build !((linux && !netconn) || darwin || dragonfly || freebsd || netbsd || openbsd)

package netpoll

// This file holds connections on systems that have no poller here: a net.Conn carries each of them.

import (
	"net"
)

// commonTransport is part of every connection, which saves an allocation.
type commonTransport = netConn

// sessionOf makes a connection of conn, with TLS unless side is nil. It must then be prepared and started, or closed, and
// replace conn.
func sessionOf(conn net.Conn, side *tlsSide) (*connection, error) {
	return newNetSession(conn, side), nil
}

// closeOriginal has nothing to do: conn carries the connection.
func (c *connection) closeOriginal(net.Conn) {}

// closeDuplicate has nothing to do either.
func (c *connection) closeDuplicate() {}

// successor makes a connection with TLS that has the transport of c, which was detached.
func (c *connection) successor(side *tlsSide) *connection {
	return newNetSession(c.transport.netConn(), side)
}

// setTransport makes conn carry the connection.
func (c *connection) setTransport(conn net.Conn) {
	c.common.init(conn, c)
	c.transport = &c.common
}
