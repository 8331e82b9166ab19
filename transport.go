package netpoll

// This file holds the interface between a connection's two buffers and its transport, which carries the bytes. A
// connection knows its transport by this interface only, and a transport knows the connection as its upper layer only.
// A socket that a poller watches is the first implementation, any net.Conn the second. A layer between the two, such as
// TLS, is an upper layer to the transport below it and a transport to the connection above it.
//
// A transport receives by itself: it asks its upper layer for room, receives into that, and reports how many bytes
// came. It sends when the upper layer calls it.

import (
	"context"
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
	errNotExecuted = errors.New("netpoll: not executed")    // nothing was done: use plain system calls
	errInDoubt     = errors.New("netpoll: result in doubt") // the kernel may still use the memory
)

// handshakeCallback is the name for guard of a handshake.
const handshakeCallback = "the TLS handshake"

// upperLayer is the user of a transport: a connection.
type upperLayer interface {
	input
	output
}

// input takes the input of a transport. All methods but interest are for one goroutine at a time.
type input interface {
	// interest returns the events that the transport should report now. Any goroutine may call it.
	interest() pollEvent
	// begin handles an event of the poller, except for receiving. It returns false if the event does not matter any
	// more; otherwise end must follow, and in between the upper layer keeps its transport.
	begin(ev pollEvent) bool
	end()

	// wants reports whether to receive now. If not, the interest is already such that the poller does not report the
	// same event again. hup says that the peer has ended its side: the poller may not report that again.
	wants(hup bool) bool
	// expect says before room that n bytes are there already: room is then for all of them, if the limit allows.
	expect(n int)
	// room returns memory for at least one and at most most bytes of input.
	room(most int) []byte
	// next is how much to receive at once; lacks is how many bytes a waiting reader still lacks.
	next() (size, lacks int)
	// put takes the first n bytes of the room; n may be 0. put or loseRoom must follow room.
	put(n int)
	// loseRoom is put(0) for room that the kernel may still write to: it is never used again.
	loseRoom()
	// fed is called after put, with the number of bytes; full says that they filled the room. At the end of the input,
	// instead, err is io.EOF or the error that ended it. b is the poller's current batch, or nil. fed reports whether
	// to receive again at once.
	fed(n int, full, hup bool, err error, b *batch) (more bool)
}

// output is the source of pending output, which a transport sends after sendLater has returned.
type output interface {
	// sendUntil is the time at which a call that began at start must give up sending. Any goroutine may call it.
	sendUntil(start int64) int64
	// addPending marks output as pending. The transport calls it when it is sure to call sendPending or beginPending
	// later. It returns false if the caller of sendLater has to send by itself.
	addPending() bool
	// sendPending makes the upper layer send its pending output now.
	sendPending()
	// beginPending returns pending output to send. endPending must follow, with the number of bytes that were sent, or
	// an error: errWouldBlock, errNotExecuted, errInDoubt, or one of the transport. If ok is false there is nothing left.
	beginPending() (p []byte, ok bool)
	endPending(n int, err error)
}

// transport moves bytes between the world and its upper layer. No method blocks, except for holdInput, and for send, stop
// and release if blocks returns true.
type transport interface {
	endpoint

	// start begins to report. It is called at most once, and before stop. An updateInterest that comes earlier, or at
	// the same time, because OnPrepare has handed the connection on, is not lost.
	start() error
	// updateInterest makes the transport report what its upper layer is interested in now.
	updateInterest() error
	// stop ends the reports; one that has begun may still be running. It is idempotent. If keep is set the descriptor,
	// or the net.Conn, will be kept; an error says that it cannot be.
	stop(keep bool) error

	// send takes bytes from v, in order, and says how many it took; errWouldBlock if it can take none now. One
	// goroutine at a time. start is when the call began; a send that blocks ends at the deadline of that call.
	send(v *vector, start int64) (n int, err error)
	// blocks reports whether send waits for room, and release for a Close.
	blocks() bool
	// deadlineChanged is called when the deadline for sending has changed.
	deadlineChanged()
	// sendLater queues the transport for the poller, which sends pending output after its batch, if addPending returns
	// true. sendLater returns false if the poller will not send.
	sendLater() bool

	// closeWrite ends the sending direction, after all output that was sent; the other direction goes on. ended says
	// that the direction has ended, even if there is an error.
	closeWrite() (ended bool, err error)
	// canCloseWrite reports whether closeWrite is possible.
	canCloseWrite() bool
	// abort makes the coming release a reset for the peer, if the transport has resets.
	abort()
	// release frees the transport, and its descriptor unless keep is set. It is called once, after stop, when no
	// goroutine uses the transport any more.
	release(keep bool) error

	// holdInput makes a transport that receives by itself stop until letInput, which must follow if there is no error. It
	// waits, until the given time at most, until the bytes of a receive that has begun are in the input. The time is then
	// the deadline for reading from rawConn. A transport with a poller does nothing: its upper layer receives nothing.
	holdInput(until int64) error
	// letInput undoes holdInput. It may come after release.
	letInput()
	// explain returns an error that says more than the errno that ended the connection, or that errno.
	explain(errno syscall.Errno) error
}

