//go:build linux || darwin || dragonfly || freebsd || netbsd || openbsd

package netpoll

// This file holds the look at a socket that takes nothing.

import (
	"golang.org/x/sys/unix"

	"github.com/cloudwego/netpoll/internal/fault"
)

// canPeek: peekSocket tells something on this system.
const canPeek = true

// peekSocket reports whether fd has nothing to receive, and no end of its stream either. It does not wait. After an
// error nothing is known.
func peekSocket(fd int) (quiet bool, err error) {
	if errno := fault.Check(fault.Recv); errno != 0 {
		return false, errno
	}
	var p [1]byte
	_, _, err = unix.Recvfrom(fd, p[:], unix.MSG_PEEK|unix.MSG_DONTWAIT)
	switch err {
	case unix.EAGAIN:
		return true, nil
	case unix.ENOTSOCK: // a pipe
		list := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
		n, err := unix.Poll(list, 0)
		return n == 0 && err == nil, err
	}
	return false, err
}
