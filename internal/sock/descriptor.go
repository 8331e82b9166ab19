//go:build unix

package sock

// This file holds operations on descriptors of any kind.

import (
	"os"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/cloudwego/netpoll/internal/fault"
)

// Adopt makes a descriptor from outside close-on-exec and non-blocking.
func Adopt(fd int) error {
	unix.CloseOnExec(fd)
	if errno := fault.Check(fault.Nonblock); errno != 0 {
		return os.NewSyscallError("fcntl", errno)
	}
	return os.NewSyscallError("fcntl", unix.SetNonblock(fd, true))
}

// Unblock makes fd non-blocking if it is not.
func Unblock(fd int) error {
	flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0)
	if err == nil && flags&unix.O_NONBLOCK == 0 {
		err = unix.SetNonblock(fd, true)
	}
	return os.NewSyscallError("fcntl", err)
}

// CloseWrite ends the sending direction.
func CloseWrite(fd int) error {
	err := syscall.Shutdown(fd, syscall.SHUT_WR)
	if errno := fault.Check(fault.Shutdown); errno != 0 {
		err = errno
	}
	return os.NewSyscallError("shutdown", err)
}

// Close frees fd, also if there is an error. See EndLinger for how long it may take.
func Close(fd int) error {
	err := syscall.Close(fd)
	if errno := fault.Check(fault.Close); errno != 0 {
		err = errno
	}
	return os.NewSyscallError("close", err)
}

// Pair returns two connected Unix stream sockets, which are close-on-exec. The error is a bare errno.
func Pair() (fds [2]int, err error) {
	if errno := fault.Check(fault.Socket); errno != 0 {
		return fds, errno
	}
	return newPair()
}
