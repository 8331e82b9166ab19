package sock

// This file holds the pipes through which bytes go from one socket to another without leaving the kernel.

import (
	"errors"
	"os"
	"runtime"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/cloudwego/netpoll/internal/fault"
	"github.com/cloudwego/netpoll/internal/happens"
)

const (
	// maxSplice is the size of a pipe: the most that the kernel gives without privileges.
	maxSplice = 1 << 20
	// minSplice is the least size of a pipe that is worth using: a user with many pipes gets small ones.
	minSplice = 64 << 10
)

// ErrCannotSplice: the kernel cannot move bytes between these two. Nothing was moved.
var ErrCannotSplice = errors.New("sock: cannot splice")

// Pipe is a pair of descriptors, close-on-exec and non-blocking, with bytes in transit. One goroutine at a time.
type Pipe struct {
	r, w    int
	held    int // bytes in it
	closing runtime.Cleanup
}

// pipes has empty pipes. The garbage collector drops and closes unused ones.
var pipes sync.Pool

// GetPipe returns an empty pipe, or nil if the system has none left.
func GetPipe() *Pipe {
	if p, ok := pipes.Get().(*Pipe); ok {
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
	p := &Pipe{r: fds[0], w: fds[1]}
	p.closing = runtime.AddCleanup(p, closePipe, fds)
	return p
}

func closePipe(fds [2]int) {
	_ = unix.Close(fds[0])
	_ = unix.Close(fds[1])
}

// Put gives p back, or closes it if there are bytes in it.
func (p *Pipe) Put() {
	if p.held == 0 {
		pipes.Put(p)
		return
	}
	p.closing.Stop()
	closePipe([2]int{p.r, p.w})
}

// Len is how many bytes p holds.
func (p *Pipe) Len() int { return p.held }

// Fill moves up to size bytes from a socket into p, which is empty. 0 and no error: the end of the stream. The error may
// be ErrCannotSplice.
func (p *Pipe) Fill(fd, size int) (n int, err error) {
	n, err = spliceNow(fault.SpliceIn, fd, fd, p.w, min(size, maxSplice))
	happens.AfterReceive()
	p.held += n
	return n, err
}

// Drain moves the bytes in p, or the first of them, to a socket. The error may be ErrCannotSplice.
func (p *Pipe) Drain(fd int) (n int, err error) {
	happens.BeforeSend()
	n, err = spliceNow(fault.SpliceOut, fd, p.r, fd, p.held)
	p.held -= n
	return n, err
}

// Read copies the bytes in p, or the first of them, to b.
func (p *Pipe) Read(b []byte) (n int, err error) {
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
func spliceNow(op fault.Op, fd, in, out, size int) (n int, err error) {
	if waits(fd) {
		return 0, ErrCannotSplice
	}
	for {
		part, errno := fault.Transfer(op, fd, size)
		if errno == 0 {
			moved, err := unix.Splice(in, nil, out, nil, part, unix.SPLICE_F_MOVE|unix.SPLICE_F_NONBLOCK)
			if err != syscall.EINTR {
				return moveResult(int(moved), err, "splice")
			}
		} else if errno != syscall.EINTR {
			return moveResult(0, errno, "splice")
		}
	}
}

// waits reports whether calls on a socket wait in the kernel. All duplicates of the descriptor share the mode, and
// neither splice nor sendfile has a flag to override it.
func waits(fd int) bool {
	flags, _, errno := unix.RawSyscall(unix.SYS_FCNTL, uintptr(fd), unix.F_GETFL, 0)
	return errno == 0 && flags&unix.O_NONBLOCK == 0
}

// moveResult is result for a call that moves bytes within the kernel, which may not be able to.
func moveResult(n int, err error, call string) (int, error) {
	switch err {
	case syscall.EINVAL, syscall.ENOSYS, syscall.EOPNOTSUPP, syscall.ENOTSOCK, syscall.EPERM:
		return 0, ErrCannotSplice
	}
	return result(n, err, call)
}