// pollingTransport is a transport whose input a goroutine can see without the system, and so without being woken for it.
// A connection with one says so in its callbacks.polls.
type pollingTransport interface {
	transport

	// pollInput looks for input again and again, for as long as the transport is set to and until the time until at most,
	// and receives it. It reports whether there is something new. The caller has a reference to the connection, and runs
	// on no poller.
	pollInput(until int64) bool
}

// endpoint describes the socket or net.Conn that carries the bytes. A transport over another transport passes on the
// endpoint below. file, options and setKeepAlive are called before release only, the others at any time.
type endpoint interface {
	// fd is the descriptor that a poller watches and that carries the very bytes of the connection, or -1.
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
	// answersAtOnce reports whether localAddr and remoteAddr never wait for the peer.
	answersAtOnce() bool

	// options returns a value whose methods set options; they have the names and the meaning of those of package net.
	options() any
	// setKeepAlive sets the times of TCP keepalive.
	setKeepAlive(second int) error
}

// layer is a transport over another transport, with output of its own and a beginning of its own: TLS. A connection with a
// layer has the flag layered.
type layer interface {
	transport

	// use says that the program uses the connection: the layer may begin. Any goroutine may call it.
	use()
	// ready reports whether the beginning is over, and was successful.
	ready() bool
	// holds reports whether there is output that the layer has taken and the transport below has not, or that the layer
	// has to add. send, with an empty v too, sends it.
	holds() bool
	// dropHeld drops that output, which can never be sent. The caller is the sending goroutine.
	dropHeld()
	// progress is how many bytes have ever been sent. Any goroutine may call it.
	progress() uint64
	// closing is called when the connection has been closed. inOrder says that all that was flushed is sent, or will be.
	// It reports whether there is output that should still be sent.
	closing(inOrder bool) (holds bool)
	// wantEnd makes the layer add what ends the sending direction, after all output. holds is true until that is sent.
	wantEnd()
	// quiet reports whether nothing that was received is on its way to the upper layer.
	quiet() bool
	// reportFailure tells the program that the beginning has failed, if it wants to know.
	reportFailure(conn net.Conn)
	// descriptor is fd of the transport at the bottom.
	descriptor() int
}

// layerUser is a connection as its layer knows it. Any goroutine that has a reference may call its own methods, except
// for received and opened, which belong to input.
type layerUser interface {
	upperLayer

	// hold takes a reference for a goroutine of the layer, or returns false if the connection is closed. drop gives it
	// back.
	hold() bool
	drop()
	// context is what callbacks are called with, until OnConnect runs. startContext is what tasks of the layer start with.
	context() context.Context
	startContext() context.Context
	// guard calls f, and closes the connection if f panics.
	guard(name string, f func())

	// roomFor is room for bytes that are there already, so that no limit matters.
	roomFor(size int) []byte
	// received notes that n bytes have been received below, which have filled the room if full is set.
	received(n int, full bool)
	// opened is called after put, for bytes to read.
	opened(b *batch)

	// sendOwn makes the sending goroutine send what the layer holds.
	sendOwn()
	// sendLost notes the error of a send, which no call may return.
	sendLost(no syscall.Errno)
	// handshakeDone is called when the beginning was successful. It returns what to run once input may follow, or nil.
	handshakeDone() task
	// handshakeFailed is called when it has failed.
	handshakeFailed(err error)
}

// vector is the list of slices that a transport is given to send.
type vector = sock.Vector

var vectorPool = sync.Pool{New: func() any { return new(vector) }}

func getVector() *vector { return vectorPool.Get().(*vector) }

// putVector gives v back and forgets the memory it pointed to.
func putVector(v *vector) {
	v.Clear()
	vectorPool.Put(v)
}

// fillVector collects the readable bytes of out, and extra behind them.
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
