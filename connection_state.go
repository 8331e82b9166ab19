package netpoll

// This file holds the life of a connection: one word that says which phase it is in, why it is ending, how many parties
// are inside, and which sides are taken. All code that reads or changes one of these goes through here; the rest of the
// connection has no state of this kind.
//
//	            prepared            peer ended or reset
//	opening ───────────────▶ open ──────────────────────▶ peerDone
//	   │                      │                              │
//	   └──────────────────────┴──────────── close ───────────┤
//	                                                         ▼
//	            nothing to read           the last one leaves
//	   closed ◀───────────────── released ◀─────────────── closing
//
// The word, in five groups; the constants, String and the methods have the same order:
//
//	lifecycle
//	bits  0–2   phase
//	bits  3–5   cause, set once with the move to closing
//	bits  6–21  errno that ended the connection, 0 for an orderly end
//	bit  22     peerClosed: the peer ended its side while this one was open
//	bit  23     ended: everything the peer sent before its end is in the input
//	bits 40–63  references: parties inside, plus one for the connection not being closed
//
//	sides
//	bit  24     reading: one goroutine is in a Reader method or in Read
//	bit  25     producing: one goroutine is in a Writer method that fills the output
//	bit  26     flushing: one goroutine sends the output
//	bit  27     sending: one goroutine sends pending output
//	bit  28     inPoll: an event of the transport is being handled
//
//	handler
//	bit  29     running: a run of the handlers is queued or going on
//	bit  30     notified: something new happened for that run to look at
//	bit  31     connected: OnConnect has returned, or there is none
//	bit  32     disconnected: OnDisconnect has been started
//	bit  33     disconnecting: OnDisconnect is running
//
//	output
//	bit  34     pending: the poller has to send output that was flushed; see connection_pending.go
//	bit  35     sendFailed: pending output could not be sent
//	bit  36     sendInFlight: the goroutine that sends is in a call of the transport, or has not noted its result yet
//	bit  37     eofHeld: EOF was received while a send was in flight. The kernel reports a reset to one call only, so the
//	            result of the send decides whether the input ended with EOF or with ECONNRESET
//
//	half-close
//	bit  38     readShut: CloseRead was called
//	bit  39     writeShut: CloseWrite was called
//
// Closing takes the connection's own reference away. The party that drops the last one moves the word to released in the
// same step, so exactly one party releases what the connection holds, and no other is inside when it does. Readers may
// enter a released connection for the input left in its buffer; if none is left, it is closed.

import (
	"fmt"
	"strings"
	"syscall"

	"github.com/cloudwego/netpoll/internal/errno"
	"github.com/cloudwego/netpoll/internal/interleave/atomic"
)

// phase is where a connection is in its life. It only moves forward.
type phase uint64

const (
	phaseOpening  phase = iota // made, not yet watched: OnPrepare may be running
	phaseOpen                  // both sides are alive
	phasePeerDone              // the peer has ended or reset its side; IsActive is false
	phaseClosing               // closed on this side; some party is still inside
	phaseReleased              // no party is inside, or only a reader: buffered input can still be read
	phaseClosed                // and no more
)

// phaseMoves holds every legal move: for each phase the set of those that may follow it.
var phaseMoves = [...]uint8{
	phaseOpening:  1<<phaseOpen | 1<<phaseClosing,
	phaseOpen:     1<<phasePeerDone | 1<<phaseClosing,
	phasePeerDone: 1 << phaseClosing,
	phaseClosing:  1 << phaseReleased,
	phaseReleased: 1 << phaseClosed,
	phaseClosed:   0,
}

// mayBecome reports whether the move from p to next is legal.
func (p phase) mayBecome(next phase) bool { return phaseMoves[p]>>next&1 != 0 }

func (p phase) String() string {
	switch p {
	case phaseOpening:
		return "opening"
	case phaseOpen:
		return "open"
	case phasePeerDone:
		return "peer done"
	case phaseClosing:
		return "closing"
	case phaseReleased:
		return "released"
	case phaseClosed:
		return "closed"
	}
	return fmt.Sprintf("phase(%d)", uint64(p))
}

// cause is why a connection left for closing.
type cause uint64

const (
	causeNone   cause = iota
	causeUser         // Close
	causePeer         // the peer is gone and the handlers have seen it
	causeDetach       // Detach: the descriptor is kept
	causeServer       // Shutdown
	causeIdle         // the idle limit
	causePanic        // a callback panicked, or ended its goroutine
	causePoller       // the poller failed, or could not watch it
)

