//go:build dragonfly || freebsd || netbsd || openbsd

package sock

// This file holds accepting on the systems that take flags with the call.

import (
	"syscall"

	"golang.org/x/sys/unix"
)

func acceptCloseOnExec(fd int) (int, syscall.Sockaddr, error) {
	return syscall.Accept4(fd, unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC)
}
