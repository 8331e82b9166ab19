//go:build (linux && !netconn) || darwin || dragonfly || freebsd || netbsd || openbsd

package netpoll

// This file holds what package net has on its listeners beside Accept, for the listener that owns a descriptor.

import (
	"net"
	"os"
	"syscall"

	"github.com/cloudwego/netpoll/internal/sock"
)

var _ socketListener = (*listener)(nil)

// closesSlowly implements serverListener.
func (ln *listener) closesSlowly() bool { return false }

// SyscallConn gives access to the descriptor, for Control; there is nothing to read or write.
func (ln *listener) SyscallConn() (syscall.RawConn, error) { return rawListener{ln}, nil }

// rawListener implements syscall.RawConn.
type rawListener struct{ ln *listener }

// Control implements syscall.RawConn.
func (r rawListener) Control(f func(fd uintptr)) error {
	err := r.ln.hold(func(fd int) error {
		f(uintptr(fd))
		return nil
	})
	if err != nil {
		return r.ln.opError("raw-control", err)
	}
	return nil
}

// Read returns an error, as it does in package net.
func (rawListener) Read(func(uintptr) bool) error { return syscall.EINVAL }

// Write returns an error, as it does in package net.
func (rawListener) Write(func(uintptr) bool) error { return syscall.EINVAL }

// acceptNet implements socketListener.
func (ln *listener) acceptNet() (net.Conn, error) {
	socket, err := ln.acceptWaiting()
	if err != nil {
		return nil, ln.opError("accept", err)
	}
	conn, err := netConnOf(socket)
	if err != nil {
		return nil, ln.opError("accept", err)
	}
	return conn, nil
}

// netConnOf makes a connection of package net, which has a descriptor of its own and the options of the socket.
func netConnOf(socket socketInfo) (net.Conn, error) {
	file := os.NewFile(uintptr(socket.fd), socket.network)
	defer file.Close()
	keepAlive := net.KeepAliveConfig{}
	if socket.network == "tcp" {
		keepAlive = sock.KeepAlive(socket.fd)
	}
	conn, err := net.FileConn(file)
	if tcp, ok := conn.(*net.TCPConn); ok && err == nil {
		_ = tcp.SetKeepAliveConfig(keepAlive) // can only mean that the peer is gone already
	}
	return conn, err
}

// setUnlinkOnClose implements socketListener. The file of a listener that was converted is the original's.
func (ln *listener) setUnlinkOnClose(unlink bool) {
	if u, ok := ln.original.(*net.UnixListener); ok {
		u.SetUnlinkOnClose(unlink)
	}
	ln.mu.Lock()
	defer ln.mu.Unlock()
	ln.keepPath = !unlink
}

func (ln *listener) keepsPath() bool {
	ln.mu.Lock()
	defer ln.mu.Unlock()
	return ln.keepPath
}
