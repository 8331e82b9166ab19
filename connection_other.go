//go:build !((linux && !netconn) || darwin || dragonfly || freebsd || netbsd || openbsd)

package netpoll

// This file holds connections on systems that have no poller here: a net.Conn carries each of them.

import (
	"net"
	"syscall"
)

// commonTransport is part of every connection, which saves an allocation.
type commonTransport = netConn

// connectionOf makes a connection of conn. It must then be prepared and started, or closed, and replace conn.
func connectionOf(conn net.Conn) (*connection, error) { return newNetConnection(conn), nil }

// closeOriginal has nothing to do: conn carries the connection.
func (c *connection) closeOriginal(net.Conn) {}

// closeDuplicate has nothing to do either.
func (c *connection) closeDuplicate() {}

// setTransport makes conn what carries the connection.
func (c *connection) setTransport(conn net.Conn) {
	c.common.init(conn, c)
	c.transport = &c.common
}

// SyscallConn is that of the [net.Conn] below, if it has one. Read counts as the one reader of the connection, and the
// deadline that holds when it begins bounds its waiting. If input is in the connection's buffer already, which the
// function given to it would not see, that is not called and the error Is [ErrBufferedInput]. Control calls its function
// at once, whatever is buffered. What either receives is not seen by the connection.
func (c *connection) SyscallConn() (syscall.RawConn, error) { return c.netSyscallConn() }
