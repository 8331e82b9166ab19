package netpoll

// This file holds the connection as the upper layer of its transport: what it is interested in, and the input that the
// transport brings. How much of that it takes is in connection_window.go; what readers do is in connection_read.go.

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
		return 0 // nobody waits for room, and no event is handled any more
	case b.has(bitEnded | bitEOFHeld): // nothing more to learn but errors, which always are reported
	case b.phase() >= phaseClosing: // the same: it only sends its pending output
	case c.inputOff() && b.phase() >= phasePeerDone: // the same, until there is room again
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

// inputOff reports whether input is not to be reported: there is no room for it, or the holder of the descriptor has a
// report already.
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

// dropInterest is called when an event has come that nobody waits for. The goroutine that stopped waiting updates the
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

// room implements input.
func (c *connection) room(most int) []byte {
	return c.in.book(min(c.window.next(c.in.Len(), c.takesRest()), most))
}

// next implements input.
func (c *connection) next() (size, lacks int) {
	have := c.in.Len()
	return c.window.next(have, c.takesRest()), max(0, int(c.window.lowWater.Load())-have)
}

// put implements input. What comes after CloseRead is dropped; it is received all the same, to learn of the end.
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
	// If the transport is drained what comes later is reported anew; and so is what is left, in the next batch, when
	// other connections must have their turn.
	return n > 0 && (full || hup) && b.goesOn(n)
}

// takesRest reports whether the limit does not count any more. When the peer has ended its side, what is left of the
// input is in the kernel, which has a limit of its own for it. A connection with an OnRequest takes it all at once, so
// that the end can be noticed: only then is the connection inactive, and OnDisconnect must not wait for a handler that
// reads no more. Only descriptors that wait to be read keep others behind them in the kernel.
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

// inputArrived wakes whom new input concerns.
func (c *connection) inputArrived(b *batch) {
	c.touch()
	if need := c.window.lowWater.Load(); need > 0 { // the reader that waits is, or outranks, the handler
		if int64(c.in.Len()) >= need {
			c.reading.Wake()
		}
		return
	}
	c.triggerRequest(b)
}

// receiveFailed is inputEnded for what a receive has returned. A socket tells of a reset only once: if a send was told,
// the receive finds the end of the stream, and only the sending goroutine knows that it is not in order. A transport
// whose send blocks has waited for it already, as long as it may.
func (c *connection) receiveFailed(err error) {
	if err == io.EOF && !c.transport.blocks() && c.life.holdEOF() {
		_ = c.transport.updateInterest() // else it would be reported again and again
		return
	}
	c.inputEnded(err)
}

// inputEnded notes the end of the stream, or the error in its place.
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
