package netpoll

// This file holds the end of a connection, and of each of its directions: the effects of each move, and the release of
// all resources.

import (
	"syscall"

	"github.com/cloudwego/netpoll/internal/metric"
	"github.com/cloudwego/netpoll/internal/runner"
	"github.com/cloudwego/netpoll/internal/wait"
)

// Close ends the connection on this side and wakes all that wait in it. Output that was not flushed is dropped; flushed
// output is sent. It may be called from anywhere, any number of times, and does not wait. While other calls are inside,
// above all a running callback, the last of them to leave runs the close callbacks and frees the descriptor; otherwise
// that has happened when Close returns. The one exception is a peer that takes no more while a Flush has left output to
// the poller: then the descriptor stays open until that output is sent, or the peer has taken nothing for the write
// timeout, or for 30 seconds if there is none.
//
// It returns nil, except for the first call on a connection that has lost output for which Flush had returned nil
// already: that returns the error that broke the connection.
func (c *connection) Close() error {
	old, ok := c.life.close(causeUser)
	if !ok {
		return nil
	}
	_ = c.closing(old)
	lost := c.life.load().has(bitSendFailed)
	c.leaveHere(0)
	if lost {
		return Exception(c.brokenBy(syscall.EPIPE), "when close")
	}
	return nil
}

// Detach takes the connection off its poller without closing the descriptor, which is the caller's from then on: when
// Detach returns, neither the poller nor a Flush uses it any more. It waits for that, and for room for flushed output,
// at most for the write timeout or 30 s. In all other respects it is Close: the close callbacks run, and later calls
// fail. Connections with TLS, and over shared memory, stay as they are, and the error Is [ErrUnsupported]. On a connection that is closed already it returns an error that Is [ErrConnClosed], and there is no descriptor
// to own. A connection over a [net.Conn] gives that back. If the net.Conn ignores deadlines this is not possible: it is
// closed, and the error Is [ErrUnsupported].
func (c *connection) Detach() error {
	if err := c.detachable(); err != nil {
		return err
	}
	w := wait.New()
	if !c.detaching.CompareAndSwap(nil, w) {
		return c.closedError("when detach")
	}
	old, ok := c.life.close(causeDetach)
	if !ok {
		return c.closedError("when detach")
	}
	err := c.closing(old)
	for c.life.load().has(bitInPoll | bitFlushing | bitPending | bitSending) {
		w.Wait(wait.NoDeadline)
	}
	c.leaveHere(0)
	return err
}

// detachable returns an error if there is nothing to give back that carries the very bytes of the connection.
func (c *connection) detachable() error {
	switch {
	case c.layered:
		return Exception(ErrUnsupported, "when detach: the session would be lost")
	case c.transport.fd() < 0 && c.transport.netConn() == nil:
		return Exception(ErrUnsupported, "when detach: there is no descriptor")
	}
	return nil
}

// CloseRead shuts down the reading side: reads return buffered input and then io.EOF, and everything that the peer
// sends from then on is dropped. The writing side goes on, and the peer's end is noticed as before.
func (c *connection) CloseRead() error {
	if err := c.enterErr(0, "when close read"); err != nil {
		return err
	}
	defer c.leave(0)
	c.life.set(bitReadShut)
	c.reading.Wake()
	if c.window.resume() {
		_ = c.transport.updateInterest()
	}
	return nil
}

// CloseWrite shuts down the writing side: the peer reads everything that was flushed and then the end of the stream.
// A Flush that is waiting, and later ones, fail with EPIPE and drop unsent output. The reading side goes on. Over a
// [net.Conn] without a CloseWrite nothing happens, and the error Is [ErrUnsupported].
func (c *connection) CloseWrite() error {
	if err := c.enterErr(0, "when close write"); err != nil {
		return err
	}
	defer c.leave(0)
	if !c.transport.canCloseWrite() {
		return Exception(ErrUnsupported, "when close write")
	}
	old := c.life.set(bitWriteShut)
	c.writing.Wake()
	if c.layered {
		c.closeWriteLayer()
		return nil
	}
	if old.has(bitPending) {
		c.sendPending()
		return nil // the goroutine that sends the last of it ends the direction
	}
	ended, err := c.transport.closeWrite()
	if !ended && !old.has(bitWriteShut) {
		c.life.clear(bitWriteShut) // nothing has ended, and the peer has noticed nothing
	}
	return err
}

