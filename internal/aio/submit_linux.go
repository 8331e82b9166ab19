package aio

// This file holds a batch: how operations are queued, executed, accounted for one by one, and delivered.
//
// io_submit takes operations in their order and executes each as it takes it. It returns how many it has taken, and
// stops before one that it refuses; the next call begins with that one, and says why. So an operation is in one of three
// states: not taken (NotExecuted: a plain call can do it), completed (its event has its result), or taken without an
// event, which a kernel that honours RWF_NOWAIT never leaves behind. The last kind is waited for before Submit returns.

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

// lastErrno is the largest number of an error.
const lastErrno = 4095

// Recv queues a receive of at most len(p) bytes from the socket fd. The result is the count, 0 at the end of stream,
// or a negative errno; tag comes back with it. Until the Submit that executes it returns, p and fd must stay
// untouched; p must not be empty. It returns false, and queues nothing, when the ring is full, broken or closed.
func (r *Ring) Recv(fd int, p []byte, tag uint64) bool {
	return r.queue(opRead, fd, p, unix.RWF_NOWAIT, tag)
}

// Send queues a send of p to the socket fd. The result is the count, which is less than len(p) when the socket took
// no more, or a negative errno. Otherwise it is as Recv.
func (r *Ring) Send(fd int, p []byte, tag uint64) bool {
	return r.queue(opWrite, fd, p, r.sendFlags, tag)
}

func (r *Ring) queue(opcode uint16, fd int, p []byte, flags uint32, tag uint64) bool {
	i := len(r.batch.Ops)
	if r.err != nil || i == len(r.iocbs) {
		return false
	}
	cb := iocb{
		data:   uint64(i),
		opcode: opcode,
		fd:     uint32(fd),
		buf:    uint64(uintptr(unsafe.Pointer(unsafe.SliceData(p)))),
		size:   uint64(min(len(p), iobatch.MaxLength)),
	}
	cb.words[flagsAt] = flags
	r.iocbs[i] = cb
	r.batch.Add(p, tag)
	return true
}

// Submit executes everything queued, in the order queued, and then calls done once for each operation, in the same
// order. By then the kernel holds none of it and the ring is empty, so done may use the ring for a next batch. Submit
// does not wait for sockets.
//
// Where the kernel cannot execute an operation, or not for the moment, done gets NotExecuted for it, and Submit returns
// nil: the caller makes a plain system call instead, which says what is wrong if something is. An error means that the
// ring is broken. Even then done has been called for each operation, with its result if the kernel executed it, or with
// NotExecuted or InDoubt; afterwards the ring takes nothing more and is to be closed. The error wraps the errno of
// io_submit, [ErrMisbehaves], or os.ErrClosed.
func (r *Ring) Submit(done func(tag uint64, res int32)) error {
	if r.err == nil && len(r.batch.Ops) > 0 {
		r.err = r.execute()
	}
	err := r.err
	r.batch.Deliver(done)
	return err
}

// execute runs what is queued. Afterwards each operation has a result, or is left as NotExecuted.
func (r *Ring) execute() error {
	r.batch.Left = 0
	happens.BeforeSend()
	err := r.submitAll()
	r.reap()
	happens.AfterReceive()
	if r.batch.Left > 0 {
		return r.recall(err)
	}
	return err
}

// submitAll hands everything to the kernel. It returns an error if the ring is of no use any more.
func (r *Ring) submitAll() error {
	next, stalls := 0, 0
	for next < len(r.batch.Ops) && stalls < iobatch.MaxStalls {
		n, errno := r.sys.submit(r.id, r.pointers[next:len(r.batch.Ops)])
		if errno == 0 && n > 0 {
			next = r.take(next, n)
			stalls = 0
			continue
		}
		// An operation with an event was executed, even if the call failed: it must not be handed over again. And
		// events that were not taken yet may use up the room.
		r.reap()
		before := next
		for next < len(r.batch.Ops) && r.batch.Ops[next].Res != iobatch.NotExecuted {
			next++
		}
		switch {
		case next > before:
			stalls = 0
		case iobatch.Temporary(errno):
			stalls++
		}
		if next == len(r.batch.Ops) || iobatch.Temporary(errno) {
			continue
		}
		if !r.valid() {
			return os.NewSyscallError("io_submit", errno)
		}
		if next == before { // only this operation is refused
			if errno == unix.EBADF {
				r.batch.Ops[next].Res = -int32(errno)
			}
			next++
			stalls = 0
		}
	}
	return nil
}

// take notes that the kernel has taken n operations from next on, and returns the next one.
func (r *Ring) take(next, n int) int {
	end := min(next+n, len(r.batch.Ops))
	for i := range r.batch.Ops[next:end] {
		r.batch.Ops[next+i].Taken = true
	}
	r.batch.Left += end - next
	return end
}

// valid reports whether the kernel still knows the ring: it refuses a bad operation with the same errors as a ring that
// does not exist, but accepts an empty batch only for a ring that exists.
func (r *Ring) valid() bool {
	_, errno := r.sys.submit(r.id, nil)
	return errno == 0 || iobatch.Temporary(errno)
}

// reap takes the events that there are, without waiting for any.
func (r *Ring) reap() {
	if r.header == nil {
		for {
			n, errno := r.sys.getEvents(r.id, 0, r.fetched, &r.patience)
			r.answer(r.fetched[:max(n, 0)])
			if errno != 0 || n <= 0 || r.batch.Left == 0 {
				return
			}
		}
	}
	tail := atomic.LoadUint32(&r.header.tail)
	if int(tail) >= len(r.events) {
		return // recall asks for the missing events by a call
	}
	if tail < r.head {
		r.answer(r.events[r.head:])
		r.head = 0
	}
	r.answer(r.events[r.head:tail])
	r.head = tail
	atomic.StoreUint32(&r.header.head, tail)
}

// answer gives operations their results. It ignores an event that belongs to no operation, or has an impossible result:
// its operation stays without a result.
func (r *Ring) answer(events []event) {
	for i := range events {
		e := &events[i]
		if e.data >= uint64(len(r.batch.Ops)) {
			continue
		}
		op := &r.batch.Ops[e.data]
		if op.Res == iobatch.NotExecuted && e.res >= -lastErrno && e.res <= int64(min(len(op.Buf), iobatch.MaxLength)) {
			op.Res = int32(e.res)
			if op.Taken {
				r.batch.Left--
			}
		}
	}
}

// recall waits for the operations that were taken and have no result; the caller's memory must not stay with the
// kernel, which knows no way to cancel them. It always returns an error: this package cannot use a kernel that keeps
// operations. The error wraps other too, unless that is nil.
func (r *Ring) recall(other error) error {
	late := r.batch.Left
	deadline := time.Now().Add(iobatch.RecallPatience)
	for r.batch.Left > 0 {
		patience := time.Until(deadline)
		if patience <= 0 {
			break
		}
		r.patience = unix.NsecToTimespec(patience.Nanoseconds())
		n, errno := r.sys.getEvents(r.id, 1, r.fetched, &r.patience)
		r.answer(r.fetched[:max(n, 0)])
		if errno != 0 && errno != unix.EINTR {
			break
		}
	}

	gone := 0
	for i := range r.batch.Ops {
		if op := &r.batch.Ops[i]; op.Taken && op.Res == iobatch.NotExecuted {
			op.Lose()
			r.kept = true
			gone++
		}
	}
	err := fmt.Errorf("%w: %d of %d not completed in the call, %d of them lost", ErrMisbehaves, late, len(r.batch.Ops), gone)
	if other != nil {
		err = fmt.Errorf("%w: %w", err, other)
	}
	return err
}
