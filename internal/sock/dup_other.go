//go:build unix && !(linux || darwin || dragonfly || freebsd || netbsd || openbsd)

package sock

// This file holds duplicating a descriptor where not every system has a call that makes the new one close-on-exec.

import (
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// Duplicate returns a duplicate of fd, close-on-exec. Both share the mode.
func Duplicate(fd int) (dup int, err error) {
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	if dup, err = unix.Dup(fd); err != nil {
		return -1, os.NewSyscallError("dup", err)
	}
	unix.CloseOnExec(dup)
	return dup, nil
}