// Reasons for the end of a connection, as they are counted: the causes, but what the peer did counts more than the Close
// that followed.
const (
	reasonClosed   = int(causeUser)
	reasonPeer     = int(causePeer)
	reasonDetached = int(causeDetach)
	reasonShutdown = int(causeServer)
	reasonIdle     = int(causeIdle)
	reasonPanic    = int(causePanic)
	reasonPoller   = int(causePoller)
	reasonReset    = int(causePoller) + 1
)

func (c cause) String() string {
	names := [...]string{"none", "user", "peer", "detach", "server", "idle", "panic", "poller"}
	if int(c) < len(names) {
		return names[c]
	}
	return fmt.Sprintf("cause(%d)", uint64(c))
}

// lifeBits is one value of the word.
type lifeBits uint64

const (
	phaseMask  lifeBits = 7
	causeShift          = 3
	causeMask  lifeBits = 7 << causeShift
	errnoShift          = 6

	bitPeerClosed lifeBits = 1 << 22
	bitEnded      lifeBits = 1 << 23

	bitReading   lifeBits = 1 << 24
	bitProducing lifeBits = 1 << 25
	bitFlushing  lifeBits = 1 << 26
	bitSending   lifeBits = 1 << 27
	bitInPoll    lifeBits = 1 << 28

	bitRunning       lifeBits = 1 << 29
	bitNotified      lifeBits = 1 << 30
	bitConnected     lifeBits = 1 << 31
	bitDisconnected  lifeBits = 1 << 32
	bitDisconnecting lifeBits = 1 << 33

	bitPending      lifeBits = 1 << 34
	bitSendFailed   lifeBits = 1 << 35
	bitSendInFlight lifeBits = 1 << 36
	bitEOFHeld      lifeBits = 1 << 37

	bitReadShut  lifeBits = 1 << 38
	bitWriteShut lifeBits = 1 << 39

	oneRef lifeBits = 1 << 40
	// maxRefs is how many references enter gives out. Twice as many fit, so the few that other moves add, each at most
	// once at a time, need no check.
	maxRefs = 1 << 23
)

func (b lifeBits) phase() phase         { return phase(b & phaseMask) }
func (b lifeBits) cause() cause         { return cause(b & causeMask >> causeShift) }
func (b lifeBits) has(f lifeBits) bool  { return b&f != 0 }
func (b lifeBits) refs() int            { return int(b / oneRef) }
func (b lifeBits) errno() syscall.Errno { return errno.Unpack(uint16(b >> errnoShift)) }

func (b lifeBits) with(p phase) lifeBits    { return b&^phaseMask | lifeBits(p) }
func (b lifeBits) because(c cause) lifeBits { return b&^causeMask | lifeBits(c)<<causeShift }
func (b lifeBits) failed(e syscall.Errno) lifeBits {
	if b.errno() != 0 {
		return b // the first error is the one that tells why
	}
	return b | lifeBits(errno.Pack(e))<<errnoShift
}

// endReason is why a connection in the state b has ended.
func (b lifeBits) endReason() int {
	why := b.cause()
	switch {
	case why != causeUser && why != causePeer:
		return int(why)
	case b.errno() != 0:
		return reasonReset
	case b.has(bitPeerClosed):
		return reasonPeer
	}
	return reasonClosed
}

// String is for failure messages: "open refs=2 reading".
func (b lifeBits) String() string {
	var s strings.Builder
	fmt.Fprintf(&s, "%v refs=%d", b.phase(), b.refs())
	if b.cause() != causeNone {
		fmt.Fprintf(&s, " cause=%v", b.cause())
	}
	if b.errno() != 0 {
		fmt.Fprintf(&s, " errno=%v", b.errno())
	}
	for i, name := range [...]string{"peerClosed", "ended", "reading", "producing", "flushing", "sending", "inPoll",
		"running", "notified", "connected", "disconnected", "disconnecting", "pending", "sendFailed", "sendInFlight", "eofHeld",
		"readShut", "writeShut"} {
		if b.has(bitPeerClosed << i) {
			s.WriteString(" " + name)
		}
	}
	return s.String()
}

// entry is the answer to a party that wants to enter.
type entry uint8

const (
	entered   entry = iota
	entryBusy       // another goroutine has that side
	entryShut       // the connection is too far gone for it
)

// lifeWord is the word. Its methods may be called from any goroutine and never block.
type lifeWord struct{ v atomic.Uint64 }

func (l *lifeWord) load() lifeBits { return lifeBits(l.v.Load()) }

func (l *lifeWord) swap(old, new lifeBits) bool { return l.v.CompareAndSwap(uint64(old), uint64(new)) }

