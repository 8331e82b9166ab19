//go:build (linux && !netconn) || darwin || dragonfly || freebsd || netbsd || openbsd

package netpoll

// This file holds the socket transport: a non-blocking stream socket watched by a poller.

import (
	"io"

	"github.com/cloudwego/netpoll/internal/sock"
)

// socket owns its descriptor from the moment it is made until release.
type socket struct {
	sysfd int
	watch watch
}

var _ transport = (*socket)(nil)

func (s *socket) start(to sink) error {
	sock.NoSigpipe(s.sysfd)
	asked := to.interest()
	if err := s.watch.openAny(s.sysfd, to, asked); err != nil {
		return err
	}
	if to.interest() != asked { // a updateInterest may have come before there was a watch
		return s.updateInterest()
	}
	return nil
}

func (s *socket) updateInterest() error { return s.watch.updateInterest() }

func (s *socket) stop(bool) error {
	s.watch.close()
	return nil
}

// deadlineChanged has nothing to do: send does not block.
func (s *socket) deadlineChanged() {}

func (s *socket) fd() int { return s.sysfd }

func (s *socket) receive(in *LinkBuffer, size int) (n int, more bool, err error) {
	p := in.book(min(size, sock.MaxTransfer))
	n, err = sock.Recv(s.sysfd, p)
	in.bookAck(n)
	switch {
	case err == sock.ErrWouldBlock:
		return 0, false, nil
	case err != nil:
		return 0, false, err
	case n == 0:
		return 0, false, io.EOF
	}
	return n, n == len(p), nil
}

func (s *socket) send(v *vector) (n int, err error) { return sock.Sendv(s.sysfd, &v.Vector) }

func (s *socket) sendLater(from sender) bool {
	p := s.watch.p.Load()
	return p != nil && p.sends.add(from)
}

func (s *socket) closeWrite() error { return sock.CloseWrite(s.sysfd) }

func (s *socket) canCloseWrite() bool { return true }

// abort implements transport. A Unix socket has no reset of its own.
func (s *socket) abort() { sock.ResetOnClose(s.sysfd) }

func (s *socket) release(keep bool) error {
	s.watch.close()
	if keep {
		return nil
	}
	sock.EndLinger(s.sysfd)
	return sock.Close(s.sysfd)
}
