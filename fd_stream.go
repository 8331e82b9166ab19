//go:build unix

package netpoll

// This file holds what a descriptor from outside is.

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"

	"github.com/cloudwego/netpoll/internal/fault"
)

// streamNetwork returns "tcp" or "unix" for a socket of that kind, "" for another byte stream, and an error for what is
// none.
func streamNetwork(fd int) (network string, err error) {
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
		return "", Exception(ErrUnsupported, "files") // they cannot be waited for
	default:
		return "", nil
	}
	kind, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TYPE)
	if err != nil {
		return "", os.NewSyscallError("getsockopt", err)
	}
	if kind != unix.SOCK_STREAM {
		return "", Exception(ErrUnsupported, "sockets that are not streams")
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
