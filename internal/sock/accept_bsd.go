//go:build darwin || dragonfly || freebsd || netbsd || openbsd

package sock

// This file holds accepting, as macOS and the BSDs have it. Only package syscall has accept4 for all systems that have
// it.

import (
	"syscall"

	"github.com/cloudwego/netpoll/internal/fault"
)

// Accept takes a connection that waits at the listening socket fd. The new descriptor is non-blocking and close-on-exec.
// The error is a bare errno.
func Accept(fd int) (accepted int, peer Address, err error) {
	for {
		if errno := fault.Check(fault.Accept); errno == syscall.EINTR {
			continue
		} else if errno != 0 {
			return -1, Address{}, errno
		}
		nfd, name, err := acceptCloseOnExec(fd)
		if err == nil {
			return nfd, fromSockaddr(name), nil
		}
		if err != error(syscall.EINTR) {
			return -1, Address{}, err
		}
	}
}
