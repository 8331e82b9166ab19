//go:build unix && !(linux || dragonfly || freebsd || netbsd || openbsd)

package sock

// This file holds the making of socket pairs where they become close-on-exec by a second call.

import (
	"syscall"

	"golang.org/x/sys/unix"
)

func newPair() ([2]int, error) {
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err == nil {
		unix.CloseOnExec(fds[0])
		unix.CloseOnExec(fds[1])
	}
	return fds, err
}
