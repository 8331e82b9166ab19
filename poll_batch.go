//go:build (linux && !netconn) || darwin || dragonfly || freebsd || netbsd || openbsd

package netpoll

// This file holds the batch: what one look at the system's queue leads to, and the I/O batch that does the receives and
// sends of a large one in a single system call. Every operation completes inside that call, or fails because the socket
// is not ready, so between two batches the kernel holds nothing of ours.

import (
	"fmt"
	"os"

	"github.com/cloudwego/netpoll/internal/fault"
	"github.com/cloudwego/netpoll/internal/interleave/sync"
	"github.com/cloudwego/netpoll/internal/uring"
)

// batchReceiver is a pollHandler whose receives can be done together with those of others.
type batchReceiver interface {
	// beginReceive returns what to receive with because of ev; endReceive must follow, on the same goroutine and in
	// the same batch. If p is nil there is nothing to receive; if ok is false the event is one for onPoll.
	beginReceive(ev pollEvent) (fd int, p []byte, ok bool)
	// endReceive takes what came of it: the number of bytes, which is 0 at the end of the stream, or one of the
	// negative results of package uring. full says that they fill p.
	endReceive(res int32, full bool, b *batch)
}

// sender is one with output for the poller to send.
type sender interface {
	// addPending is called once the sender can be sure of the next three. It returns false if it does not need them.
	addPending() bool
	// sendPending sends what it can, now.
	sendPending()
	// beginSend returns what to send, and endSend takes what came of it, as a receiver does. If ok is false there is
	// nothing to send.
	beginSend() (fd int, p []byte, ok bool)
	endSend(res int32)
}

// maxSends bounds a queue of senders. Beyond it they send by themselves.
const maxSends = 512

// sendQueue holds those that wait for the poller to send. It is open while the poller is sure to look at it soon.
type sendQueue struct {
	// mu guards the fields below.
	mu    sync.Mutex
	open  bool
	list  []sender
	spare []sender // the other array, while one is worked on by the leader
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

// take returns what is queued. It is valid until the next take or shut.
func (q *sendQueue) take() []sender {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.swap()
}

// shut is take for a poller that will not look again soon.
func (q *sendQueue) shut() []sender {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.open = false
	return q.swap()
}

// swap returns the list and puts the other array in its place. The caller holds mu.
func (q *sendQueue) swap() []sender {
	list := q.list
	clear(q.spare)
	q.list, q.spare = q.spare[:0], list
	return list
}

// ring is what executes operations; see [uring.Ring].
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
	policy  *ringPolicy
	make    func() (ring, error)
	ring    ring // made when first needed
	refused bool // it could not be made
	recvs   []receiving
	sending []sender
	others  []int                       // events that are not for the ring
	done    func(tag uint64, res int32) // deliver, made once
	batch   *batch                      // of the gather that runs
}

type receiving struct {
	by   batchReceiver
	size int
}

const (
	// ringSize is how many operations one system call does at most.
	ringSize = 512
	// sendTag marks the tags of sends.
	sendTag = 1 << 32
)

func (e *ioBatch) init() {
	e.done = e.deliver
	e.policy = defaultRingPolicy
	e.make = newRing
}

func newRing() (ring, error) {
	if err := uring.ProbeOnce(); err != nil {
		return nil, err
	}
	if errno := fault.Check(fault.RingSetup); errno != 0 {
		return nil, os.NewSyscallError("io_uring_setup", errno)
	}
	r, err := uring.New(ringSize)
	if err != nil {
		return nil, err
	}
	if fault.Enabled {
		return fault.WrapRing(r), nil
	}
	return r, nil
}

func (e *ioBatch) close() {
	if e.ring != nil {
		_ = e.ring.Close()
		e.ring = nil
	}
}

