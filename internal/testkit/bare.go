//go:build linux || darwin || dragonfly || freebsd || netbsd || openbsd

package testkit

// This file holds a client that uses no memory of the Go heap.

import (
	"errors"
	"io"
	"net"
	"syscall"
)

// BareClient is the descriptor of a connected TCP socket. It uses no memory on the Go heap, so a measurement of the heap
// shows only the server's side.
type BareClient int

// NewBareClient connects to addr. The caller closes the descriptor.
func NewBareClient(addr string) (BareClient, error) {
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0)
	if err != nil {
		return -1, err
	}
	ap, err := net.ResolveTCPAddr("tcp4", addr)
	if err != nil {
		return -1, errors.Join(err, syscall.Close(fd))
	}
	sa := &syscall.SockaddrInet4{Port: ap.Port, Addr: [4]byte(ap.IP.To4())}
	if err := syscall.Connect(fd, sa); err != nil {
		_ = syscall.Close(fd)
		return -1, err
	}
	return BareClient(fd), nil
}

// RoundTrip sends p and waits until it has received len(p) bytes.
func (c BareClient) RoundTrip(p []byte) error {
	if _, err := syscall.Write(int(c), p); err != nil {
		return err
	}
	for left := len(p); left > 0; {
		n, err := syscall.Read(int(c), p[:left])
		if err != nil {
			return err
		}
		if n == 0 {
			return io.ErrUnexpectedEOF
		}
		left -= n
	}
	return nil
}
