//go:build (linux && !netconn) || darwin || dragonfly || freebsd || netbsd || openbsd

package netpoll

// This file holds descriptors that come from outside: taking over those of package net, and making connections of any.

import (
	"syscall"

	"github.com/cloudwego/netpoll/internal/sock"
)

// duplicate returns a new descriptor, close-on-exec, for what raw gives access to. It shares the mode of the original,
// which for everything from package net is non-blocking.
func duplicate(raw syscall.RawConn) (fd int, err error) {
	controlErr := raw.Control(func(original uintptr) { fd, err = sock.Duplicate(int(original)) })
	if controlErr != nil {
		return -1, controlErr
	}
	return fd, err
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
	network, err := sock.Classify(fd)
	if err != nil {
		return nil, asUnsupported(err)
	}
	if err := pollers.init(); err != nil { // while fd can still be given back
		return nil, err
	}
	if err := sock.Adopt(fd); err != nil {
		return nil, err
	}
	c := newSocketConnection(socketInfo{fd: fd, network: network, local: sock.LocalAddr(fd), remote: sock.RemoteAddr(fd)})
	if err := c.start(causeDetach); err != nil {
		return nil, err
	}
	return c.self, nil
}

// GetSysFdPairs returns two connected Unix stream sockets, close-on-exec, which the caller has to close or to give to
// [NewFDConnection]. Both are -1 if there are no descriptors left.
func GetSysFdPairs() (r, w int) {
	fds, err := sock.Pair()
	if err != nil {
		return -1, -1
	}
	return fds[0], fds[1]
}
