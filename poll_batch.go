//go:build (linux && !netconn) || darwin || dragonfly || freebsd || netbsd || openbsd

package netpoll

// This file holds the queue of sends, and the I/O batch, which does the receives and sends of a large batch of events
// in a single system call. Every operation completes inside that call, or fails because the socket is not ready, so
// between two batches the kernel holds nothing of ours.

import (
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"

	"github.com/cloudwego/netpoll/internal/aio"
	"github.com/cloudwego/netpoll/internal/fault"
	"github.com/cloudwego/netpoll/internal/interleave/clock"
	"github.com/cloudwego/netpoll/internal/interleave/sync"
	"github.com/cloudwego/netpoll/internal/iobatch"
	"github.com/cloudwego/netpoll/internal/metric"
	"github.com/cloudwego/netpoll/internal/runner"
	"github.com/cloudwego/netpoll/internal/uring"
	"github.com/cloudwego/netpoll/internal/wait"
)

// batchReceiver is a pollHandler whose receives can be done together with those of others.
type batchReceiver interface {
	// beginReceive returns the descriptor and the memory for a receive after ev; endReceive must follow, on the same
	// goroutine and in the same batch. If p is nil there is nothing to receive; if ok is false the event is one for
	// onPoll.
	beginReceive(ev pollEvent) (fd int, p []byte, ok bool)
	// endReceive takes the result: the number of bytes, which is 0 at the end of the stream, or one of the negative
	// results of package uring. full says that they fill p.
	endReceive(res int32, full bool, b *batch)
}

// sender has output for a worker to send.
type sender interface {
	// addPending is called when the worker is sure to send later, by sendPending or by beginSend and endSend. It
	// returns false if the sender does not need that.
	addPending() bool
	// sendPending sends as much as it can, now.
	sendPending()
	// beginSend returns the descriptor and the bytes to send, and endSend takes the result, as for a receive. If ok is
	// false there is nothing to send.
	beginSend() (fd int, p []byte, ok bool)
	endSend(res int32)
}

// maxSends limits a queue of senders. Beyond it they send by themselves.
const maxSends = 512

// sendQueue holds the senders that wait for a worker. It is open while that worker is sure to look at it soon.
type sendQueue struct {
	// mu guards the fields below.
	mu    sync.Mutex
	open  bool
	list  []sender
	spare []sender // the other array, while the worker sends what is in one
}

// add queues s, or returns false if s has to send by itself.
func (q *sendQueue) add(s sender) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if !q.open || len(q.list) == maxSends || !s.addPending() {
		return false
	}
	q.list = append(q.list, s)
	return true
}

func (q *sendQueue) setOpen() {
	q.mu.Lock()
	q.open = true
	q.mu.Unlock()
}

// take returns the queued senders. It is valid until the next take or shut.
func (q *sendQueue) take() []sender {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.swap()
}

// shut is take for a worker that will not look again soon.
func (q *sendQueue) shut() []sender {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.open = false
	return q.swap()
}

// forget drops the arrays of a queue that is shut for good.
func (q *sendQueue) forget() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.list, q.spare = nil, nil
}

// swap returns the list and continues with the other array. The caller holds mu.
func (q *sendQueue) swap() []sender {
	list := q.list
	clear(q.spare)
	q.list, q.spare = q.spare[:0], list
	return list
}

// ring executes operations; see [uring.Ring] and [aio.Ring].
type ring interface {
	Recv(fd int, p []byte, tag uint64) bool
	Send(fd int, p []byte, tag uint64) bool
	Submit(done func(tag uint64, res int32)) error
	Cap() int
	Len() int
	Close() error
}

// ioBatch does the operations of a batch in one system call, if it has a ring.
type ioBatch struct {
	policy   *executors
	make     func(kind *executorKind) (ring, error)
	ring     ring            // made when first needed
	by       *executorPolicy // the policy of the ring's kind
	noneTill int64           // none could be made, and none is to be tried before this, as clock.Now counts; 0 if one may be
	recvs    []receiving
	sending  []sending
	received int                         // how many of the receives have been given their results
	sent     int                         // the same for sends
	others   []int                       // events that are not for the ring
	done     func(tag uint64, res int32) // note, made once
	batch    *batch                      // of the worker
	counts   *metric.Counters            // likewise
}

// receiving and sending are operations in the ring, or those that it has done.
type receiving struct {
	by   batchReceiver
	size int
	res  int32
}

type sending struct {
	by  sender
	res int32
}

const (
	// ringSize is how many operations one system call does at most.
	ringSize = 512
	// aioSize is the same for AIO. Room for them counts against a limit of the whole machine, fs.aio-max-nr, which is
	// 65536 by default, and a call for each hundred costs nothing.
	aioSize = 128
	// sendTag marks the tags of sends.
	sendTag = 1 << 32
)

