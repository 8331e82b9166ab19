package sock

// This file holds what only sockets of macOS have: no call takes flags, and the idle time of TCP keepalive has a name
// of its own.

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// acceptCloseOnExec leaves a gap between the two calls, in which a program that the process starts inherits the
// descriptor. Package net has the same gap: a lock against it would be held as long as accept blocks, if a program has
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

// The options that set the keepalive times.
const (
	keepAliveIdle     = unix.TCP_KEEPALIVE
	keepAliveInterval = unix.TCP_KEEPINTVL
	keepAliveCount    = unix.TCP_KEEPCNT
)