// worth reports whether n operations should be done by the ring, and sees to it that there is one.
func (e *ioBatch) worth(n int) bool {
	least := e.policy.least()
	if least == 0 || n < least || e.refused {
		return false
	}
	if e.ring == nil {
		ring, err := e.make()
		if err != nil {
			e.refused = true
			e.policy.refused(err)
			return false
		}
		e.ring = ring
	}
	return true
}

// submitBatch does a batch of n events and the queued sends in one system call, where that is possible. Whatever else the
// events call for comes after it: OnPrepare may wait for a Flush, which may wait for a send of this batch.
func (p *poller) submitBatch(w *worker, n int, sends []sender) {
	e := &w.io
	e.batch = &w.batch
	e.others = e.others[:0]
	for _, s := range sends {
		e.send(s)
	}
	for i := range n {
		token, ev := p.event(i)
		of := p.slots.lookup(token)
		if of == nil {
			continue
		}
		if r, ok := of.handler.(batchReceiver); !ok || !e.receive(r, ev) {
			e.others = append(e.others, i)
		}
	}
	e.submit()
	p.report(w, &reports{n: len(e.others), list: e.others})
}

// sendBatch makes each of list send, in one system call.
func (e *ioBatch) sendBatch(list []sender) {
	for _, s := range list {
		e.send(s)
	}
	e.submit()
}

func (e *ioBatch) send(s sender) {
	fd, p, ok := s.beginSend()
	if !ok {
		return
	}
	e.makeRoom()
	if e.ring == nil || !e.ring.Send(fd, p, sendTag|uint64(len(e.sending))) {
		s.endSend(uring.NotExecuted)
		return
	}
	e.sending = append(e.sending, s)
}

func (e *ioBatch) receive(r batchReceiver, ev pollEvent) bool {
	fd, p, ok := r.beginReceive(ev)
	if p == nil {
		return ok
	}
	e.makeRoom()
	if e.ring == nil || !e.ring.Recv(fd, p, uint64(len(e.recvs))) {
		r.endReceive(uring.NotExecuted, false, e.batch)
		return true
	}
	e.recvs = append(e.recvs, receiving{r, len(p)})
	return true
}

// makeRoom makes room in the ring for one more operation.
func (e *ioBatch) makeRoom() {
	if e.ring != nil && e.ring.Len() == e.ring.Cap() {
		e.submit()
	}
}

// submit does what was gathered. A ring that fails is given up; all it did not do is done otherwise.
func (e *ioBatch) submit() {
	if e.ring == nil {
		return
	}
	if err := e.ring.Submit(e.done); err != nil {
		e.policy.failed(err)
		e.close()
	}
	clear(e.recvs)
	clear(e.sending)
	e.recvs, e.sending = e.recvs[:0], e.sending[:0]
}

// deliver passes a result on to where it belongs.
func (e *ioBatch) deliver(tag uint64, res int32) {
	if tag&sendTag != 0 {
		e.sending[tag&^sendTag].endSend(res)
		return
	}
	r := e.recvs[tag]
	r.by.endReceive(res, int(res) == r.size, e.batch)
}

// leastBatch is how many operations a batch needs for the ring to cost less than plain system calls.
const leastBatch = 4

// least returns the number of operations from which on a batch is worth a ring; 0 if no ring is to be used.
func (u *ringPolicy) least() int {
	if u.broken.Load() != nil {
		return 0
	}
	switch IOUringMode(u.mode.Load()) {
	case IOUringOff:
		return 0
	case IOUringAlways:
		return 1
	}
	return leastBatch
}

// refused notes that no ring could be made. Where the probe could make one, that is news.
func (u *ringPolicy) refused(err error) {
	if u.probe() == nil {
		u.failed(err)
	}
}

// failed ends the use of rings in the process. The first to report it is the one that logs it.
func (u *ringPolicy) failed(err error) {
	err = fmt.Errorf("netpoll: io_uring failed: %w", err)
	if u.broken.CompareAndSwap(nil, &err) {
		logger().Printf("%v; plain system calls are used from now on", err)
	}
}