func (e *ioBatch) init() {
	e.done = e.note
	e.policy = defaultExecutors
	e.make = newRing
}

func newRing(kind *executorKind) (ring, error) {
	if kind == linuxAIO {
		return wrapped(aio.ProbeOnce, aio.New, aioSize, "io_setup", "io_submit")
	}
	return wrapped(uring.ProbeOnce, uring.New, ringSize, "io_uring_setup", "io_uring_enter")
}

// wrapped makes a ring of a kind, whose system calls tests make fail.
func wrapped[R ring](probe func() error, make func(uint32) (R, error), size uint32, setup, enter string) (ring, error) {
	if err := probe(); err != nil {
		return nil, err
	}
	if errno := fault.Check(fault.RingSetup); errno != 0 {
		return nil, os.NewSyscallError(setup, errno)
	}
	r, err := make(size)
	if err != nil {
		return nil, err
	}
	if fault.Enabled {
		return fault.WrapRing(r, enter), nil
	}
	return r, nil
}

func (e *ioBatch) close() {
	if e.ring != nil {
		_ = e.ring.Close()
		e.ring = nil
	}
}

// worth reports whether a ring should do n operations, and makes one if there is none. Nothing is queued in it.
func (e *ioBatch) worth(n int) bool {
	by := e.policy.chosen(n)
	if by != e.by && by != nil {
		e.close()
		e.by, e.noneTill = by, 0
	}
	return by != nil && (e.ring != nil || e.makeRing())
}

// makeRing makes a ring, if that can be done.
func (e *ioBatch) makeRing() (ok bool) {
	if e.noneTill != 0 && clock.Now() < e.noneTill {
		return false
	}
	ring, err := e.make(e.by.kind)
	if err != nil {
		e.noneTill = e.by.refused(err)
		return false
	}
	e.ring, e.noneTill = ring, 0
	e.by.made.Store(true)
	return true
}

// round is what a look has brought to do, and what is left of it. Code of the user's may end the goroutine in the middle.
// Nothing may be lost then: what has been taken out of the queue of sends is not put back, and some events come once.
type round struct {
	ring   bool // it is worth one
	sends  []sender
	next   int // the first event that is left
	events int // of the look
	other  int // the first of ioBatch.others that is left
}

// finish does what is left of r. With a ring the sends and the receives of r are done in one system call where that is
// possible. All other events are reported after it: OnPrepare may wait for a Flush, which may wait for a send of r.
func (w *worker) finish(r *round) {
	runner.Protect(func() {
		if r.ring {
			w.io.finish(w.p, r)
		} else {
			for len(r.sends) > 0 {
				r.nextSender().sendPending()
			}
		}
		for ; r.next < r.events; w.report(r.nextEvent()) {
		}
		for ; r.other < len(w.io.others); w.report(w.io.others[r.other-1]) {
			r.other++
		}
	}, func() { w.finish(r) })
}

func (r *round) nextSender() (s sender) {
	s, r.sends = r.sends[0], r.sends[1:]
	return s
}

func (r *round) nextEvent() (i int) {
	r.next++
	return r.next - 1
}

// report calls the handler of the i-th event, if its descriptor is still watched.
func (w *worker) report(i int) {
	token, ev := w.p.event(i)
	if of := w.p.slots.lookup(token); of != nil {
		of.handler.onPoll(ev, &w.batch)
	}
}

// finish does the sends and receives of r, and puts the other events into others.
func (e *ioBatch) finish(p *poller, r *round) {
	e.deliver() // what a goroutine that ended has left
	for len(r.sends) > 0 {
		e.makeRoom()
		e.send(r.nextSender())
	}
	for r.next < r.events {
		e.makeRoom()
		i := r.nextEvent()
		token, ev := p.event(i)
		of := p.slots.lookup(token)
		if of == nil {
			continue
		}
		if by, ok := of.handler.(batchReceiver); !ok || !e.receive(by, ev) {
			e.others = append(e.others, i)
		}
	}
	e.submit()
}

// send adds a send of s. There is room for it.
func (e *ioBatch) send(s sender) {
	fd, p, ok := s.beginSend()
	if !ok {
		return
	}
	if e.ring == nil || !e.ring.Send(fd, p, sendTag|uint64(len(e.sending))) {
		s.endSend(iobatch.NotExecuted)
		return
	}
	e.sending = append(e.sending, sending{by: s})
}