// change applies f until it takes effect or f refuses. It is for changes whose speed does not matter; enter and leave,
// which are on the path of every call, have loops of their own.
func (l *lifeWord) change(f func(old lifeBits) (new lifeBits, ok bool)) (old lifeBits, ok bool) {
	for {
		old = l.load()
		new, ok := f(old)
		if !ok {
			return old, false
		}
		if l.swap(old, new) {
			return old, true
		}
	}
}

// begin is the state of a new connection.
func (l *lifeWord) begin(connected bool) {
	b := lifeBits(phaseOpening) | oneRef
	if connected {
		b |= bitConnected
	}
	l.v.Store(uint64(b))
}

// set sets flags that have no move of their own, and returns the state before.
func (l *lifeWord) set(flags lifeBits) (old lifeBits) {
	old, _ = l.change(func(old lifeBits) (lifeBits, bool) { return old | flags, true })
	return old
}

// clear gives a side back without leaving, and returns the state before.
func (l *lifeWord) clear(own lifeBits) (old lifeBits) {
	old, _ = l.change(func(old lifeBits) (lifeBits, bool) { return old &^ own, old.has(own) })
	return old
}

// The lifecycle.

// open moves a prepared connection to open. It returns false if it was closed meanwhile.
func (l *lifeWord) open() bool {
	_, ok := l.change(func(old lifeBits) (lifeBits, bool) {
		return old.with(phaseOpen), old.phase().mayBecome(phaseOpen)
	})
	return ok
}

// peerClosed records that the peer's side is over, and ended that its input is complete. With disconnect it claims, in
// the same step, the run of OnDisconnect as claimDisconnect does.
func (l *lifeWord) peerClosed(errno syscall.Errno, ended, disconnect bool) (claimed bool) {
	_, ok := l.change(func(old lifeBits) (lifeBits, bool) {
		next := old
		if !old.has(bitEnded) { // after an orderly end a failing write does not make reading fail
			next = old.failed(errno)
		}
		if ended {
			next |= bitEnded
		}
		if old.phase().mayBecome(phasePeerDone) {
			next = next.with(phasePeerDone) | bitPeerClosed
		}
		claimed = disconnect && next.disconnectDue()
		if claimed {
			next = next + oneRef | bitDisconnected | bitDisconnecting
		}
		return next, old.phase() <= phasePeerDone && next != old
	})
	return ok && claimed
}

// noteError records the errno that broke the connection, before the end of its input is known.
func (l *lifeWord) noteError(errno syscall.Errno) {
	l.change(func(old lifeBits) (lifeBits, bool) {
		return old.failed(errno), old.phase() <= phasePeerDone && !old.has(bitEnded)
	})
}

// close moves to closing, unless that has happened, and returns the state before. The winner must then leave, for the
// connection's own reference.
func (l *lifeWord) close(why cause) (old lifeBits, ok bool) {
	return l.closeIf(why, func(lifeBits) bool { return true })
}

// closeIf is close under a condition that holds at the very moment of the move.
func (l *lifeWord) closeIf(why cause, cond func(lifeBits) bool) (old lifeBits, ok bool) {
	return l.change(func(old lifeBits) (lifeBits, bool) {
		return old.with(phaseClosing).because(why), old.phase().mayBecome(phaseClosing) && cond(old)
	})
}

// endReading moves a released connection to closed. It returns false if a reader is inside.
func (l *lifeWord) endReading() bool {
	_, ok := l.change(func(old lifeBits) (lifeBits, bool) {
		return old.with(phaseClosed), old.phase().mayBecome(phaseClosed) && !old.has(bitReading)
	})
	return ok
}

// The sides.

// enter takes a reference and the sides in own, unless one of them is taken or the phase is past last.
func (l *lifeWord) enter(own lifeBits, last phase) entry {
	for {
		old := l.load()
		switch {
		case old.phase() > last:
			return entryShut
		case old.has(own):
			return entryBusy
		case old.refs() >= maxRefs:
			panic("netpoll: too many calls at a time in one connection: " + old.String())
		case l.swap(old, old+oneRef|own):
			return entered
		}
	}
}

// use enters a connection that is not closed on this side.
func (l *lifeWord) use(own lifeBits) entry { return l.enter(own, phasePeerDone) }

// read enters as the reader, which may go on as long as anything is left in the buffer.
func (l *lifeWord) read() entry { return l.enter(bitReading, phaseReleased) }

// setUp enters a connection that has yet to be started.
func (l *lifeWord) setUp() entry { return l.enter(0, phaseOpening) }

