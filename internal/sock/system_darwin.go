package sock

// This file holds what sockets of macOS have alone: no call takes flags, and the idle time of TCP keepalive has a name
// of its own.

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// acceptCloseOnExec leaves a gap between the two calls, in which a program that the process starts inherits the
// descriptor. Package net has the same gap: a lock against it would be held as long as accept blocks, if somebody has
// made the listener blocking.
func acceptCloseOnExec(fd int) (int, syscall.Sockaddr, error) {
	nfd, name, err := syscall.Accept(fd)
	if err != nil {
		return -1, nil, err
	}
	syscall.CloseOnExec(nfd)
	if err := syscall.SetNonblock(nfd, true); err != nil {
		_ = syscall.Close(nfd)
		return -1, nil, err
	}
	return nfd, name, nil
}

// What setting the keepalive times takes.
const (
	keepAliveIdle     = unix.TCP_KEEPALIVE
	keepAliveInterval = unix.TCP_KEEPINTVL
	keepAliveCount    = unix.TCP_KEEPCNT
)
