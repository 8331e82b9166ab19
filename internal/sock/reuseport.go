//go:build linux || darwin || dragonfly || freebsd || netbsd || openbsd || aix

package sock

// This file holds the socket option that lets listeners share an address.

import (
	"errors"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// ReusePort sets the option on a socket that is to listen.
func ReusePort(c syscall.RawConn) error {
	var failure error
	err := c.Control(func(fd uintptr) {
		failure = os.NewSyscallError("setsockopt", unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEPORT, 1))
	})
	return errors.Join(err, failure)
}
