//go:build linux || darwin || dragonfly || freebsd || netbsd || openbsd

package testkit

// This file holds a client without memory of its own.

import (
	"errors"
	"io"
	"net"
	"syscall"
)

// BareClient is a connected TCP socket without anything on the Go heap, so that only the server's side is measured. Its
// number is that of its descriptor.
type BareClient int

// NewBareClient connects one. The caller closes its descriptor.
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

// RoundTrip sends p and waits for as many bytes.
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
