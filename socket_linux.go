//go:build !netconn

package netpoll

// This file holds the system calls on sockets that differ between systems: accepting, names, and keepalive. What they
// do not need is not wrapped here.

import (
	"net"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// acceptSocket takes a connection that waits at the listening socket fd. The new descriptor is non-blocking and
// close-on-exec from the beginning. The error is a bare errno.
func acceptSocket(fd int, peer *sockaddr) (int, error) {
	for {
		peer.size = unix.SizeofSockaddrAny
		nfd, _, errno := unix.Syscall6(unix.SYS_ACCEPT4, uintptr(fd), uintptr(unsafe.Pointer(&peer.raw)),
			uintptr(unsafe.Pointer(&peer.size)), unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0, 0)
		switch errno {
		case 0:
			return int(nfd), nil
		case unix.EINTR:
		default:
			return -1, errno
		}
	}
}

func getSocketName(fd int, a *sockaddr) error { return socketName(unix.SYS_GETSOCKNAME, fd, a) }

func getPeerName(fd int, a *sockaddr) error { return socketName(unix.SYS_GETPEERNAME, fd, a) }

func socketName(call uintptr, fd int, a *sockaddr) error {
	a.size = unix.SizeofSockaddrAny
	_, _, errno := unix.RawSyscall(call, uintptr(fd), uintptr(unsafe.Pointer(&a.raw)),
		uintptr(unsafe.Pointer(&a.size)))
	if errno != 0 {
		return errno
	}
	return nil
}

// The keepalive settings of package net, for fields of net.KeepAliveConfig that are 0.
const (
	defaultKeepAliveIdle     = 15 * time.Second
	defaultKeepAliveInterval = 15 * time.Second
	defaultKeepAliveCount    = 9
)

// keepAliveOf returns what the connections of a listener made with lc get in package net.
func keepAliveOf(lc *net.ListenConfig) net.KeepAliveConfig {
	if lc.KeepAliveConfig.Enable || lc.KeepAlive < 0 {
		return lc.KeepAliveConfig
	}
	return net.KeepAliveConfig{Enable: true, Idle: lc.KeepAlive}
}

// setKeepAliveConfig applies config to a new TCP socket. Errors are left alone: they can only mean that the peer is
// gone already, which shows soon enough.
func setKeepAliveConfig(fd int, config net.KeepAliveConfig) {
	if !config.Enable {
		return
	}
	_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1)
	setKeepAliveTime(fd, unix.TCP_KEEPIDLE, config.Idle, defaultKeepAliveIdle)
	setKeepAliveTime(fd, unix.TCP_KEEPINTVL, config.Interval, defaultKeepAliveInterval)
	if count := config.Count; count >= 0 {
		if count == 0 {
			count = defaultKeepAliveCount
		}
		_ = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_KEEPCNT, count)
	}
}

// setKeepAliveTime sets one of the times. 0 stands for def, a negative time leaves the system's value.
func setKeepAliveTime(fd, option int, d, def time.Duration) {
	if d < 0 {
		return
	}
	if d == 0 {
		d = def
	}
	_ = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, option, wholeSeconds(d))
}

// setNoDelay sends what is written at once. For errors see setKeepAliveConfig.
func setNoDelay(fd int) { _ = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1) }