// leave gives back a reference and the sides in own. It returns true to the last party in a closing connection, which
// must now release it. Reading goes on until endReading, so that buffered input never seems to be gone.
func (l *lifeWord) leave(own lifeBits) (last bool) {
	for {
		old := l.load()
		if old.refs() == 0 {
			panic("netpoll: inconsistent connection state: left more often than entered: " + old.String())
		}
		next := old&^own - oneRef
		last = next.refs() == 0 && old.phase().mayBecome(phaseReleased)
		if last {
			next = next.with(phaseReleased)
		}
		if l.swap(old, next) {
			return last
		}
	}
}

// The handlers.

// startTask claims the run of the handlers, with a reference. If one is going on already it is notified instead.
func (l *lifeWord) startTask() bool {
	old, ok := l.change(func(old lifeBits) (lifeBits, bool) {
		if old.has(bitRunning) {
			return old | bitNotified, true
		}
		return old + oneRef | bitRunning, old.phase() < phaseClosing
	})
	return ok && !old.has(bitRunning)
}

// endTask ends the run unless it was notified since the last call of clearNotified; the reference stays with the caller.
func (l *lifeWord) endTask() bool {
	_, ok := l.change(func(old lifeBits) (lifeBits, bool) { return old &^ bitRunning, !old.has(bitNotified) })
	return ok
}

func (l *lifeWord) clearNotified() { l.clear(bitNotified) }

// clearConnected makes the next run call OnConnect. It returns false where that would come after OnDisconnect.
func (l *lifeWord) clearConnected() bool {
	_, ok := l.change(func(old lifeBits) (lifeBits, bool) {
		return old &^ bitConnected, old.has(bitConnected) && !old.has(bitDisconnected) && old.phase() < phaseClosing
	})
	return ok
}

// claimDisconnect returns true, once, to the caller that has to run OnDisconnect, with a reference. The caller gives
// bitDisconnecting back when that has returned.
func (l *lifeWord) claimDisconnect() bool {
	_, ok := l.change(func(old lifeBits) (lifeBits, bool) {
		return old + oneRef | bitDisconnected | bitDisconnecting, old.disconnectDue() && old.phase() <= phaseClosing
	})
	return ok
}

// disconnectDue holds if OnDisconnect may run now and has not been started.
func (b lifeBits) disconnectDue() bool {
	return b.has(bitPeerClosed) && b.has(bitConnected) && !b.has(bitDisconnected)
}

// The output.

// addPending turns the flush that holds own into pending output, which the poller sends. It refuses if the peer or this
// side has ended the direction: then the caller needs the error of the send.
func (l *lifeWord) addPending(own lifeBits) bool {
	_, ok := l.change(func(old lifeBits) (lifeBits, bool) {
		next := old&^own | bitPending
		if old.has(bitPending) { // pending output has a reference already
			next -= oneRef
		}
		return next, old.phase() == phaseOpen && !old.has(bitWriteShut|bitSendFailed)
	})
	return ok
}

// takePending marks output as pending that a layer of the transport holds. The caller has a reference.
func (l *lifeWord) takePending() {
	l.change(func(old lifeBits) (lifeBits, bool) { return old + oneRef | bitPending, !old.has(bitPending) })
}

// enterSending claims the sending of pending output, with a reference.
func (l *lifeWord) enterSending() bool {
	_, ok := l.change(func(old lifeBits) (lifeBits, bool) {
		return old + oneRef | bitSending, old.has(bitPending) && !old.has(bitFlushing|bitSending)
	})
	return ok
}

// pendingDone ends the pending output if cond holds at that very moment. The caller has a reference of its own.
func (l *lifeWord) pendingDone(cond func() bool) (old lifeBits, ok bool) {
	return l.change(func(old lifeBits) (lifeBits, bool) {
		return old&^bitPending - oneRef, old.has(bitPending) && cond()
	})
}

// holdEOF leaves the end of the input to the goroutine that is in a call to send. It returns false if there is none.
func (l *lifeWord) holdEOF() bool {
	_, ok := l.change(func(old lifeBits) (lifeBits, bool) { return old | bitEOFHeld, old.has(bitSendInFlight) })
	return ok
}

// sendReturned ends the call to send that began with setting bitSendInFlight. It returns true if the end of the input
// was left to the caller, which must then note it.
func (l *lifeWord) sendReturned() (ending bool) {
	old, _ := l.change(func(old lifeBits) (lifeBits, bool) { return old &^ (bitSendInFlight | bitEOFHeld), true })
	return old.has(bitEOFHeld)
}
