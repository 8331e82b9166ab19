package netpoll

// This file holds the seam below a connection's two buffers: what carries the bytes. A connection knows only this
// interface; a socket is its first implementation, any net.Conn the second.

import (
	"sync"

	"github.com/cloudwego/netpoll/internal/sock"
)

// errWouldBlock: the transport can take no more at the moment.
var errWouldBlock = sock.ErrWouldBlock

// sink is what a transport reports to.
type sink interface {
	pollHandler
	interestSource
}

// transport moves bytes between the world and the two buffers of a connection. No method blocks, except that send and
// stop do where it is said.
type transport interface {
	// start begins to report to s. It is called at most once, and before stop. A updateInterest that comes earlier, or
	// at the same time, because OnPrepare has handed the connection on, is not lost.
	start(s sink) error
	// updateInterest makes the transport report what its sink is interested in now.
	updateInterest() error
	// stop ends the reports; one that has begun may still be running. It is idempotent. If keep is set the descriptor,
	// or what there is in its place, will be kept; an error says that it cannot.
	stop(keep bool) error

	// receive moves what has arrived into in, about size bytes at most. more says that there may be more right now.
	// No bytes and no error: nothing is there. At the end of the stream the error is io.EOF. One goroutine at a time.
	// It is called for what was reported by onPoll; a transport that feeds its sink instead is not asked.
	receive(in *LinkBuffer, size int) (n int, more bool, err error)
	// send takes bytes from v, in order, and says how many it took; errWouldBlock if it can take none now. One
	// goroutine at a time. A transport that has no way to be told of room blocks instead, within the deadline that its
	// sink has for a call that began at v.start.
	send(v *vector) (n int, err error)
	// deadlineChanged is called when that deadline has changed.
	deadlineChanged()

	// sendLater makes the poller send for s, after s.addPending has returned true. If it returns false that will not
	// happen.
	sendLater(s sender) bool

	// closeWrite ends the sending direction, after what was sent; the other goes on.
	closeWrite() error
	// canCloseWrite reports whether there is such a thing.
	canCloseWrite() bool
	// abort makes the coming release a reset for the peer, if there is such a thing.
	abort()
	// release frees the transport, and its descriptor unless keep is set. It is called once, after stop, when nobody
	// uses the transport any more.
	release(keep bool) error

	// fd is the descriptor, or -1 if there is none.
	fd() int
}

// vector is what a transport is given to send.
type vector struct {
	sock.Vector
	start int64 // when the call began that sends, as now counts; 0 if nobody has asked yet
}

var vectorPool = sync.Pool{New: func() any { return new(vector) }}

func getVector() *vector { return vectorPool.Get().(*vector) }

// put gives v back and forgets the memory it pointed to.
func (v *vector) put() {
	v.Clear()
	v.start = 0
	vectorPool.Put(v)
}

// fill collects what is ready in out, and extra behind it.
func (v *vector) fill(out *LinkBuffer, extra []byte) {
	v.Clear()
	if out.Len() > 0 {
		v.N = len(out.GetBytes(v.Bufs[:]))
	}
	if len(extra) > 0 && v.N < sock.MaxVector && v.Total() == out.Len() {
		v.Bufs[v.N] = extra
		v.N++
	}
}
