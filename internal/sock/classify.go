//go:build unix

package sock

// This file holds how the kind of a descriptor from outside is found.

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"

	"github.com/cloudwego/netpoll/internal/fault"
)

// Classify returns "tcp" or "unix" for a socket of that kind, "" for another byte stream, and an error for anything
// else.
func Classify(fd int) (network string, err error) {
	if errno := fault.Check(fault.Stat); errno != 0 {
		return "", os.NewSyscallError("fstat", errno)
	}
	var stat unix.Stat_t
	if err := unix.Fstat(fd, &stat); err != nil {
		return "", os.NewSyscallError("fstat", err)
	}
	switch stat.Mode & unix.S_IFMT {
	case unix.S_IFSOCK:
	case unix.S_IFREG, unix.S_IFDIR:
		return "", Unsupported("files") // they cannot be waited for
	default:
		return "", nil
	}
	kind, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TYPE)
	if err != nil {
		return "", os.NewSyscallError("getsockopt", err)
	}
	if kind != unix.SOCK_STREAM {
		return "", Unsupported("sockets that are not streams")
	}
	if listening, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ACCEPTCONN); err == nil && listening != 0 {
		return "", errors.New("netpoll: listening socket is not a connection")
	}
	name, err := unix.Getsockname(fd)
	if err != nil {
		return "", os.NewSyscallError("getsockname", err)
	}
	switch name.(type) {
	case *unix.SockaddrInet4, *unix.SockaddrInet6:
		return "tcp", nil
	case *unix.SockaddrUnix:
		return "unix", nil
	}
	return "", nil
}

// CheckPollable refuses devices, which package os may not be able to wait for.
func CheckPollable(fd int) error {
	var stat unix.Stat_t
	if err := unix.Fstat(fd, &stat); err != nil {
		return os.NewSyscallError("fstat", err)
	}
	switch stat.Mode & unix.S_IFMT {
	case unix.S_IFSOCK, unix.S_IFIFO:
		return nil
	}
	return Unsupported("devices")
}
