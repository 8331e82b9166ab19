//go:build faults && ((linux && !netconn) || darwin || dragonfly || freebsd || netbsd || openbsd)

package netpoll

// This file holds faults of the calls that move bytes, of the ring, and of what the poller sees.

import (
	"os"
	"sync/atomic"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/cloudwego/netpoll/internal/uring"
)

// faultCut returns how much of p the next call of op on fd is to move, or the error it is to fail with.
func faultCut(op sysOp, fd int, p []byte) ([]byte, syscall.Errno) {
	n, errno := faultOfTransfer(op, fd, len(p))
	return p[:n], errno
}

// faultOfTransfer is faultOf for a call that moves bytes. With an error that says that the connection is gone it is
// gone: the kernel would not give it otherwise, and the other direction and the peer have to learn of it.
func faultOfTransfer(op sysOp, fd, size int) (limit int, errno syscall.Errno) {
	limit, errno = faultOf(op, size)
	if endsConnection(errno) {
		_ = unix.Shutdown(fd, unix.SHUT_RDWR)
	}
	return limit, errno
}

func faultyGather(fd int, v *vector) (int, error) {
	n, errno := faultOfTransfer(opSendv, fd, v.total())
	if errno != 0 {
		return 0, errno
	}
	if n < v.total() {
		v.limit(n)
	}
	return gatherWrite(fd, v)
}

// faultyRing returns what does the work of r, as far as it is let.
func faultyRing(r ring) ring { return &unreliableRing{ring: r} }

// unreliableRing keeps what is queued to itself until Submit, when it is known what is to become of it.
type unreliableRing struct {
	ring
	queued []ringOperation
}

type ringOperation struct {
	op  sysOp
	fd  int
	p   []byte
	tag uint64
	res int32
}

func (r *unreliableRing) Recv(fd int, p []byte, tag uint64) bool { return r.queue(opRecv, fd, p, tag) }

func (r *unreliableRing) Send(fd int, p []byte, tag uint64) bool { return r.queue(opSend, fd, p, tag) }

func (r *unreliableRing) Len() int { return len(r.queued) }

func (r *unreliableRing) queue(op sysOp, fd int, p []byte, tag uint64) bool {
	if len(r.queued) == r.Cap() {
		return false
	}
	r.queued = append(r.queued, ringOperation{op, fd, p, tag, uring.NotExecuted})
	return true
}

// Submit does the operations that are let through, and tells of all in their order, as a ring does.
func (r *unreliableRing) Submit(done func(tag uint64, res int32)) error {
	list := r.queued
	r.queued = nil
	limit, errno := faultOf(opRing, len(list))
	if errno == 0 {
		r.forward(list[:limit])
	}
	err := r.ring.Submit(func(i uint64, res int32) { list[i].res = res })
	for _, o := range list {
		done(o.tag, o.res)
	}
	if errno != 0 {
		return os.NewSyscallError("io_uring_enter", errno)
	}
	return err
}

// forward hands the operations of list to the ring below, except for those that fail.
func (r *unreliableRing) forward(list []ringOperation) {
	for i := range list {
		o := &list[i]
		n, errno := faultOfTransfer(o.op, o.fd, len(o.p))
		switch {
		case errno != 0:
			o.res = -int32(errno)
		case o.op == opRecv:
			r.ring.Recv(o.fd, o.p[:n], uint64(i))
		default:
			r.ring.Send(o.fd, o.p[:n], uint64(i))
		}
	}
}

// sighting is an event of a look.
type sighting struct {
	token uint64
	ev    pollEvent
}

// sightHook is given the events of a look that found any, and returns those that the poller is to see: in another
// order, twice, with some that are not true. stale are events of the past, of descriptors that have been closed since.
// It must not leave out one of seen, because what the kernel reports once only would never be seen again. It runs on
// the poll goroutine.
type sightHook func(seen, stale []sighting) []sighting

// sightsNow is the hook in force; stored by setSightFaults.
var sightsNow atomic.Pointer[sightHook]

// setSightFaults makes h decide from now on; nil shows every poller what is true.
func setSightFaults(h sightHook) {
	if h == nil {
		sightsNow.Store(nil)
		return
	}
	sightsNow.Store(&h)
}

// maxPast is how many events of the past a poller remembers.
const maxPast = 64

// sightings are the events of one look, as the poller is to see them.
type sightings struct{ list, past []sighting }

// note takes the n events of a look of p and returns how many to handle.
func (s *sightings) note(p *poller, n int) int {
	s.list = s.list[:0]
	for i := range n {
		token, ev := p.sel.event(i)
		s.list = append(s.list, sighting{token, ev})
	}
	h := sightsNow.Load()
	if h == nil || n == 0 {
		return n
	}
	var stale []sighting
	for _, e := range s.past {
		if w := p.slots.lookup(e.token); w == nil || w.token != e.token {
			stale = append(stale, e)
		}
	}
	s.past = append(s.past, s.list...)
	s.past = s.past[max(0, len(s.past)-maxPast):]
	s.list = (*h)(s.list, stale)
	return len(s.list)
}

// event is the i-th of them.
func (s *sightings) event(_ *selector, i int) (token uint64, ev pollEvent) {
	return s.list[i].token, s.list[i].ev
}
