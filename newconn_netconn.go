//go:build unix && !((linux && !netconn) || darwin || dragonfly || freebsd || netbsd || openbsd)

package netpoll

// This file holds connections of descriptors where there is no poller: package os watches them, as files.

import (
	"errors"
	"net"
	"os"

	"github.com/cloudwego/netpoll/internal/sock"
)

// NewFDConnection makes a connection of a descriptor: a connected stream socket of any kind, or an end of a pipe. The
// connection owns fd from then on, and makes it non-blocking and close-on-exec. Its addresses are nil if the descriptor
// has none. A descriptor that cannot be a connection gives an error and still belongs to the caller.
func NewFDConnection(fd int) (Connection, error) {
	network, err := sock.Classify(fd)
	if err != nil {
		return nil, asUnsupported(err)
	}
	if err := sock.CheckPollable(fd); err != nil { // while fd still belongs to the caller alone
		return nil, asUnsupported(err)
	}
	if err := sock.Adopt(fd); err != nil {
		return nil, err
	}
	file := os.NewFile(uintptr(fd), "connection")
	conn := fileConn{osFile: file, network: network, local: sock.LocalAddr(fd),
		remote: sock.RemoteAddr(fd)}
	c := newNetConnection(conn)
	if err := c.start(causePoller); err != nil {
		return nil, err
	}
	return c.self, nil
}

type osFile = os.File // File is the name of a method

// fileConn is a net.Conn of a descriptor.
type fileConn struct {
	*osFile
	network       string
	local, remote net.Addr
}

var _ net.Conn = fileConn{}

func (f fileConn) LocalAddr() net.Addr { return f.local }

func (f fileConn) RemoteAddr() net.Addr { return f.remote }

func (f fileConn) streamNetwork() string { return f.network }

// File returns a duplicate, as the method of that name in package net.
func (f fileConn) File() (dup *os.File, err error) {
	raw, err := f.SyscallConn()
	if err != nil {
		return nil, err
	}
	fd := -1
	controlErr := raw.Control(func(original uintptr) { fd, err = sock.Duplicate(int(original)) })
	if err = errors.Join(controlErr, err); err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), f.Name()), nil
}

// CloseWrite fails for a pipe.
func (f fileConn) CloseWrite() error {
	raw, err := f.SyscallConn()
	if err != nil {
		return err
	}
	controlErr := raw.Control(func(fd uintptr) { err = sock.CloseWrite(int(fd)) })
	return errors.Join(controlErr, err)
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
