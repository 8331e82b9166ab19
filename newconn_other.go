//go:build !((linux && !netconn) || darwin || dragonfly || freebsd || netbsd || openbsd)

package netpoll

// This file holds connections on systems that have no poller here: a net.Conn carries each of them.

import (
	"net"
)

// commonTransport is part of every connection, which saves an allocation.
type commonTransport = netConn

// connectionOf makes a connection of conn. It must then be prepared and started, or closed, and replace conn.
func connectionOf(conn net.Conn) (*connection, error) { return newNetConnection(conn), nil }

// closeOriginal has nothing to do: conn carries the connection.
func (c *connection) closeOriginal(net.Conn) {}

// closeDuplicate has nothing to do either.
func (c *connection) closeDuplicate() {}

// setTransport makes conn carry the connection.
func (c *connection) setTransport(conn net.Conn) {
	c.common.init(conn, c)
	c.transport = &c.common
}