// SetAllowHalfOpen says what the end of the peer's side does to a connection with an [OnRequest]; see
// [WithAllowHalfOpen], which sets this for all connections of a server. A connection without an OnRequest is always
// left to its reader.
func (c *connection) SetAllowHalfOpen(allow bool) error {
	if err := c.settable("when set allow half open"); err != nil {
		return err
	}
	c.halfOpen.Store(allow)
	if c.life.load().phase() > phaseOpening {
		c.triggerRequest(nil)
		c.closeIfDone()
	}
	return nil
}

// close moves to closing, once, for a caller in which the user's callbacks must not run.
func (c *connection) close(why cause) {
	c.closeIf(why, func(lifeBits) bool { return true })
}

// closeIf is close under a condition on the state; see lifeWord.closeIf.
func (c *connection) closeIf(why cause, cond func(lifeBits) bool) bool {
	old, ok := c.life.closeIf(why, cond)
	if ok {
		c.closeFrom(old)
	}
	return ok
}

// closeFrom finishes the move to closing for its winner. old is the state before the move.
func (c *connection) closeFrom(old lifeBits) {
	_ = c.closing(old)
	c.leave(0)
}

// closing is called by the winner of the move to closing, before it gives back the connection's own reference. old is
// the state before the move. Its error concerns Detach only.
func (c *connection) closing(old lifeBits) (err error) {
	if c.layered {
		old = c.layerClosing(old)
	}
	switch {
	case old.has(bitPending) && c.layered && c.transport.blocks():
		runner.Run(c.startContext(), c.linger) // a net.Conn may take long for it
	case old.has(bitPending):
		c.linger()
	default:
		err = c.transport.stop(c.life.load().cause() == causeDetach)
	}
	c.reading.Wake()
	c.writing.Wake()
	c.cancelContext()
	return err
}

// closeIfIdle closes the connection for its server's shutdown if no handler runs, no goroutine sends, and nothing is
// left to read. Output that a failed Flush has left is no reason to wait: no call will send it.
func (c *connection) closeIfIdle() {
	if c.nothingToRead() {
		c.closeIf(causeServer, c.whenIdle())
	}
}

// closeIfIdleApart is closeIfIdle for a caller that must not wait for a net.Conn to close. When it returns, it is
// decided whether the connection closes.
func (c *connection) closeIfIdleApart() {
	if !c.nothingToRead() {
		return
	}
	old, ok := c.life.closeIf(causeServer, c.whenIdle())
	switch {
	case !ok:
	case !c.transport.blocks():
		c.closeFrom(old)
	default:
		go c.closeFrom(old)
	}
}

// nothingToRead also holds for input without a handler, if the peer is done: closing keeps that input.
func (c *connection) nothingToRead() bool {
	return c.in.Len() == 0 || c.calls.onRequest.Load() == nil && c.life.load().phase() == phasePeerDone
}

// whenIdle returns the condition under which a server that shuts down closes the connection. One whose layer has not begun,
// so that no callback has seen it, does not have to wait for that.
func (c *connection) whenIdle() func(lifeBits) bool {
	if c.unready() {
		return func(b lifeBits) bool { return idle(b | bitConnected) }
	}
	return idle
}

// idle holds if no callback and no Writer is at work. A waiting reader, or the poller, does not keep the connection
// open.
func idle(b lifeBits) bool {
	const busy = bitRunning | bitDisconnecting | bitFlushing | bitProducing | bitPending | bitSending
	return !b.has(busy) && b.has(bitConnected) && b.phase() != phaseOpening
}

// peerClosed notes that the peer ended its side. ended says that everything it sent has been received. If not, a
// connection with an OnRequest stays active until then, because the handler takes an inactive connection without input
// for one that it has read to the end. OnDisconnect comes first: a reader that is woken may close the connection.
func (c *connection) peerClosed(errno syscall.Errno, ended bool) {
	if !ended && c.calls.onRequest.Load() != nil && !c.life.load().has(bitSendFailed) {
		c.life.noteError(errno)
		c.writing.Wake()
		return
	}
	if c.life.peerClosed(errno, ended, c.calls.onDisconnect.Load() != nil) {
		c.runDisconnect()
	}
	c.reading.Wake()
	if errno != 0 {
		c.writing.Wake()
	}
	c.cancelContext()
	c.triggerRequest(nil) // a handler that is set from now on is called by SetOnRequest
	if ended {
		c.closeIfDone()
	}
}