// receive adds a receive after ev, unless ev is one for onPoll. There is room for it.
func (e *ioBatch) receive(r batchReceiver, ev pollEvent) bool {
	fd, p, ok := r.beginReceive(ev)
	if p == nil {
		return ok
	}
	if e.ring == nil || !e.ring.Recv(fd, p, uint64(len(e.recvs))) {
		r.endReceive(iobatch.NotExecuted, false, e.batch)
		return true
	}
	e.recvs = append(e.recvs, receiving{by: r, size: len(p)})
	return true
}

// makeRoom makes room in the ring for one more operation.
func (e *ioBatch) makeRoom() {
	if e.ring != nil && e.ring.Len() == e.ring.Cap() {
		e.submit()
	}
}

// submit does the gathered operations. A ring that fails is given up; plain system calls do what it did not do.
func (e *ioBatch) submit() {
	if e.ring == nil {
		return
	}
	err := e.ring.Submit(e.done)
	e.count()
	if err != nil {
		e.by.failed(err)
		e.close()
	}
	e.deliver()
}

// count counts what the ring has done.
func (e *ioBatch) count() {
	n := len(e.sending) + len(e.recvs)
	if n == 0 {
		return
	}
	var in, out uint64
	for i := range e.sending {
		out += uint64(max(e.sending[i].res, 0))
	}
	for i := range e.recvs {
		in += uint64(max(e.recvs[i].res, 0))
	}
	to := &e.counts.Rings[e.by.kind.index]
	to.Calls.Add(1)
	to.Operations.Add(uint64(n))
	e.counts.BytesIn.Add(in)
	e.counts.BytesOut.Add(out)
}

// note keeps a result until the ring has all of them.
func (e *ioBatch) note(tag uint64, res int32) {
	if tag&sendTag != 0 {
		e.sending[tag&^sendTag].res = res
	} else {
		e.recvs[tag].res = res
	}
}

// deliver passes the results on to their senders and receivers, in the order of the operations: sends come first.
func (e *ioBatch) deliver() {
	for e.sent < len(e.sending) {
		s := e.sending[e.sent]
		e.sent++
		s.by.endSend(s.res)
	}
	for e.received < len(e.recvs) {
		r := e.recvs[e.received]
		e.received++
		r.by.endReceive(r.res, int(r.res) == r.size, e.batch)
	}
	clear(e.sending)
	clear(e.recvs)
	e.sending, e.recvs = e.sending[:0], e.recvs[:0]
	e.sent, e.received = 0, 0
}

// chosen returns the policy of the executor for a batch of n operations, or nil for plain system calls. No executor is
// tried out for a batch that is too small for both.
func (e *executors) chosen(n int) *executorPolicy {
	if !e.ring.worth(n) && !e.aio.worth(n) {
		return nil
	}
	if u := e.inCharge(); u.worth(n) {
		return u
	}
	return nil
}

// leastBatch is how many operations a batch needs for an executor to cost less than plain system calls.
const leastBatch = 4

// least returns the number of operations from which on a batch is worth the executor; 0 if the executor is not to be
// used.
func (u *executorPolicy) least() int {
	if u.broken.Load() != nil {
		return 0
	}
	switch executorMode(u.mode.Load()) {
	case executorOff:
		return 0
	case executorAlways:
		return 1
	}
	return leastBatch
}

// worth reports whether a batch of n operations is worth the executor.
func (u *executorPolicy) worth(n int) bool {
	least := u.least()
	return least > 0 && n >= least
}

// ringRetry is how long a worker for whose ring there was no room does without one, until it tries again.
const ringRetry = time.Second

// refused notes that no executor could be made, and returns until when not to try again. If the probe could make one, that
// is a failure; but where the system has no room for one more, those who have one keep it.
func (u *executorPolicy) refused(err error) (until int64) {
	if u.made.Load() && lacksRoom(err) {
		if u.lacking.CompareAndSwap(false, true) {
			logger().Printf("netpoll: no room for one more user of %s, who makes plain system calls: %v", u.kind.name, err)
		}
		return wait.In(ringRetry)
	}
	if u.probe() == nil {
		u.failed(err)
	}
	return wait.NoDeadline
}

// lacksRoom reports whether err may be gone when others have ended.
func lacksRoom(err error) bool {
	for _, errno := range []syscall.Errno{syscall.EAGAIN, syscall.ENOMEM, syscall.EMFILE, syscall.ENFILE} {
		if errors.Is(err, errno) {
			return true
		}
	}
	return false
}

// failed ends the use of the executor in the process. Only the first call logs it.
func (u *executorPolicy) failed(err error) {
	err = fmt.Errorf("netpoll: %s failed: %w", u.kind.name, err)
	if u.broken.CompareAndSwap(nil, &err) {
		logger().Printf("%v; plain system calls are used from now on", err)
	}
}
