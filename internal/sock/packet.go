//go:build linux || darwin || dragonfly || freebsd || netbsd || openbsd

package sock

// This file holds what is asked about sockets of datagrams, and the sizes of their buffers.

import (
	"os"

	"golang.org/x/sys/unix"

	"github.com/cloudwego/netpoll/internal/fault"
)

// IsInet6 reports whether fd is a socket of IPv6, whose addresses of IPv4 are mapped into IPv6.
func IsInet6(fd int) (bool, error) {
	name, err := unix.Getsockname(fd)
	if err != nil {
		return false, os.NewSyscallError("getsockname", err)
	}
	_, inet6 := name.(*unix.SockaddrInet6)
	return inet6, nil
}

// Buffers returns how much the system buffers for receiving and for sending on fd, in bytes. Linux counts its own
// bookkeeping, and so gives about twice what was asked for.
func Buffers(fd int) (read, write int, err error) {
	if read, err = unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF); err == nil {
		write, err = unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUF)
	}
	return read, write, os.NewSyscallError("getsockopt", err)
}

// ForceReadBuffer is SetReadBuffer beyond the limit of the system. It reports whether that was allowed, and done.
func ForceReadBuffer(fd uintptr, bytes int) bool { return forceOption(fd, forceRead, bytes) }

// ForceWriteBuffer is SetWriteBuffer beyond the limit of the system. It reports whether that was allowed, and done.
func ForceWriteBuffer(fd uintptr, bytes int) bool { return forceOption(fd, forceWrite, bytes) }

func forceOption(fd uintptr, option, bytes int) bool {
	return option != 0 && fault.Check(fault.Setsockopt) == 0 &&
		unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, option, bytes) == nil
}