// closeIfDone closes a connection that has nothing left to do: if its handler owns it, when the peer has ended its
// side; if its server shuts down, when it is idle. It is called when a run of the handlers, OnDisconnect, a call that
// sends, or a reader of a served connection has ended, and when the peer's end is noted or another handler is set.
//
// With an OnRequest, the connection closes for the peer's end when all of this holds, and else stays:
//
//	phase peerDone, ended   everything that the peer has sent has been received
//	handlerDone             OnRequest has been called for the end, or there is nothing to call it for
//	not half-open           or the peer has reset: then neither side is open. Else OnRequest closes
//	connected               OnConnect has returned
//	not running             no handler runs, which may still answer
//	not disconnecting       OnDisconnect does not run, which may answer too
//	not flushing            no goroutine sends an answer; pending output does not matter, because Close sends it
//
// The last four are looked at once more in the move to closing. Each party that makes one of them true calls this after
// it, so the last one closes. handlerDone, once true, stays so until there is another handler.
func (c *connection) closeIfDone() {
	const busy = bitRunning | bitFlushing | bitDisconnecting
	b := c.life.load()
	if b.has(busy) {
		return // they call this when they end
	}
	halfOpen := c.halfOpen.Load() && b.errno() == 0 // after a reset neither side is open
	if b.phase() == phasePeerDone && b.has(bitEnded) && c.handlerDone(b) && !halfOpen {
		c.closeIf(causePeer, func(b lifeBits) bool { return !b.has(busy) && b.has(bitConnected) })
		return
	}
	if c.owner != nil && b.phase() > phaseOpening && c.owner.draining() {
		c.closeIfIdle()
	}
}

// enterErr enters as lifeWord.use does, and returns an error if it cannot.
func (c *connection) enterErr(own lifeBits, what string) error {
	if e := c.life.use(own); e != entered {
		return c.refusal(e, what)
	}
	return nil
}

// refusal is the error of a call whose enter returned e, or nil.
func (c *connection) refusal(e entry, what string) error {
	switch e {
	case entryBusy:
		return Exception(ErrConcurrentAccess, what)
	case entryShut:
		return c.closedError(what)
	}
	return nil
}

// leave gives back own and a reference. The last one out of a closing connection releases it. If the release may take
// long, because there are close callbacks or a net.Conn to close, the runner does it: the caller may be a poll
// goroutine, an accepting goroutine, or a Flush whose caller holds a lock.
func (c *connection) leave(own lifeBits) {
	if c.life.leave(own) {
		callbacks := c.calls.takeCloseCallbacks()
		if len(callbacks) == 0 && !c.transport.blocks() {
			c.release(nil)
		} else {
			runner.Run(c.context(), func() { c.release(callbacks) })
		}
		return
	}
	if w := c.detaching.Load(); w != nil {
		w.Wake()
	}
	if own == bitInPoll && c.raw.held() {
		c.reading.Wake() // holdInput waits for this
	}
}

// leaveHere is leave for Close and for the runner, where the close callbacks may run in place.
func (c *connection) leaveHere(own lifeBits) {
	if c.life.leave(own) {
		c.release(c.calls.takeCloseCallbacks())
	}
}

// release runs once, when the word has moved to released: no call is inside, and only readers can still enter.
func (c *connection) release(callbacks []CloseCallback) {
	runner.Protect(func() {
		for last := len(callbacks) - 1; last >= 0; last-- {
			on := callbacks[last]
			callbacks = callbacks[:last]
			c.guard("CloseCallback", func() { _ = on(c.self) })
		}
	}, func() { c.release(callbacks) })
	c.calls.endCloseCallbacks()
	c.stopIdleLimit()
	if c.in.Len() == 0 && c.life.endReading() { // else the program may go on reading buffered input
		c.in.abandon()
	}
	c.out.abandon()
	if c.life.load().has(bitSendFailed) {
		c.transport.abort() // after an orderly end the peer would believe that it has received everything
	}
	b := c.life.load()
	_ = c.transport.release(b.cause() == causeDetach) // a stream socket reports nothing new at its close
	metric.Process.Ended[b.endReason()].Add(1)
	if c.owner != nil {
		c.owner.connClosed(c)
	}
}

// endError is the error that tells how the connection ended: errno, or the transport's own error if that says more.
func (c *connection) endError(errno syscall.Errno, what string) error {
	return Exception(c.transport.explain(errno), what)
}
