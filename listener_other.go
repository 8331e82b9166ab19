//go:build !((linux && !netconn) || darwin || dragonfly || freebsd || netbsd || openbsd)

package netpoll

// This file holds how listeners are made on systems that have no poller here.

import (
	"errors"
	"net"
	"syscall"

	"github.com/cloudwego/netpoll/internal/sock"
)

// takeOver wraps original, which still belongs to the caller if there is an error.
func (lc *ListenConfig) takeOver(original net.Listener) (*netListener, error) {
	if lc.Backlog > 0 {
		s, ok := original.(syscall.Conn)
		if !ok {
			return nil, Exception(ErrUnsupported, "Backlog")
		}
		raw, err := s.SyscallConn()
		if err != nil {
			return nil, err
		}
		controlErr := raw.Control(func(fd uintptr) { err = asUnsupported(sock.SetBacklog(fd, lc.Backlog)) })
		if err := errors.Join(controlErr, err); err != nil {
			return nil, err
		}
	}
	return newNetListener(original), nil
}

// convert makes a listener of l.
func convert(l net.Listener) (serverListener, error) {
	if ofPackageNet(l) {
		if network := l.Addr().Network(); network != "tcp" && network != "unix" {
			return nil, opError("listen", l.Addr(), unsupportedNetwork(network))
		}
		if err := isOpen(l.(syscall.Conn)); err != nil {
			return nil, opError("listen", l.Addr(), err)
		}
	}
	ln := newNetListener(l)
	ln.converted = true
	if ofPackageNet(l) {
		return asOfPackageNet(ln), nil
	}
	return ln, nil
}

// isOpen returns an error if s has been closed.
func isOpen(s syscall.Conn) error {
	raw, err := s.SyscallConn()
	if err != nil {
		return err
	}
	return raw.Control(func(uintptr) {})
}
