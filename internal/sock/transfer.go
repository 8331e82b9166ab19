//go:build linux || darwin || dragonfly || freebsd || netbsd || openbsd

package sock

// This file holds receiving and sending on descriptors of any kind.

import (
	"os"
	"syscall"

	"github.com/cloudwego/netpoll/internal/fault"
	"github.com/cloudwego/netpoll/internal/happens"
)

// Recv receives into p. No bytes and no error: the end of the stream.
func Recv(fd int, p []byte) (n int, err error) {
	for {
		part, errno := fault.Cut(fault.Recv, fd, p)
		if errno != 0 {
			err = errno
		} else {
			n, err = readNow(fd, part)
		}
		if err != syscall.EINTR {
			break
		}
	}
	happens.AfterReceive()
	return result(n, err, "read")
}

// Send sends p or its first part.
func Send(fd int, p []byte) (n int, err error) {
	happens.BeforeSend()
	for {
		part, errno := fault.Cut(fault.Send, fd, p[:min(len(p), MaxTransfer)])
		if errno != 0 {
			err = errno
		} else {
			n, err = writeNow(fd, part)
		}
		if err != syscall.EINTR {
			break
		}
	}
	return result(n, err, "write")
}

// Sendv sends the pieces of v, or the first of them, with one system call. It may cut v down to the pieces that it has
// tried.
func Sendv(fd int, v *Vector) (n int, err error) {
	if v.N == 1 {
		return Send(fd, v.Bufs[0])
	}
	happens.BeforeSend()
	for {
		if n, err = gather(fd, v); err != syscall.EINTR {
			break
		}
	}
	return result(n, err, "write")
}

// gather is gatherWrite, unless a test makes it fail.
func gather(fd int, v *Vector) (int, error) {
	if fault.Enabled {
		n, errno := fault.Transfer(fault.Sendv, fd, v.Total())
		if errno != 0 {
			return 0, errno
		}
		v.Limit(n)
	}
	return gatherWrite(fd, v)
}

// result gives the results of a call that moves bytes the form that this package promises.
func result(n int, err error, call string) (int, error) {
	switch {
	case err == nil:
		return n, nil
	case err == syscall.EAGAIN:
		return 0, ErrWouldBlock
	}
	return 0, os.NewSyscallError(call, err)
}
