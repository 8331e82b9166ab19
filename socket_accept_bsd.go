//go:build dragonfly || freebsd || netbsd || openbsd

package netpoll

// This file holds the making of sockets on the systems that take their flags with the call.

import (
	"syscall"

	"golang.org/x/sys/unix"
)

func acceptCloseOnExec(fd int) (int, syscall.Sockaddr, error) {
	return syscall.Accept4(fd, unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC)
}

// newSocketPair returns two connected Unix stream sockets, which are close-on-exec.
func newSocketPair() ([2]int, error) {
	return unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
}
