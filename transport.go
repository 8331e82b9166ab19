package netpoll

// This file holds the seam below a connection's two buffers: what carries the bytes. A connection knows only this
// interface; a socket is its first implementation. Whatever carries a connection reports to it through onPoll, so that
// nothing above the seam depends on where an event came from.

import (
	"errors"
	"sync"
	"syscall"
)

// errWouldBlock: the transport can take no more at the moment.
var errWouldBlock = errors.New("netpoll: transport would block")

// sink is what a transport reports to.
type sink interface {
	pollHandler
	interestSource
}

// transport moves bytes between the world and the two buffers of a connection. No method blocks.
type transport interface {
	// start begins to report to s. It is called at most once, and before stop. A rearm that comes earlier, or at the
	// same time, because OnPrepare has handed the connection on, is not lost.
	start(s sink) error
	// rearm makes the transport report what its sink is interested in now.
	rearm() error
	// stop ends the reports; one that has begun may still be running. It is idempotent.
	stop()

	// receive moves what has arrived into in, about size bytes at most. more says that there may be more right now.
	// No bytes and no error: nothing is there. At the end of the stream the error is io.EOF. One goroutine at a time.
	receive(in *LinkBuffer, size int) (n int, more bool, err error)
	// send takes bytes from v, in order, and says how many it took; errWouldBlock if it can take none now. One
	// goroutine at a time.
	send(v *vector) (n int, err error)

	// closeWrite ends the sending direction, after what was sent; the other goes on.
	closeWrite() error
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
	bufs [maxVector][]byte
	n    int
	sys  sysVector
}

var vectorPool = sync.Pool{New: func() any { return new(vector) }}

func getVector() *vector { return vectorPool.Get().(*vector) }

// put gives v back and forgets the memory it pointed to.
func (v *vector) put() {
	clear(v.bufs[:v.n])
	v.n = 0
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
		return no
	}
	return 0
}
