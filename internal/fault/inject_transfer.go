//go:build faults && unix

package fault

// This file holds faults of the calls that move bytes, and of the ring.

import (
	"os"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/cloudwego/netpoll/internal/errno"
	"github.com/cloudwego/netpoll/internal/iobatch"
)

// Cut returns how much of p the next call of op on fd is to move, or the error it is to fail with.
func Cut(op Op, fd int, p []byte) ([]byte, syscall.Errno) {
	n, errno := Transfer(op, fd, len(p))
	return p[:n], errno
}

// Transfer returns how much of size the next call of op on fd is to move, or the error it is to fail with. An error
// that says that the connection is gone also ends the connection, because the other direction and the peer have to see
// the end, as with a real error.
func Transfer(op Op, fd, size int) (limit int, no syscall.Errno) {
	limit, no = ask(op, size)
	if errno.EndsConnection(no) {
		_ = unix.Shutdown(fd, unix.SHUT_RDWR)
	}
	return limit, no
}

// WrapRing returns what does the work of r, except for what the hook makes fail. call is the system call that executes a
// batch.
func WrapRing(r Executor, call string) Executor { return &unreliableRing{Executor: r, call: call} }

// unreliableRing keeps queued operations to itself until Submit, when the hook decides about each.
type unreliableRing struct {
	Executor
	call   string
	queued []ringOperation
}

type ringOperation struct {
	op  Op
	fd  int
	p   []byte
	tag uint64
	res int32
}

func (r *unreliableRing) Recv(fd int, p []byte, tag uint64) bool { return r.queue(Recv, fd, p, tag) }

func (r *unreliableRing) Send(fd int, p []byte, tag uint64) bool { return r.queue(Send, fd, p, tag) }

func (r *unreliableRing) Len() int { return len(r.queued) }

func (r *unreliableRing) queue(op Op, fd int, p []byte, tag uint64) bool {
	if len(r.queued) == r.Cap() {
		return false
	}
	r.queued = append(r.queued, ringOperation{op, fd, p, tag, iobatch.NotExecuted})
	return true
}

// Submit does the operations that are let through, and reports all in their order, as a ring does.
func (r *unreliableRing) Submit(done func(tag uint64, res int32)) error {
	list := r.queued
	r.queued = nil
	limit, errno := ask(Ring, len(list))
	if errno == 0 {
		r.forward(list[:limit])
	}
	err := r.Executor.Submit(func(i uint64, res int32) { list[i].res = res })
	for _, o := range list {
		done(o.tag, o.res)
	}
	if errno != 0 {
		return os.NewSyscallError(r.call, errno)
	}
	return err
}

// forward hands the operations of list to the ring below, except for those that fail.
func (r *unreliableRing) forward(list []ringOperation) {
	for i := range list {
		o := &list[i]
		n, errno := Transfer(o.op, o.fd, len(o.p))
		switch {
		case errno != 0:
			o.res = -int32(errno)
		case o.op == Recv:
			r.Executor.Recv(o.fd, o.p[:n], uint64(i))
		default:
			r.Executor.Send(o.fd, o.p[:n], uint64(i))
		}
	}
}
