package netpoll

// This file holds the seam below a connection's two buffers: what carries the bytes. A connection knows only this
// interface; a socket is its first implementation, any net.Conn the second.

import (
	"errors"
	"sync"
	"sync/atomic"
	"syscall"
)

// ioOrder lets the memory model, and so the race detector, know what the kernel guarantees anyway: what a goroutine
// did before it sent bytes happens before what another does after receiving them. The system calls of this package do
// not say it by themselves.
var ioOrder atomic.Uint32

// errWouldBlock: the transport can take no more at the moment.
var errWouldBlock = errors.New("netpoll: transport would block")

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

// maxVector is how many pieces one send takes. More than that need another system call, which is cheap beside copying
// so much.
const maxVector = 64

// vector is a list of byte slices to send, with room for what the system call needs.
type vector struct {
	bufs  [maxVector][]byte
	n     int
	start int64 // when the call began that sends, as clock.Now counts; 0 if nobody has asked yet
	sys   sysVector
}

var vectorPool = sync.Pool{New: func() any { return new(vector) }}

func getVector() *vector { return vectorPool.Get().(*vector) }

// put gives v back and forgets the memory it pointed to.
func (v *vector) put() {
	clear(v.bufs[:v.n])
	v.n, v.start = 0, 0
	vectorPool.Put(v)
}

// fill collects what is ready in out, and extra behind it.
func (v *vector) fill(out *LinkBuffer, extra []byte) {
	clear(v.bufs[:v.n])
	v.n = 0
	if out.Len() > 0 {
		v.n = len(out.GetBytes(v.bufs[:]))
	}
	if len(extra) > 0 && v.n < maxVector && v.total() == out.Len() {
		v.bufs[v.n] = extra
		v.n++
	}
}

// limit cuts v down to n bytes.
func (v *vector) limit(n int) {
	for i, b := range v.bufs[:v.n] {
		v.bufs[i] = b[:min(n, len(b))]
		if n -= len(b); n <= 0 {
			clear(v.bufs[i+1 : v.n])
			v.n = i + 1
			return
		}
	}
}

func (v *vector) total() (n int) {
	for _, b := range v.bufs[:v.n] {
		n += len(b)
	}
	return n
}

// asErrno finds the errno in err; 0 if there is none.
func asErrno(err error) syscall.Errno {
	var no syscall.Errno
	if errors.As(err, &no) {
		return commonErrno(no)
	}
	return 0
}
