package netpoll

// This file holds the listeners for sockets as they are handed out: with the methods that those of package net have.

import (
	"net"
	"os"
	"syscall"
	"time"
)

// socketListener is what a listener for a socket has below its public type.
type socketListener interface {
	serverListener
	SetDeadline(t time.Time) error
	File() (f *os.File, err error)
	SyscallConn() (syscall.RawConn, error)
	// acceptNet is Accept that returns a connection of package net.
	acceptNet() (net.Conn, error)
	// setUnlinkOnClose says whether Close removes the file of a Unix socket.
	setUnlinkOnClose(unlink bool)
}

// tcpListener has the methods of *net.TCPListener.
type tcpListener struct{ socketListener }

// unixListener has the methods of *net.UnixListener.
type unixListener struct{ socketListener }

// asOfPackageNet gives ln the type for its network.
func asOfPackageNet(ln socketListener) serverListener {
	if ln.Addr().Network() == "unix" {
		return &unixListener{ln}
	}
	return &tcpListener{ln}
}

// AcceptTCP is Accept that returns a connection of package net, which no poller of this package watches.
func (ln *tcpListener) AcceptTCP() (*net.TCPConn, error) {
	conn, err := ln.acceptNet()
	if err != nil {
		return nil, err
	}
	return conn.(*net.TCPConn), nil
}

// AcceptUnix is Accept that returns a connection of package net, which no poller of this package watches.
func (ln *unixListener) AcceptUnix() (*net.UnixConn, error) {
	conn, err := ln.acceptNet()
	if err != nil {
		return nil, err
	}
	return conn.(*net.UnixConn), nil
}

// SetUnlinkOnClose says whether Close removes the file of the socket, as it does if this package has made it.
func (ln *unixListener) SetUnlinkOnClose(unlink bool) { ln.setUnlinkOnClose(unlink) }
