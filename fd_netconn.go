//go:build unix && !((linux && !netconn) || darwin || dragonfly || freebsd || netbsd || openbsd)

package netpoll

// This file holds connections of descriptors where there is no poller: package os watches them, as files.

import (
	"errors"
	"net"
	"os"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// NewFDConnection makes a connection of a descriptor: a connected stream socket of any kind, or an end of a pipe. The
// connection owns fd from then on, and makes it non-blocking and close-on-exec. Its addresses are nil if the descriptor
// has none. A descriptor that cannot be a connection gives an error and still belongs to the caller.
func NewFDConnection(fd int) (Connection, error) {
	network, err := streamNetwork(fd)
	if err != nil {
		return nil, err
	}
	if err := checkPollable(fd); err != nil {
		return nil, err
	}
	unix.CloseOnExec(fd)
	if err := unix.SetNonblock(fd, true); err != nil {
		return nil, os.NewSyscallError("fcntl", err)
	}
	file := os.NewFile(uintptr(fd), "connection")
	conn := fileConn{osFile: file, network: network, local: addressOf(unix.Getsockname(fd)),
		remote: addressOf(unix.Getpeername(fd))}
	c := newNetConnection(conn)
	if err := c.start(causePoller); err != nil {
		return nil, err
	}
	return c.self, nil
}

// checkPollable refuses what package os may not be able to wait for, while fd is still its owner's alone.
func checkPollable(fd int) error {
	var stat unix.Stat_t
	if err := unix.Fstat(fd, &stat); err != nil {
		return os.NewSyscallError("fstat", err)
	}
	switch stat.Mode & unix.S_IFMT {
	case unix.S_IFSOCK, unix.S_IFIFO:
		return nil
	}
	return Exception(ErrUnsupported, "devices")
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
	controlErr := raw.Control(func(original uintptr) {
		syscall.ForkLock.RLock() // not every system has a call that duplicates close-on-exec
		defer syscall.ForkLock.RUnlock()
		if fd, err = unix.Dup(int(original)); err == nil {
			unix.CloseOnExec(fd)
		}
	})
	if err = errors.Join(controlErr, os.NewSyscallError("dup", err)); err != nil {
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
	controlErr := raw.Control(func(fd uintptr) { err = unix.Shutdown(int(fd), unix.SHUT_WR) })
	return errors.Join(controlErr, os.NewSyscallError("shutdown", err))
}

// addressOf is the address in the form of package net, or nil if there is none.
func addressOf(name unix.Sockaddr, err error) net.Addr {
	if err != nil {
		return nil
	}
	switch a := name.(type) {
	case *unix.SockaddrInet4:
		return &net.TCPAddr{IP: a.Addr[:], Port: a.Port}
	case *unix.SockaddrInet6:
		addr := &net.TCPAddr{IP: a.Addr[:], Port: a.Port}
		if a.ZoneId != 0 {
			addr.Zone = strconv.FormatUint(uint64(a.ZoneId), 10)
			if i, err := net.InterfaceByIndex(int(a.ZoneId)); err == nil {
				addr.Zone = i.Name
			}
		}
		return addr
	case *unix.SockaddrUnix:
		if a.Name != "" && a.Name != "@" { // the latter is Linux for none
			return &net.UnixAddr{Name: a.Name, Net: "unix"}
		}
	}
	return nil
}

// GetSysFdPairs returns two connected Unix stream sockets, close-on-exec, which the caller has to close or to give to
// [NewFDConnection]. Both are -1 if there are no descriptors left.
func GetSysFdPairs() (r, w int) {
	syscall.ForkLock.RLock() // not every system makes them close-on-exec at once
	defer syscall.ForkLock.RUnlock()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err != nil {
		return -1, -1
	}
	unix.CloseOnExec(fds[0])
	unix.CloseOnExec(fds[1])
	return fds[0], fds[1]
}
