//go:build linux || darwin || dragonfly || freebsd || netbsd || openbsd || aix

package netpoll

// This file holds the socket option that lets listeners share an address.

import (
	"errors"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// reusePort returns a Control function that sets the option after next, which may be nil.
func reusePort(next controlFunc) controlFunc {
	return func(network, address string, c syscall.RawConn) error {
		if next != nil {
			if err := next(network, address, c); err != nil {
				return err
			}
		}
		var failure error
		err := c.Control(func(fd uintptr) {
			failure = os.NewSyscallError("setsockopt", unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEPORT, 1))
		})
		return errors.Join(err, failure)
	}
}
