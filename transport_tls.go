package netpoll

// This file holds the TLS transport: a layer between a connection and the transport below it, which carries the
// ciphertext. Its parts are in transport_tls_handshake.go, transport_tls_open.go (receiving), transport_tls_seal.go
// (sending) and transport_tls_wire.go (what package crypto/tls sees as its net.Conn).
//
// Package crypto/tls does everything that is TLS, unmodified. It is made for a net.Conn that blocks; the wire is one that
// does not. Two properties of tls.Conn make this possible:
//
//   - A Read that meets a net.Error whose Temporary method returns true returns that error and keeps what it has read: a
//     later Read goes on. So the wire says "would block", and the poller decrypts.
//   - A handshake and a Write are not resumable. So a handshake runs on a goroutine of the runner, where the wire blocks,
//     and the wire takes every Write at once, into a buffer of ciphertext.
//
// # Receiving
//
// The receiving goroutine (the poller, or that of a net.Conn) puts ciphertext into in. The opener takes it from there:
// one goroutine at a time may call Read of conn, and give plaintext and the end of the input to the upper layer. The
// role word says who that is; see openerRole.
//
//	phase        opener                      what the receiving goroutine does
//	fresh        none: nothing may read yet  puts ciphertext into in, up to maxUnopened
//	handshaking  the handshake's goroutine   the same, and wakes the opener
//	open         the receiving goroutine     opens all whole records at once
//	failed       none, for ever              receives nothing more
//
//	move                     by whom, and when
//	fresh → handshaking      the first that finds the connection used, and a client or with input: the receiving
//	                         goroutine, or the call that used it
//	handshaking → open       the handshake's goroutine. It then opens what has arrived meanwhile, and gives the role up
//	handshaking → failed     the handshake's goroutine
//	fresh → failed           cancel, or the Close of the connection
//
// A client that allows renegotiation keeps the third line of the first table for good, if TLS 1.2 or older was agreed:
// there crypto/tls runs handshakes inside Read, so a goroutine of its own reads and blocks.
//
// # Sending
//
// The sending goroutine of the connection (the holder of bitFlushing or bitSending) has tls.Conn encrypt plaintext into
// out, and sends that below. What of it the transport below does not take stays in out: holds says so to the connection,
// which waits for room and sends again. So a timeout never tears a record, and the session goes on after it.
//
// The opener writes, too: alerts, answers to KeyUpdate, the flights of a handshake. The lock inside tls.Conn keeps the
// records of both in order, and makes them one producer of out. The opener then marks output as pending, as a Flush does
// that leaves its output to the poller; so there is one consumer of out, the sending goroutine.
//
// # Locks
//
// No lock of this package is held while tls.Conn is called. tls.Conn's own locks are held by the opener while it
// decrypts, and by the sending goroutine or the opener while they encrypt, at most 128 KiB at a time. The wire blocks in
// neither, except for the opener of a handshake.

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"syscall"
	"time"

	"github.com/cloudwego/netpoll/internal/interleave/atomic"
	"github.com/cloudwego/netpoll/internal/interleave/clock"
	"github.com/cloudwego/netpoll/internal/runner"
	"github.com/cloudwego/netpoll/internal/wait"
)

// tlsPhase is how far a session is.
type tlsPhase uint32

const (
	tlsFresh       tlsPhase = iota // no handshake yet
	tlsHandshaking                 // a goroutine runs it
	tlsOpen                        // it has succeeded
	tlsFailed                      // it has failed, or will never begin
)

func (p tlsPhase) String() string {
	return [...]string{"fresh", "handshaking", "open", "failed"}[p]
}

const (
	// maxUnopened limits the ciphertext that waits for a handshake, in bytes.
	maxUnopened = 64 << 10
	// maxOwnOutput limits the ciphertext that the opener has caused and that is not sent: a peer that asks for KeyUpdates
	// and takes no answers is not received from until it does.
	maxOwnOutput = 64 << 10
	// leastReceive is how much ciphertext is received at once at least.
	leastReceive = 4 << 10
)

