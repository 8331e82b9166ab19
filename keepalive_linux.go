package netpoll

// This file holds TCP keepalive for any descriptor.

import (
	"os"

	"golang.org/x/sys/unix"
)

// SetKeepAlive switches TCP keepalive on for a descriptor: after secs seconds without traffic the peer is probed, every
// secs seconds. secs is at least 1 and at most what the system takes (32767 on Linux).
func SetKeepAlive(fd, secs int) error {
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1); err != nil {
		return os.NewSyscallError("setsockopt", err)
	}
	if err := unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_KEEPINTVL, secs); err != nil {
		return os.NewSyscallError("setsockopt", err)
	}
	return os.NewSyscallError("setsockopt", unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_KEEPIDLE, secs))
}
