package iobatch

import (
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// MaxStalls is how many system calls in a row may achieve nothing before the rest of a batch is left to the caller.
	MaxStalls = 8
	// MaxLength is how much one operation moves at most: its result must fit, and no socket takes as much.
	MaxLength = 1 << 30
)

// RecallPatience is how long an executor waits for operations that the kernel keeps. Only tests write it.
var RecallPatience = time.Second

// An Operation is one queued receive or send. The reference to its memory is what keeps that alive.
type Operation struct {
	Buf   []byte
	Tag   uint64
	Res   int32 // NotExecuted until the kernel has answered
	Taken bool  // by the kernel, where that is not in memory shared with it
}

// A Queue is the batch of a ring: the operations queued, in their order. It has the lock of its ring.
type Queue struct {
	Ops   []Operation
	Left  int         // operations that the kernel has to answer, while they are executed
	spare []Operation // the other array of operations, while one is delivered
}

// NewQueue returns a queue that allocates nothing as long as a batch has at most n operations.
func NewQueue(n int) Queue {
	return Queue{Ops: make([]Operation, 0, n), spare: make([]Operation, 0, n)}
}

// Len returns how many operations are queued for the next Submit.
func (q *Queue) Len() int { return len(q.Ops) }

// Add queues an operation that has no result.
func (q *Queue) Add(p []byte, tag uint64) {
	q.Ops = append(q.Ops, Operation{Buf: p, Tag: tag, Res: NotExecuted})
}

// Deliver empties the queue and gives the results to done, in the order queued. The other array takes the operations
// that done queues; a Deliver inside done finds no other array and makes one.
func (q *Queue) Deliver(done func(tag uint64, res int32)) {
	ops := q.Ops
	q.Ops, q.spare = q.spare[:0], nil
	for i := range ops {
		tag, res := ops[i].Tag, ops[i].Res
		ops[i] = Operation{}
		done(tag, res)
	}
	q.spare = ops[:0]
}

// lost keeps the memory of operations that the kernel never gave back. It only grows; a healthy kernel leaves it empty.
var lost struct {
	mu   sync.Mutex
	bufs [][]byte // guarded by mu
}

// Lose makes the result of an operation that the kernel keeps InDoubt, and keeps its memory for good.
func (o *Operation) Lose() {
	o.Res = InDoubt
	lost.mu.Lock()
	defer lost.mu.Unlock()
	lost.bufs = append(lost.bufs, o.Buf)
}

// Lost returns the memory of all operations that were lost.
func Lost() [][]byte {
	lost.mu.Lock()
	defer lost.mu.Unlock()
	return lost.bufs
}

// Temporary reports whether a system call that failed with errno may succeed later: no memory for a request or no room
// for its answer (EAGAIN, EBUSY, ENOMEM), a signal. A call that did nothing is one of them.
func Temporary(errno unix.Errno) bool {
	switch errno {
	case 0, unix.EAGAIN, unix.EBUSY, unix.EINTR, unix.ENOMEM:
		return true
	}
	return false
}
