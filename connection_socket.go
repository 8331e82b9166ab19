//go:build (linux && !netconn) || darwin || dragonfly || freebsd || netbsd || openbsd

package netpoll

// This file holds how a connection is made of a socket that a poller watches, and of what package net gives.

import (
	"net"
	"net/netip"
	"os"

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
	c.common.sysfd = s.fd
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

// plainSocket returns the descriptor if sends, or receives, may be done on it past the transport.
func (c *connection) plainSocket(receive bool) (fd int, ok bool) {
	if c.transport == transport(&c.common) {
		return c.common.sysfd, true
	}
	u, ok := c.transport.(*unixSocket)
	return c.common.sysfd, ok && !(receive && u.keep.Load())
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

// File returns a duplicate of the descriptor as a file, as the connections of package net do, except that it stays
// non-blocking, also after its Fd. The two are closed each by itself; both act on the same socket, so reading from the
// file takes bytes away from the connection. If SO_LINGER is set with a time, closing the connection switches that off
// for both.
func (c *connection) File() (f *os.File, err error) {
	if c.NetConn() != nil {
		return c.netFile()
	}
	err = c.withFd("when file", func(fd int) error {
		dup, err := sock.Duplicate(fd)
		if err != nil {
			return err
		}
		f = os.NewFile(uintptr(dup), c.network+":"+c.peerName())
		return nil
	})
	return f, err
}
