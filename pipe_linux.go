//go:build !netconn && !kqsim

package netpoll

// This file holds the pipes through which bytes go from one socket to another without leaving the kernel.

import (
	"errors"
	"os"
	"runtime"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/cloudwego/netpoll/internal/fault"
)

const (
	// maxSplice is how much a pipe is to hold, the most that the kernel gives without asking for privileges.
	maxSplice = 1 << 20
	// minSplice is how much it must hold to be worth its while: who has many pipes already gets small ones.
	minSplice = 64 << 10
)

// errCannotSplice: the kernel moves nothing between these two by itself. Nothing was moved.
var errCannotSplice = errors.New("netpoll: cannot splice")

// pipe is a pair of descriptors, close-on-exec and non-blocking, with bytes on their way. One goroutine at a time.
type pipe struct {
	r, w    int
	held    int // bytes in it
	closing runtime.Cleanup
}

// pipes has empty pipes. The garbage collector takes those that nobody wants, and closes them.
var pipes sync.Pool

// getPipe returns an empty pipe, or nil if there is none to be had.
func getPipe() *pipe {
	if p, ok := pipes.Get().(*pipe); ok {
		return p
	}
	if fault.Check(fault.Pipe) != 0 {
		return nil
	}
	var fds [2]int
	if unix.Pipe2(fds[:], unix.O_CLOEXEC|unix.O_NONBLOCK) != nil {
		return nil
	}
	size, err := unix.FcntlInt(uintptr(fds[0]), unix.F_SETPIPE_SZ, maxSplice)
	if err != nil {
		size, err = unix.FcntlInt(uintptr(fds[0]), unix.F_GETPIPE_SZ, 0)
	}
	if err != nil || size < minSplice {
		closePipe(fds)
		return nil
	}
	p := &pipe{r: fds[0], w: fds[1]}
	p.closing = runtime.AddCleanup(p, closePipe, fds)
	return p
}

func closePipe(fds [2]int) {
	_ = unix.Close(fds[0])
	_ = unix.Close(fds[1])
}

// put gives p back. With bytes in it, it is of no use to others.
func (p *pipe) put() {
	if p.held == 0 {
		pipes.Put(p)
		return
	}
	p.closing.Stop()
	closePipe([2]int{p.r, p.w})
}

// fill moves up to size bytes from a socket into p, which is empty. 0 and no error: the end of the stream.
func (p *pipe) fill(fd, size int) (n int, err error) {
	n, err = spliceNow(fault.SpliceIn, fd, fd, p.w, min(size, maxSplice))
	ioOrder.Load()
	p.held += n
	return n, err
}

// drain moves what p holds, or its first part, to a socket.
func (p *pipe) drain(fd int) (n int, err error) {
	ioOrder.Add(1)
	n, err = spliceNow(fault.SpliceOut, fd, p.r, fd, p.held)
	p.held -= n
	return n, err
}

// read copies what p holds, or its first part, to b.
func (p *pipe) read(b []byte) (n int, err error) {
	for {
		n, err = unix.Read(p.r, b[:min(len(b), p.held)])
		if err != syscall.EINTR {
			break
		}
	}
	if err != nil {
		return 0, os.NewSyscallError("read", err)
	}
	p.held -= n
	return n, nil
}

// spliceNow is splice between a pipe and the socket fd, without waiting: in is one of them and out the other.
func spliceNow(op fault.Op, fd, in, out, size int) (int, error) {
	if waits(fd) {
		return 0, errCannotSplice
	}
	for {
		part, errno := fault.Transfer(op, fd, size)
		if errno == 0 {
			n, err := unix.Splice(in, nil, out, nil, part, unix.SPLICE_F_MOVE|unix.SPLICE_F_NONBLOCK)
			if err == nil {
				return int(n), nil
			}
			errno = asErrno(err)
		}
		if errno != syscall.EINTR {
			return 0, moveError("splice", errno)
		}
	}
}

// waits reports whether calls on a socket wait in the kernel. The mode belongs to everybody who has a duplicate of the
// descriptor, and neither splice nor sendfile has a way to say otherwise.
func waits(fd int) bool {
	flags, _, errno := unix.RawSyscall(unix.SYS_FCNTL, uintptr(fd), unix.F_GETFL, 0)
	return errno == 0 && flags&unix.O_NONBLOCK == 0
}

// moveError tells what has become of a call that should have moved bytes.
func moveError(call string, err error) error {
	switch err {
	case syscall.EAGAIN:
		return errWouldBlock
	case syscall.EINVAL, syscall.ENOSYS, syscall.EOPNOTSUPP, syscall.ENOTSOCK, syscall.EPERM:
		return errCannotSplice
	}
	return os.NewSyscallError(call, err)
}
