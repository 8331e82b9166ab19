//go:build linux || darwin || dragonfly || freebsd || netbsd || openbsd

package sock

// This file holds the look at a socket that takes nothing.

import (
	"os"

	"golang.org/x/sys/unix"

	"github.com/cloudwego/netpoll/internal/fault"
)

// CanPeek: Peek works on this system.
const CanPeek = true

// Peek reports whether fd has nothing to receive, and no end of its stream either. It does not wait. After an error the
// answer is unknown.
func Peek(fd int) (quiet bool, err error) {
	if errno := fault.Check(fault.Recv); errno != 0 {
		return false, os.NewSyscallError("recv", errno)
	}
	var p [1]byte
	_, _, err = unix.Recvfrom(fd, p[:], unix.MSG_PEEK|unix.MSG_DONTWAIT)
	switch err {
	case unix.EAGAIN:
		return true, nil
	case unix.ENOTSOCK: // a pipe
		list := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
		n, err := unix.Poll(list, 0)
		return n == 0 && err == nil, os.NewSyscallError("poll", err)
	}
	return false, os.NewSyscallError("recv", err)
}
