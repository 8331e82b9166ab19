package uring

// This file holds a batch: how operations are queued, executed, accounted for one by one, and delivered.
//
// Only the shared memory counts, never the result of io_uring_enter. The head of the submission queue says which
// operations the kernel has taken, and a completion has the result of one. So an operation is in one of three states
// whatever the call returned: not taken (NotExecuted: it is withdrawn, and can be done otherwise), completed (its
// result stands), or taken without a completion, which a kernel that honours MSG_DONTWAIT never leaves behind. The last
// kind is recalled before Submit returns.

import (
	"fmt"
	"os"
	"sync/atomic"
	"time"
	"unsafe"

	"github.com/cloudwego/netpoll/internal/happens"
	"github.com/cloudwego/netpoll/internal/iobatch"
	"golang.org/x/sys/unix"
)

const (
	// cancelTag marks completions of cancellations, which no caller waits for.
	cancelTag = 1 << 63
)

// Recv queues a receive of at most len(p) bytes from the socket fd. The result is the count, 0 at the end of stream,
// or a negative errno; tag comes back with it. Until the Submit that executes it returns, p and fd must stay
// untouched; p must not be empty. It returns false, and queues nothing, when the ring is full, broken or closed.
func (r *Ring) Recv(fd int, p []byte, tag uint64) bool {
	return r.queue(opRecv, fd, p, unix.MSG_DONTWAIT, tag)
}

// Send queues a send of p to the socket fd. The result is the count, which is less than len(p) when the socket took
// no more, or a negative errno; no SIGPIPE is raised. In all other respects it is like Recv.
//
// Sends do not carry MSG_WAITALL: with MSG_DONTWAIT it changes only how a short send is reported, on a path of the
// kernel that resumes sends and that a plain short send does not need. It would be needed to do without completions
// for sends that succeed, which was measured and saved nothing; and a completion for each operation is what lets
// Submit account for it.
func (r *Ring) Send(fd int, p []byte, tag uint64) bool {
	return r.queue(opSend, fd, p, unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL, tag)
}

func (r *Ring) queue(opcode uint8, fd int, p []byte, msgFlags uint32, tag uint64) bool {
	i := len(r.batch.Ops)
	if r.err != nil || i == len(r.sqes) {
		return false
	}
	r.put(sqe{
		opcode:   opcode,
		fd:       int32(fd),
		addr:     uint64(uintptr(unsafe.Pointer(unsafe.SliceData(p)))),
		length:   uint32(min(len(p), iobatch.MaxLength)),
		msgFlags: msgFlags,
		userData: uint64(i),
	})
	r.batch.Add(p, tag)
	return true
}

// put writes the next entry. The kernel sees it once the tail is published.
func (r *Ring) put(e sqe) {
	r.sqes[r.tail&r.sqMask] = e
	r.tail++
}

// Submit executes everything queued, in the order queued, and then calls done once for each operation, in the same
// order. By then the kernel holds none of it and the ring is empty, so done may use the ring for a next batch. Submit
// does not wait for sockets.
//
// Where the kernel cannot execute an operation for the moment, done gets NotExecuted for it, and Submit returns nil:
// the caller makes a plain system call instead. An error means that the ring is broken. Even then done has been
// called for each operation, with its result if the kernel executed it, or with NotExecuted or InDoubt; afterwards the
// ring takes nothing more and is to be closed. The error wraps the errno of io_uring_enter, [ErrMisbehaves], or
// os.ErrClosed.
func (r *Ring) Submit(done func(tag uint64, res int32)) error {
	if r.err == nil && len(r.batch.Ops) > 0 {
		r.err = r.execute()
	}
	err := r.err
	r.batch.Deliver(done)
	return err
}

// execute runs the queued operations. Afterwards each operation has a result, or is left as NotExecuted.
func (r *Ring) execute() error {
	r.batch.Left = len(r.batch.Ops)
	happens.BeforeSend()
	errno := r.enterAll()
	happens.AfterReceive()
	if r.batch.Left == 0 {
		return nil
	}
	withdrawn := r.withdraw()
	if r.batch.Left > withdrawn {
		return r.recall(r.batch.Ops[:len(r.batch.Ops)-withdrawn], errno)
	}
	if iobatch.Temporary(errno) {
		return nil
	}
	return os.NewSyscallError("io_uring_enter", errno)
}

