//go:build linux || darwin || dragonfly || freebsd || netbsd || openbsd

package netpoll

// This file holds TCP keepalive for any descriptor. The names of the options differ between systems: see socket_*.go.

import (
	"os"

	"golang.org/x/sys/unix"

	"github.com/cloudwego/netpoll/internal/fault"
)

// setKeepAliveOption does nothing for a negative value, and where the system has no such option (OpenBSD).
func setKeepAliveOption(fd, option, value int) error {
	if value < 0 || option == 0 {
		return nil
	}
	return setOption(fd, unix.IPPROTO_TCP, option, value)
}

// SetKeepAlive switches TCP keepalive on for a descriptor: after secs seconds without traffic the peer is probed, every
// secs seconds. secs is at least 1 and at most what the system takes (32767 on Linux). OpenBSD has one time for the
// whole system, and keeps it.
func SetKeepAlive(fd, secs int) error {
	if secs < 1 {
		return os.NewSyscallError("setsockopt", unix.EINVAL)
	}
	if err := setOption(fd, unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1); err != nil {
		return os.NewSyscallError("setsockopt", err)
	}
	if err := setKeepAliveOption(fd, keepAliveInterval, secs); err != nil {
		return os.NewSyscallError("setsockopt", err)
	}
	return os.NewSyscallError("setsockopt", setKeepAliveOption(fd, keepAliveIdle, secs))
}

func setOption(fd, level, option, value int) error {
	if errno := fault.Check(fault.Setsockopt); errno != 0 {
		return errno
	}
	return unix.SetsockoptInt(fd, level, option, value)
}
