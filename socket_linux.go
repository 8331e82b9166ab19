//go:build !netconn

package netpoll

// This file holds the system calls on sockets that differ between systems, as Linux has them: accepting, names, pairs.

import (
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/cloudwego/netpoll/internal/fault"
)

// acceptSocket takes a connection that waits at the listening socket fd. The new descriptor is non-blocking and
// close-on-exec from the beginning. The error is a bare errno.
func acceptSocket(fd int, peer *sockaddr) (int, error) {
	for {
		peer.size = unix.SizeofSockaddrAny
		nfd, errno := uintptr(0), fault.Check(fault.Accept)
		if errno == 0 {
			nfd, _, errno = unix.Syscall6(unix.SYS_ACCEPT4, uintptr(fd), uintptr(unsafe.Pointer(&peer.raw)),
				uintptr(unsafe.Pointer(&peer.size)), unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0, 0)
		}
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

// unnamedSocket is what package net calls a Unix socket without a name.
const unnamedSocket = "@"

// prepareSocket has nothing to do: package syscall and the Go runtime see to it that writing to a socket whose peer is
// gone is an error, and no signal.
func prepareSocket(int) {}

// newSocketPair returns two connected Unix stream sockets, which are close-on-exec.
func newSocketPair() ([2]int, error) {
	return unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
}

// keepAliveCount is the option for the number of probes that go unanswered.
const keepAliveCount = unix.TCP_KEEPCNT