// enterAll enters the kernel until every operation has its result, or there is no progress any more; then it returns
// the last errno.
func (r *Ring) enterAll() (errno unix.Errno) {
	atomic.StoreUint32(r.sqTail, r.tail)
	flags, stalls := uint32(0), 0
	for stalls < iobatch.MaxStalls {
		left, head := r.batch.Left, atomic.LoadUint32(r.sqHead)
		_, errno = r.sys.enter(r.fd, r.tail-head, flags)
		r.reap()
		if r.batch.Left == 0 || !iobatch.Temporary(errno) {
			return errno
		}
		if r.batch.Left < left || atomic.LoadUint32(r.sqHead) != head {
			stalls = 0
		} else {
			stalls++
		}
		// The kernel may hold back missing completions, for lack of room in the completion queue.
		flags = enterGetEvents
	}
	return errno
}

// reap takes the completions out of the queue.
func (r *Ring) reap() {
	head, tail := atomic.LoadUint32(r.cqHead), atomic.LoadUint32(r.cqTail)
	for ; head != tail; head++ {
		c := &r.cqes[head&r.cqMask]
		// A tag that is not ours is no reason to trust it: the operation it should name stays without a result.
		if c.userData < uint64(len(r.batch.Ops)) && r.batch.Ops[c.userData].Res == iobatch.NotExecuted {
			r.batch.Ops[c.userData].Res = c.res
			r.batch.Left--
		}
	}
	atomic.StoreUint32(r.cqHead, head)
}

// withdraw takes back the entries that the kernel has not taken, and returns their number. The kernel looks at the
// queue only when it is entered, so moving the tail back is safe.
func (r *Ring) withdraw() int {
	head := atomic.LoadUint32(r.sqHead)
	n := r.tail - head
	r.tail = head
	atomic.StoreUint32(r.sqTail, head)
	return int(n)
}

// recall cancels the operations among taken that have no result, and waits for them to come back; the caller's
// memory must not stay with the kernel. The submission queue is empty and has room for them all. It always returns an
// error: a kernel that keeps operations is not for this package. The error wraps errno too, unless that is 0.
func (r *Ring) recall(taken []iobatch.Operation, errno unix.Errno) error {
	var late []int
	for i := range taken {
		if taken[i].Res == iobatch.NotExecuted {
			late = append(late, i)
			r.put(sqe{opcode: opAsyncCancel, fd: -1, addr: uint64(i), userData: cancelTag})
		}
	}
	atomic.StoreUint32(r.sqTail, r.tail)
	r.awaitLate(r.batch.Left-len(late), len(late))
	r.withdraw()

	gone := 0
	for _, i := range late {
		switch op := &taken[i]; op.Res {
		case -int32(unix.ECANCELED):
			op.Res = iobatch.NotExecuted
		case iobatch.NotExecuted:
			op.Lose()
			gone++
		}
	}
	err := fmt.Errorf("%w: %d of %d not completed in the call, %d of them lost",
		ErrMisbehaves, len(late), len(taken), gone)
	if errno != 0 {
		err = fmt.Errorf("%w: %w", err, os.NewSyscallError("io_uring_enter", errno))
	}
	return err
}

// awaitLate enters the kernel until only rest operations are without a result, or iobatch.RecallPatience is over. Every late
// operation and every cancellation can wake it once.
func (r *Ring) awaitLate(rest, late int) {
	deadline := time.Now().Add(iobatch.RecallPatience)
	for range 2*late + iobatch.MaxStalls {
		_, errno := r.sys.enter(r.fd, r.tail-atomic.LoadUint32(r.sqHead), enterGetEvents)
		r.reap()
		patience := time.Until(deadline)
		if r.batch.Left <= rest || !iobatch.Temporary(errno) || patience <= 0 {
			return
		}
		// The descriptor of a ring is readable when there are completions. Whatever poll returns, the loop looks.
		fds := []unix.PollFd{{Fd: int32(r.fd), Events: unix.POLLIN}}
		_, _ = unix.Poll(fds, int(patience.Milliseconds())+1)
	}
}
