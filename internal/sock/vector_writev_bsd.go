//go:build dragonfly || freebsd || netbsd

package sock

// This file holds the call of a gathering write on the BSDs.

import (
	"syscall"

	"golang.org/x/sys/unix"
)

func sendPieces(fd int, iovs []unix.Iovec) (n uintptr, errno syscall.Errno) { return writev(fd, iovs) }
