package netpoll

// This file holds the end of a connection: what each move towards it sets off, and the release of what it holds.

import (
	"syscall"

	"github.com/cloudwego/netpoll/internal/runner"
)

// Close ends the connection on this side and wakes all that wait in it. What was not flushed is dropped. It may be
// called from anywhere, any number of times, and returns nil. While others are inside, a running callback above all,
// the last of them to leave runs the close callbacks and frees the descriptor; else that has happened when Close
// returns.
func (c *connection) Close() error {
	c.closeHere(causeUser)
	return nil
}

// Detach takes the connection off its poller without closing the descriptor, which is the caller's from then on. In
// all other respects it is Close: the close callbacks run, and later calls fail.
func (c *connection) Detach() error {
	c.closeHere(causeDetach)
	return nil
}

// closeHere moves to closing, once. If nobody is inside it releases the connection before it returns.
func (c *connection) closeHere(why cause) {
	if c.life.close(why) {
		c.closing()
		c.leaveHere(0)
	}
}

// close is closeHere for a caller in which the user's callbacks must not run.
func (c *connection) close(why cause) {
	c.closeIf(why, func(lifeBits) bool { return true })
}

// closeIf is close under a condition on the state; see lifeWord.closeIf.
func (c *connection) closeIf(why cause, cond func(lifeBits) bool) bool {
	if !c.life.closeIf(why, cond) {
		return false
	}
	c.closing()
	c.leave(0)
	return true
}

// closing is what the winner of the move to closing does before it gives back the connection's own reference.
func (c *connection) closing() {
	c.transport.stop()
	c.reading.wake()
	c.writing.wake()
	c.cancelContext()
}

// closeIfIdle closes the connection for its server's shutdown if no handler runs, nobody is inside, and nothing is
// left to read or to send. It reports whether the connection is closing or closed.
func (c *connection) closeIfIdle() bool {
	if c.in.Len() == 0 && c.out.Len() == 0 && c.closeIf(causeServer, idle) {
		return true
	}
	return c.life.load().phase() >= phaseClosing
}

// idle holds if nobody but the connection itself has a reference. A shutdown closes connections whose peer is done too.
func idle(b lifeBits) bool { return b.refs() == 1 && b.phase() != phaseOpening }

// peerGone notes that the peer ended its side. ended says that everything it sent has been received.
func (c *connection) peerGone(errno syscall.Errno, ended bool) {
	c.life.peerGone(errno, ended)
	c.reading.wake()
	if errno != 0 {
		c.writing.wake()
	}
	c.cancelContext()
	c.startDisconnect()
	if ended || c.paused.Load() {
		c.triggerRequest() // the last call, for what is left
		c.life.set(bitTold)
		c.settle()
	}
}

// settle does what has become due when somebody has left: a connection that handlers own closes when the peer is done
// and they have seen everything, or do not want it though the input is at its bound; and an idle one closes when its
// server shuts down.
func (c *connection) settle() {
	b := c.life.load()
	if b.has(bitTask | bitFlushing) {
		return // they settle when they end
	}
	if b.phase() == phasePeerDone && b.has(bitTold) && (b.has(bitEnded) || c.paused.Load()) && c.ownedByHandlers() {
		c.closeIf(causePeer, func(b lifeBits) bool { return !b.has(bitTask|bitFlushing) && b.has(bitConnected) })
		return
	}
	if c.owner != nil && c.owner.draining() {
		c.closeIfIdle()
	}
}

// ownedByHandlers reports whether the connection ends by itself when the peer is done. Others belong to their user
// until Close.
func (c *connection) ownedByHandlers() bool {
	return c.owner != nil || c.calls.onRequest.Load() != nil
}

// leave gives back what was entered with. The last one out of a closing connection releases it. If there are close
// callbacks that happens in the runner: the caller may be a poll goroutine, or a Flush that holds a lock of its user.
func (c *connection) leave(own lifeBits) {
	if !c.life.leave(own) {
		return
	}
	if c.calls.hasCloseCallbacks() {
		runner.Run(c.context(), c.release)
	} else {
		c.release()
	}
}

// leaveHere is leave for Close and for the runner, where the close callbacks may run in place.
func (c *connection) leaveHere(own lifeBits) {
	if c.life.leave(own) {
		c.release()
	}
}

// release runs once, when the word has moved to closed: nobody is inside and nobody will be.
func (c *connection) release() {
	c.runCloseCallbacks()
	c.stopIdleLimit()
	if c.calls.onRequest.Load() != nil {
		c.in.abandon() // the handlers have had their last look
	} else {
		c.life.set(bitKept) // whoever reads by itself may go on with what is buffered
	}
	if c.out.MallocLen() == 0 {
		c.out.abandon()
	}
	_ = c.transport.release(c.life.load().cause() == causeDetach) // a stream socket has no news to give at its close
	if c.owner != nil {
		c.owner.connClosed(c)
	}
}
