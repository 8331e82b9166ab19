//go:build !((linux && !netconn) || darwin || dragonfly || freebsd || netbsd || openbsd)

package netpoll

// This file holds connections on systems that have no poller here: a net.Conn carries each of them.

import (
	"net"
	"os"
)

// commonTransport is part of every connection, which saves an allocation.
type commonTransport = netConn

// sysVector is the list that package net sends with one system call, if it can.
type sysVector = net.Buffers

// buffers returns the list to use for v.
func (v *vector) buffers() *net.Buffers { return &v.sys }

// plainSocket returns false: it is package net that has the descriptors.
func (c *connection) plainSocket(bool) (fd int, ok bool) { return -1, false }

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

// File is that of the [net.Conn] below, if it has one: a duplicate of the descriptor as a file. The two are closed each
// by itself; both act on the same socket, so reading from the file takes bytes away from the connection.
func (c *connection) File() (f *os.File, err error) { return c.netFile() }
