//go:build (linux && !netconn) || darwin || dragonfly || freebsd || netbsd || openbsd

package netpoll

// This file holds descriptors that come from outside: taking over those of package net, and making connections of any.

import (
	"os"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/cloudwego/netpoll/internal/fault"
)

// duplicate returns a new descriptor, close-on-exec, for what raw gives access to. It shares the mode of the original,
// which for everything from package net is non-blocking.
func duplicate(raw syscall.RawConn) (fd int, err error) {
	controlErr := raw.Control(func(original uintptr) {
		if errno := fault.Check(fault.Dup); errno != 0 {
			err = errno
			return
		}
		fd, err = unix.FcntlInt(original, unix.F_DUPFD_CLOEXEC, 0)
	})
	if controlErr != nil {
		return -1, controlErr
	}
	if err != nil {
		return -1, os.NewSyscallError("fcntl", err)
	}
	return fd, nil
}

// duplicateOf is duplicate for a connection or listener of package net.
func duplicateOf(v any) (fd int, err error) {
	s, ok := v.(syscall.Conn)
	if !ok {
		return -1, Exception(ErrUnsupported, "what has no descriptor")
	}
	raw, err := s.SyscallConn()
	if err != nil {
		return -1, err
	}
	return duplicate(raw)
}

// NewFDConnection makes a connection of a descriptor: a connected stream socket of any kind, or an end of a pipe. The
// connection owns fd from then on, and makes it non-blocking and close-on-exec. Its addresses are nil if the descriptor
// has none. A descriptor of a file, of a listening socket or of packets gives an error and still belongs to the caller.
func NewFDConnection(fd int) (Connection, error) {
	network, err := streamNetwork(fd)
	if err != nil {
		return nil, err
	}
	if err := pollers.init(); err != nil { // while fd can still be given back
		return nil, err
	}
	unix.CloseOnExec(fd)
	if errno := fault.Check(fault.Nonblock); errno != 0 {
		return nil, os.NewSyscallError("fcntl", errno)
	}
	if err := unix.SetNonblock(fd, true); err != nil {
		return nil, os.NewSyscallError("fcntl", err)
	}
	c := newSocketConnection(socketInfo{fd: fd, network: network, local: localAddr(fd), remote: remoteAddr(fd)})
	if err := c.start(causeDetach); err != nil {
		return nil, err
	}
	return c.self, nil
}

// GetSysFdPairs returns two connected Unix stream sockets, close-on-exec, which the caller has to close or to give to
// [NewFDConnection]. Both are -1 if there are no descriptors left.
func GetSysFdPairs() (r, w int) {
	if fault.Check(fault.Socket) != 0 {
		return -1, -1
	}
	fds, err := newSocketPair()
	if err != nil {
		return -1, -1
	}
	return fds[0], fds[1]
}