// tlsTransport is the layer. It is part of its TLSConnection.
type tlsTransport struct {
	conn  *tls.Conn
	below transport
	up    layerUser
	side  *tlsSide

	in   LinkBuffer // ciphertext that was received: filled by the receiving goroutine, emptied by the opener
	out  LinkBuffer // ciphertext to send: filled under the lock in conn, emptied by the sending goroutine
	role openerRole // whose turn it is to open

	phase    atomic.Uint32 // a tlsPhase
	used     atomic.Bool   // the handshake may begin; set by use
	inPaused atomic.Bool   // in is full. Set by the receiving goroutine, cleared by the opener
	flooded  atomic.Bool   // too much output of the opener is unsent. Set by the opener, cleared by the sending goroutine
	inEnded  atomic.Bool   // inErr is set, or no input matters any more
	inErr    error         // io.EOF or what ended the input below; written before inEnded is set
	own      atomic.Int64  // bytes of the opener in out, or more. Added to by the opener, cleared by the sending goroutine
	sealing  atomic.Int64  // plaintext that the sending goroutine has conn encrypt at the moment, or less
	arrival  wait.Side     // the waiting of the opener of a handshake for ciphertext

	cancelled atomic.Pointer[connError] // why the wire stops blocking; stored by the first that ends the session
	failure   atomic.Pointer[connError] // what ended the session, if no errno says it; stored by the opener
	limit     *clock.Timer              // ends a handshake that takes too long; nil if nothing does

	// Only the receiving goroutine uses these.
	opening  bool // it is the opener, until end
	disarmed bool // it has seen that the input is over

	// Only the opener uses these.
	blocking bool  // the wire waits for ciphertext
	lent     bool  // conn has been lent whole records, and gets no other ciphertext
	slot     bool  // its handshake is counted by the limit of handshakes
	left     int   // bytes of the record that the wire has begun to give
	version  byte  // the minor version in the header of each record
	forGood  bool  // the opener is a goroutine that blocks; written before the phase is open
	readErr  error // what ended the reading from conn
	over     bool  // the upper layer knows of it
	got      int   // plaintext since the upper layer was last told

	// Only the sending goroutine uses these.
	userEnd uint64 // position in out up to which there is output of the user
	batched int    // plaintext that beginPending has sealed
	sendErr error  // what has ended the sending below
	cut     bool   // ciphertext is lost

	endWanted atomic.Bool  // close_notify is to follow the output; set by wantEnd and closing
	endSealed atomic.Bool  // it is in out, or was sent; set by the sending goroutine
	dead      atomic.Bool  // nothing can be sent any more; set by the sending goroutine
	closedAt  atomic.Int64 // when the connection was closed, as clock.Now counts; 0 before
}

var (
	_ layer      = (*tlsTransport)(nil)
	_ upperLayer = (*tlsTransport)(nil)
)

// tlsSide is what the sessions of one listener, dialer or call have in common.
type tlsSide struct {
	config *tls.Config
	client bool

	// For connections that an event loop serves.
	served  bool
	limiter *handshakeLimiter              // nil: handshakes are not limited
	timeout time.Duration                  // for a handshake, from start; 0 or less: none
	failed  func(conn net.Conn, err error) // called for a handshake that has failed
}

// init makes t a layer over below, for up. Nothing has been received yet.
func (t *tlsTransport) init(below transport, up layerUser, side *tlsSide) {
	t.below, t.up, t.side = below, up, side
	t.blocking = true
	t.role.init()
	if side.client {
		t.conn = tls.Client((*tlsWire)(t), side.config)
	} else {
		t.conn = tls.Server((*tlsWire)(t), side.config)
	}
}

func (t *tlsTransport) phaseNow() tlsPhase { return tlsPhase(t.phase.Load()) }

func (t *tlsTransport) is(p tlsPhase) bool { return t.phaseNow() == p }

// move changes the phase, if it is from.
func (t *tlsTransport) move(from, to tlsPhase) bool {
	return t.phase.CompareAndSwap(uint32(from), uint32(to))
}

// ready implements layer.
func (t *tlsTransport) ready() bool { return t.is(tlsOpen) }

// start implements transport. In an event loop the handshake may begin, and has to be done in time.
func (t *tlsTransport) start() error {
	if t.side.served {
		t.used.Store(true)
		t.limitTime()
	}
	return t.below.start()
}

// updateInterest implements transport. An opener that blocks may wait for the upper layer to have room.
func (t *tlsTransport) updateInterest() error {
	t.arrival.Wake()
	return t.below.updateInterest()
}

// stop implements transport. The goroutine of a handshake ends by itself.
func (t *tlsTransport) stop(keep bool) error {
	t.cancelWith(net.ErrClosed)
	return t.below.stop(keep)
}

// release implements transport.
func (t *tlsTransport) release(keep bool) error {
	t.stopLimit()
	t.in.abandon() // memory that conn may point to is left to the garbage collector
	t.out.abandon()
	return t.below.release(keep)
}

