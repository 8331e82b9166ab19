package sock

// This file holds accepting, as Linux has it, and other functions for sockets of Linux.

import (
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/cloudwego/netpoll/internal/fault"
)

// Accept takes a connection that waits at the listening socket fd. The new descriptor is non-blocking and close-on-exec
// from the beginning. The error is a bare errno.
func Accept(fd int) (accepted int, peer Address, err error) {
	var name rawAddress
	for {
		name.size = unix.SizeofSockaddrAny
		nfd, errno := uintptr(0), fault.Check(fault.Accept)
		if errno == 0 {
			nfd, _, errno = unix.Syscall6(unix.SYS_ACCEPT4, uintptr(fd), uintptr(unsafe.Pointer(&name.raw)),
				uintptr(unsafe.Pointer(&name.size)), unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0, 0)
		}
		switch errno {
		case 0:
			return int(nfd), name.address(), nil
		case unix.EINTR:
		default:
			return -1, Address{}, errno
		}
	}
}

// NoSigpipe has nothing to do: with package syscall and the Go runtime, writing to a socket whose peer is gone is an
// error, and no signal.
func NoSigpipe(int) {}
