package netpoll

// This file holds the seam below a connection's two buffers: what carries the bytes. A connection knows its transport by
// this interface only, and a transport knows the connection as its upper layer only. A socket that a poller watches is
// the first implementation, any net.Conn the second. What stands between the two, as TLS would, is an upper layer to the
// transport below it and a transport to the connection above it.
//
// A transport brings its input: it asks its upper layer for room, receives into that, and says what came. It sends when
// it is asked to.

import (
	"errors"
	"net"
	"os"
	"sync"
	"syscall"

	"github.com/cloudwego/netpoll/internal/sock"
)

// errWouldBlock: the transport can take no more at the moment.
var errWouldBlock = sock.ErrWouldBlock

// The results of a send in a batch that are no errors of the socket.
var (
	errNotExecuted = errors.New("netpoll: not executed")    // nothing was done: it has to be done by plain system calls
	errInDoubt     = errors.New("netpoll: result in doubt") // the kernel may still use the memory
)

// upperLayer is what a transport works for.
type upperLayer interface {
	input
	output
}

// input is where the input goes. All methods but interest are for one goroutine at a time.
type input interface {
	// interest is what the transport should report now. Any goroutine may call it.
	interest() pollEvent
	// begin takes what a poller has reported, and does what it calls for, except for receiving. It returns false if
	// nobody wants to know; otherwise end must follow, and in between the upper layer keeps its transport.
	begin(ev pollEvent) bool
	end()

	// wants reports whether to receive now. If not, it has seen to it that this is not asked again without a reason.
	// hup says that the peer has ended its side: that may not be reported anew.
	wants(hup bool) bool
	// room returns memory for at most most bytes of input, and more than none.
	room(most int) []byte
	// next is how much to receive at once; lacks is how many bytes more than have arrived somebody waits for.
	next() (size, lacks int)
	// put takes the first n bytes of the room, which may be none. It, or loseRoom, must follow room.
	put(n int)
	// loseRoom is put(0) for room that something outside may write to for ever: it is never used again.
	loseRoom()
	// fed is called after put, with the number of bytes; full says that they were all there was room for. At the end of
	// the input, instead, err is io.EOF or what there is in its place. b is the batch that is going on, or nil. It
	// reports whether to receive again at once.
	fed(n int, full, hup bool, err error, b *batch) (more bool)
}

// output is where the output comes from, for what a transport sends without being asked at that moment.
type output interface {
	// sendUntil is when a call that began at start has to give up sending. Any goroutine may call it.
	sendUntil(start int64) int64
	// addPending marks output as pending, once it is sure that the transport will call one of the next two. It returns
	// false if the caller of sendLater has to send by itself.
	addPending() bool
	// sendPending makes the upper layer send what is pending, now.
	sendPending()
	// beginPending returns pending output to send. endPending must follow, with the number of bytes that were sent, or
	// an error: errWouldBlock, errNotExecuted, errInDoubt, or one of the transport. If ok is false there is nothing left.
	beginPending() (p []byte, ok bool)
	endPending(n int, err error)
}

// transport moves bytes between the world and its upper layer. No method blocks, except for send, stop and release
// where blocks says so, and holdInput.
type transport interface {
	endpoint

	// start begins to report. It is called at most once, and before stop. An updateInterest that comes earlier, or at
	// the same time, because OnPrepare has handed the connection on, is not lost.
	start() error
	// updateInterest makes the transport report what its upper layer is interested in now.
	updateInterest() error
	// stop ends the reports; one that has begun may still be running. It is idempotent. If keep is set the descriptor,
	// or what there is in its place, will be kept; an error says that it cannot.
	stop(keep bool) error

	// send takes bytes from v, in order, and says how many it took; errWouldBlock if it can take none now. One
	// goroutine at a time. start is when the call began; one that blocks heeds the deadline that this has.
	send(v *vector, start int64) (n int, err error)
	// blocks reports whether send waits for room, and release for what it closes.
	blocks() bool
	// deadlineChanged is called when the deadline for sending has changed.
	deadlineChanged()
	// sendLater makes the poller send pending output after its batch, if addPending has returned true. If it returns
	// false that will not happen.
	sendLater() bool

	// closeWrite ends the sending direction, after what was sent; the other goes on. ended says that it has, even if
	// there is an error.
	closeWrite() (ended bool, err error)
	// canCloseWrite reports whether there is such a thing.
	canCloseWrite() bool
	// abort makes the coming release a reset for the peer, if there is such a thing.
	abort()
	// release frees the transport, and its descriptor unless keep is set. It is called once, after stop, when nobody
	// uses the transport any more.
	release(keep bool) error

	// holdInput makes a transport that does not wait for a poller's events stop receiving until letInput, which must
	// follow if there is no error. It waits until what is being received is in the input, until the given time at most,
	// which then is the deadline for reading from rawConn. Where a poller reports, the upper layer just receives nothing.
	holdInput(until int64) error
	// letInput undoes holdInput. It may come after release.
	letInput()
	// explain returns an error that tells more than the errno that ended the connection, or that errno.
	explain(errno syscall.Errno) error
}

// endpoint is what a transport tells of what is at its bottom: a socket, or a net.Conn. A transport over another one
// has that one's. It is asked for file, options and setKeepAlive before release; for the others at any time.
type endpoint interface {
	// fd is the descriptor that a poller watches and that carries the very bytes of the connection, or -1 if there is
	// none.
	fd() int
	// netConn is the net.Conn that carries the connection, or nil.
	netConn() net.Conn
	// rawConn gives access to the descriptor where fd is -1. Its error Is ErrUnsupported if there is none.
	rawConn() (syscall.RawConn, error)
	// file returns a duplicate of the descriptor, as a file with that name.
	file(name string) (*os.File, error)

	// localAddr and remoteAddr are the addresses; nil is none.
	localAddr() net.Addr
	remoteAddr() net.Addr
	// answersAtOnce reports whether the addresses are told without waiting for the peer.
	answersAtOnce() bool

	// options returns something that has, under the names of package net, the methods for those options that can be set.
	options() any
	// setKeepAlive sets the times of TCP keepalive.
	setKeepAlive(second int) error
}

// vector is what a transport is given to send.
type vector = sock.Vector

var vectorPool = sync.Pool{New: func() any { return new(vector) }}

func getVector() *vector { return vectorPool.Get().(*vector) }

// putVector gives v back and forgets the memory it pointed to.
func putVector(v *vector) {
	v.Clear()
	vectorPool.Put(v)
}

// fillVector collects what is ready in out, and extra behind it.
func fillVector(v *vector, out *LinkBuffer, extra []byte) {
	v.Clear()
	if out.Len() > 0 {
		v.N = len(out.GetBytes(v.Bufs[:]))
	}
	if len(extra) > 0 && v.N < sock.MaxVector && v.Total() == out.Len() {
		v.Bufs[v.N] = extra
		v.N++
	}
}
