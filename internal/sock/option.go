//go:build linux || darwin || dragonfly || freebsd || netbsd || openbsd

package sock

// This file holds the options of sockets that package net has on its connections.

import (
	"os"

	"golang.org/x/sys/unix"

	"github.com/cloudwego/netpoll/internal/fault"
)

// SetNoDelay says whether output is sent at once.
func SetNoDelay(fd int, noDelay bool) error {
	return os.NewSyscallError("setsockopt", setOption(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, number(noDelay)))
}

// SetReadBuffer sets the size of what the system buffers for receiving.
func SetReadBuffer(fd, bytes int) error {
	return os.NewSyscallError("setsockopt", setOption(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, bytes))
}

// SetWriteBuffer sets the size of what the system buffers for sending.
func SetWriteBuffer(fd, bytes int) error {
	return os.NewSyscallError("setsockopt", setOption(fd, unix.SOL_SOCKET, unix.SO_SNDBUF, bytes))
}

// SetLinger is SetLinger of package net.
func SetLinger(fd, sec int) error {
	linger := unix.Linger{Onoff: int32(number(sec >= 0)), Linger: int32(max(sec, 0))}
	if errno := fault.Check(fault.Setsockopt); errno != 0 {
		return os.NewSyscallError("setsockopt", errno)
	}
	return os.NewSyscallError("setsockopt", unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &linger))
}

func setOption(fd, level, option, value int) error {
	if errno := fault.Check(fault.Setsockopt); errno != 0 {
		return errno
	}
	return unix.SetsockoptInt(fd, level, option, value)
}

func number(b bool) int {
	if b {
		return 1
	}
	return 0
}