// closing implements layer. A handshake that is going on ends. If nothing that was flushed is lost, close_notify follows
// it; otherwise the peer must be able to see that the stream is cut.
func (t *tlsTransport) closing(inOrder bool) (holds bool) {
	t.closedAt.Store(clock.Now())
	t.cancelWith(net.ErrClosed)
	t.move(tlsFresh, tlsFailed)
	if inOrder && t.is(tlsOpen) {
		t.endWanted.Store(true)
	}
	return (inOrder || t.is(tlsFailed)) && t.holds()
}

// wantEnd implements layer.
func (t *tlsTransport) wantEnd() { t.endWanted.Store(true) }

// canCloseWrite implements transport. As with crypto/tls it is too early before the handshake.
func (t *tlsTransport) canCloseWrite() bool { return t.is(tlsOpen) }

// closeWrite implements transport. close_notify was sent as pending output. The connection below stays open in both
// directions, as with crypto/tls, unless output is lost: then the peer must not wait for that.
func (t *tlsTransport) closeWrite() (ended bool, err error) {
	if t.cut {
		return t.below.closeWrite()
	}
	return true, nil
}

// quiet implements layer.
func (t *tlsTransport) quiet() bool { return t.in.Len() == 0 && !t.role.taken() }

// explain implements transport.
func (t *tlsTransport) explain(errno syscall.Errno) error {
	if err := t.failure.Load(); err != nil && errno == syscall.EIO {
		return err
	}
	return t.below.explain(errno)
}

// fail notes what ended the session. The first reason counts.
func (t *tlsTransport) fail(err error) {
	if asErrno(err) == 0 && err != io.EOF {
		t.failure.CompareAndSwap(nil, &connError{err})
	}
}

// The rest is passed on to the transport below, or back from it.

func (t *tlsTransport) blocks() bool { return t.below.blocks() }

// deadlineChanged implements transport. Output of the layer that had to stop at a deadline goes on: no call will send it.
func (t *tlsTransport) deadlineChanged() {
	t.below.deadlineChanged()
	if t.below.blocks() && t.out.Len() > 0 {
		runner.Run(t.up.startContext(), t.up.sendPending)
	}
}

func (t *tlsTransport) abort() { t.below.abort() }

func (t *tlsTransport) holdInput(until int64) error { return t.below.holdInput(until) }

func (t *tlsTransport) letInput() { t.below.letInput() }

// fd implements endpoint: there is no descriptor that carries the very bytes of the connection.
func (t *tlsTransport) fd() int { return -1 }

// descriptor implements layer.
func (t *tlsTransport) descriptor() int { return t.below.fd() }

// netConn implements endpoint.
func (t *tlsTransport) netConn() net.Conn { return (*tlsWire)(t) }

// rawConn implements endpoint. Only Control works: reading from the descriptor, or writing to it, would break the session.
func (t *tlsTransport) rawConn() (syscall.RawConn, error) {
	if t.below.fd() >= 0 {
		return controlOnly{t: t}, nil
	}
	raw, err := t.below.rawConn()
	if err != nil {
		return nil, err
	}
	return controlOnly{t: t, raw: raw}, nil
}

func (t *tlsTransport) file(name string) (*os.File, error) { return t.below.file(name) }

func (t *tlsTransport) localAddr() net.Addr { return t.below.localAddr() }

func (t *tlsTransport) remoteAddr() net.Addr { return t.below.remoteAddr() }

func (t *tlsTransport) answersAtOnce() bool { return t.below.answersAtOnce() }

func (t *tlsTransport) options() any { return t.below.options() }

func (t *tlsTransport) setKeepAlive(second int) error { return t.below.setKeepAlive(second) }

// controlOnly is the descriptor below TLS, for its options.
type controlOnly struct {
	t   *tlsTransport
	raw syscall.RawConn // of a net.Conn; nil for a descriptor that a poller watches
}

func (c controlOnly) Control(f func(fd uintptr)) error {
	if !c.t.up.hold() {
		return Exception(ErrConnClosed, "when raw control")
	}
	defer c.t.up.drop()
	if c.raw != nil {
		return c.raw.Control(f)
	}
	f(uintptr(c.t.below.fd()))
	return nil
}

var errBelowTLS = errors.New("netpoll: reading and writing below TLS would break the session")

func (c controlOnly) Read(func(fd uintptr) bool) error { return errBelowTLS }

func (c controlOnly) Write(func(fd uintptr) bool) error { return errBelowTLS }
