//go:build linux || darwin || dragonfly || freebsd || netbsd || openbsd

package sock

// This file holds duplicating a descriptor where one call makes the new one close-on-exec.

import (
	"os"

	"golang.org/x/sys/unix"

	"github.com/cloudwego/netpoll/internal/fault"
)

// Duplicate returns a duplicate of fd, close-on-exec. Both share the mode.
func Duplicate(fd int) (dup int, err error) {
	if errno := fault.Check(fault.Dup); errno != 0 {
		return -1, os.NewSyscallError("fcntl", errno)
	}
	dup, err = unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return -1, os.NewSyscallError("fcntl", err)
	}
	return dup, nil
}
