//go:build (linux && !netconn) || darwin || dragonfly || freebsd || netbsd || openbsd

package netpoll

// This file holds the socket transport: a non-blocking stream socket watched by a poller.

import (
	"io"
	"os"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/cloudwego/netpoll/internal/fault"
)

// maxTransfer bounds one system call; some kernels refuse more than 2 GiB, and whole pages keep the rest aligned.
const maxTransfer = 1 << 30

// socket owns its descriptor from the moment it is made until release.
type socket struct {
	sysfd int
	watch watch
}

var _ transport = (*socket)(nil)

func (s *socket) start(to sink) error {
	prepareSocket(s.sysfd)
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
	p := in.book(min(size, maxTransfer))
	for {
		part, errno := fault.Cut(fault.Recv, s.sysfd, p)
		if errno != 0 {
			err = errno
		} else {
			n, err = readNow(s.sysfd, part)
		}
		if err != syscall.EINTR {
			break
		}
	}
	ioOrder.Load()
	n = max(n, 0)
	in.bookAck(n)
	switch {
	case err == syscall.EAGAIN:
		return 0, false, nil
	case err != nil:
		return 0, false, os.NewSyscallError("read", err)
	case n == 0:
		return 0, false, io.EOF
	}
	return n, n == len(p), nil
}

func (s *socket) send(v *vector) (n int, err error) {
	ioOrder.Add(1)
	for {
		if v.n == 1 {
			b := v.bufs[0]
			part, errno := fault.Cut(fault.Send, s.sysfd, b[:min(len(b), maxTransfer)])
			if errno != 0 {
				err = errno
			} else {
				n, err = writeNow(s.sysfd, part)
			}
		} else if errno := cutVector(s.sysfd, v); errno != 0 {
			err = errno
		} else {
			n, err = gatherWrite(s.sysfd, v)
		}
		if err != syscall.EINTR {
			break
		}
	}
	switch {
	case err == syscall.EAGAIN:
		return 0, errWouldBlock
	case err != nil:
		return 0, os.NewSyscallError("write", err)
	}
	return n, nil
}

// cutVector leaves in v what the next gathering write is to send, which is all unless a test makes the call fail.
func cutVector(fd int, v *vector) syscall.Errno {
	if !fault.Enabled {
		return 0
	}
	total := v.total()
	n, errno := fault.Transfer(fault.Sendv, fd, total)
	if errno == 0 && n < total {
		v.limit(n)
	}
	return errno
}

func (s *socket) sendLater(from sender) bool {
	p := s.watch.p.Load()
	return p != nil && p.sends.add(from)
}

func (s *socket) closeWrite() error {
	err := syscall.Shutdown(s.sysfd, syscall.SHUT_WR)
	if errno := fault.Check(fault.Shutdown); errno != 0 {
		err = errno
	}
	return os.NewSyscallError("shutdown", err)
}

func (s *socket) canCloseWrite() bool { return true }

// abort implements transport. A Unix socket has no reset of its own.
func (s *socket) abort() {
	_ = unix.SetsockoptLinger(s.sysfd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
}

func (s *socket) release(keep bool) error {
	s.watch.close()
	if keep {
		return nil
	}
	endLinger(s.sysfd)
	err := syscall.Close(s.sysfd)
	if errno := fault.Check(fault.Close); errno != 0 {
		err = errno
	}
	return os.NewSyscallError("close", err)
}
