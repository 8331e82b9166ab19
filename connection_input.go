package netpoll

// This file holds the connection as the upper layer of its transport: what it is interested in, and the input that the
// transport brings. How much of it the connection takes is in connection_window.go; reading is in connection_read.go.

import (
	"io"
	"syscall"

	"github.com/cloudwego/netpoll/internal/sock"
)

var _ upperLayer = (*connection)(nil)

// interest implements input.
func (c *connection) interest() (ev pollEvent) {
	b := c.life.load()
	switch {
	case b.phase() >= phaseClosing && !b.has(bitPending):
		return 0 // no sender waits for room, and no event is handled any more
	case b.has(bitEnded | bitEOFHeld): // nothing more to learn but errors, which always are reported
	case b.phase() >= phaseClosing: // only pending output is still sent
	case c.inputOff() && b.phase() >= phasePeerDone: // only errors, until there is room again
	case c.inputOff():
		ev = evHup
	case c.once.Load():
		ev = evRead | evHup | evOnce
	default:
		ev = evRead | evHup
	}
	if c.wantWrite.Load() {
		ev |= evWrite
	}
	return ev
}

// inputOff reports whether the transport should not report input: there is no room for it, or the holder of the
// descriptor has a report already.
func (c *connection) inputOff() bool { return c.window.paused.Load() || c.raw.ready() }

// begin implements input.
func (c *connection) begin(ev pollEvent) bool {
	last := phasePeerDone
	if c.life.load().has(bitPending) {
		last = phaseClosing
	}
	if c.life.enter(bitInPoll, last) != entered {
		c.dropInterest(ev)
		return false
	}
	if ev&evDetached != 0 {
		c.close(causePoller)
		c.dropPending()
	}
	if ev&(evWrite|evErr) != 0 {
		if c.wantWrite.CompareAndSwap(true, false) {
			_ = c.transport.updateInterest()
			c.writing.Wake()
		} else {
			c.dropInterest(ev &^ evRead)
		}
		c.sendPending()
	}
	if ev&evHup != 0 {
		c.hungUp.Store(true)
		if c.takesRest() {
			c.resumeInput()
		}
	}
	return true
}

// end implements input.
func (c *connection) end() { c.leave(bitInPoll) }

// dropInterest is called for an event that no goroutine waits for. The goroutine that stopped waiting updates the
// interest, too, but may not have been scheduled yet; until then a level-triggered event would come again and again. A
// hang-up alone is reported once anyway.
func (c *connection) dropInterest(ev pollEvent) {
	if ev&(evRead|evWrite) != 0 {
		_ = c.transport.updateInterest()
	}
}

// wants implements input.
func (c *connection) wants(hup bool) bool {
	switch b := c.life.load(); {
	case b.has(bitEnded) || b.phase() >= phaseClosing:
		if !c.disarmed {
			c.disarmed = true
			_ = c.transport.updateInterest()
		}
		return false
	case b.has(bitEOFHeld):
		return false
	case c.raw.held():
		if hup {
			c.peerClosed(0, false)
		}
		if c.reportRaw() {
			return false
		}
	}
	if c.pauseInput() {
		if hup {
			c.peerClosed(0, false)
		}
		return false
	}
	return true
}

// expect implements input.
func (c *connection) expect(n int) { c.window.there = int32(n) }

// room implements input.
func (c *connection) room(most int) []byte {
	return c.in.book(min(c.window.next(c.in.Len(), c.takesRest()), most))
}

// next implements input.
func (c *connection) next() (size, lacks int) {
	have := c.in.Len()
	return c.window.next(have, c.takesRest()), max(0, int(c.window.lowWater.Load())-have)
}

// put implements input. Input after CloseRead is received, to learn of the end, and dropped.
func (c *connection) put(n int) {
	if n > 0 && c.life.load().has(bitReadShut) {
		n = 0
	}
	c.in.bookAck(n)
}

// loseRoom implements input.
func (c *connection) loseRoom() { c.in.leakTail() }

// fed implements input.
func (c *connection) fed(n int, full, hup bool, err error, b *batch) (more bool) {
	if err == sock.ErrHeldBack {
		return c.holdBack(hup, b)
	}
	if n > 0 && !c.life.load().has(bitReadShut) {
		c.window.adapt(n, full)
		c.inputArrived(b)
	}
	if err != nil {
		c.receiveFailed(err)
		return false
	}
	// If the transport is drained, the poller reports later input anew. If other connections must have their turn, it
	// reports the rest in the next batch.
	return n > 0 && (full || hup) && b.goesOn(n)
}

// takesRest reports whether the limit does not count any more. When the peer has ended its side, the rest of the input
// is in the kernel, which has its own limit. A connection with an OnRequest takes all of it at once, to notice the end:
// only then is the connection inactive, and OnDisconnect must not wait for a handler that reads no more. Only
// descriptors that wait to be read keep later input in the kernel.
func (c *connection) takesRest() bool {
	return c.hungUp.Load() && c.calls.onRequest.Load() != nil && !c.holdsControl()
}

// full reports whether the input is at its limit.
func (c *connection) full() bool {
	return c.window.full(c.in.Len(), c.takesRest()) && !c.life.load().has(bitReadShut)
}

// pauseInput stops receiving if the input is at its limit.
func (c *connection) pauseInput() bool {
	if !c.full() {
		return false
	}
	paused, first := c.window.pause(c.full)
	if first {
		_ = c.transport.updateInterest()
	}
	return paused
}

// resumeInput goes on receiving if there is room enough. Readers call it after they consumed.
func (c *connection) resumeInput() {
	if c.window.paused.Load() && c.window.mayResume(c.in.Len(), c.takesRest()) && c.window.resume() {
		_ = c.transport.updateInterest()
	}
}

// inputArrived wakes the waiting reader, or triggers the handler.
func (c *connection) inputArrived(b *batch) {
	c.touch()
	if need := c.window.lowWater.Load(); need > 0 { // a waiting reader is the handler, or comes before it
		if int64(c.in.Len()) >= need {
			c.reading.Wake()
		}
		return
	}
	c.triggerRequest(b)
}

// receiveFailed is inputEnded for the error of a receive. A socket reports a reset only once: if a send got it, the
// receive finds the end of the stream, and only the sending goroutine knows that the end is not orderly. A transport
// whose send blocks has already waited for its send, for as long as it may.
func (c *connection) receiveFailed(err error) {
	if err == io.EOF && !c.transport.blocks() && c.life.holdEOF() {
		_ = c.transport.updateInterest() // else the poller would report the end again and again
		return
	}
	c.inputEnded(err)
}

// inputEnded notes the end of the stream, or the error that ended it.
func (c *connection) inputEnded(err error) {
	errno := asErrno(err)
	switch {
	case errno == syscall.EBADF: // the writing end of a pipe
		errno = 0
	case errno == 0 && err != io.EOF:
		errno = syscall.EIO
	}
	c.peerClosed(errno, true)
}

// sendUntil implements output.
func (c *connection) sendUntil(start int64) int64 { return c.writing.Until(start) }
