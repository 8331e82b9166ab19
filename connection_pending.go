package netpoll

// This file holds output that a Flush has left to the poller: bytes that Flush promised to send although the kernel
// does not have them yet. The poller sends them together with what other connections have, at the end of the batch that
// is running, or when there is room again if the socket is full. All other code may take them for sent: they go before
// anything that is written later, by any goroutine, and before the end that Close, CloseWrite and Detach make.
//
// bitPending says that there are such bytes; it comes with a reference. The output up to the position pendingEnd is
// pending. The goroutine that sends is either the one goroutine with bitFlushing or the one with bitSending, never both
// at a time: a goroutine that takes bitFlushing waits until bitSending is free, and one that wants bitSending leaves
// the bytes to the goroutine with bitFlushing.

import (
	"syscall"
	"time"

	"github.com/cloudwego/netpoll/internal/interleave/clock"
	"github.com/cloudwego/netpoll/internal/wait"
)

const (
	// maxPending limits the output that one connection leaves to its poller.
	maxPending = 64 << 10
	// lingerLimit ends a closed connection whose peer takes no pending output for so long.
	lingerLimit = 30 * time.Second
)

// leaveToPoller leaves the flushed output to the poller, together with the sides and the reference of the caller. It
// returns false, and has changed nothing, if the caller has to send.
func (c *connection) leaveToPoller() bool {
	n := c.out.Len()
	if n == 0 || n > maxPending || c.direct || c.wantWrite.Load() || c.writing.Expired() || !c.out.ownsAll() {
		return false
	}
	return c.transport.sendLater()
}

// addPending implements output. The caller of Flush gives back its sides.
func (c *connection) addPending() bool {
	before := c.pendingEnd.Load()
	c.pendingEnd.Store(c.out.received())
	ok := c.life.addPending(bitProducing | bitFlushing)
	if !ok {
		c.pendingEnd.Store(before) // for an older pending output; the caller still sends
	}
	return ok
}

// awaitPoller makes the caller, which holds bitFlushing, the only goroutine that sends.
func (c *connection) awaitPoller() {
	if !c.life.load().has(bitSending) {
		return
	}
	w := c.writing.Start()
	for c.life.load().has(bitSending) {
		w.Wait(wait.NoDeadline)
	}
	c.writing.Stop(w)
}

// hasPending reports whether pending bytes are left. The caller is the sending goroutine.
func (c *connection) hasPending() bool {
	return c.life.load().has(bitPending) && (c.pendingLen() > 0 || c.held())
}

// pendingLen is the number of bytes up to pendingEnd; less than 0 if a Flush has sent more than that.
func (c *connection) pendingLen() int { return int(int64(c.pendingEnd.Load() - c.out.consumed())) }

// sendPending implements output.
func (c *connection) sendPending() {
	if c.life.enterSending() {
		c.sendRest()
		c.endOutput(bitSending)
	}
}

// sendRest sends pending bytes until there are none, or no room. The caller holds bitSending.
func (c *connection) sendRest() {
	v := getVector()
	defer putVector(v)
	for c.hasPending() && !c.life.load().has(bitSendFailed) {
		fillVector(v, &c.out, nil)
		v.Limit(max(c.pendingLen(), 0)) // 0 if only a layer holds output
		n, err := c.call(v, 0)
		if !c.pendingSent(n, err) {
			return
		}
	}
}

// pendingSent notes the result of a send and reports whether to go on.
func (c *connection) pendingSent(n int, err error) bool {
	switch {
	case n > 0:
		c.touch()
		return c.dequeue(n) == nil
	case err == error(ErrWriteTimeout) && c.life.load().phase() < phaseClosing:
		// Of a net.Conn below a layer: the next call sends.
	case err != nil && err != errWouldBlock:
		c.pendingFailed(err)
	}
	return false
}

// pendingFailed ends a connection that cannot send its pending output: there is no call left to return the error to,
// but the next one gets it. The caller holds bitSending.
func (c *connection) pendingFailed(err error) {
	c.life.set(bitSendFailed)
	_ = c.sendFailed(err, "when send")
	if c.out.Len() > 0 || c.held() { // not an error that usually ends a connection
		c.peerClosed(asErrno(err), false)
		c.dropOutput()
		_, _ = c.transport.closeWrite() // else the peer would wait for ever for lost bytes
	}
}

// beginPending implements output.
func (c *connection) beginPending() (p []byte, ok bool) {
	if !c.life.enterSending() {
		return nil, false
	}
	if !c.hasPending() {
		c.endOutput(bitSending)
		return nil, false
	}
	if c.pendingLen() <= 0 {
		return nil, true // a layer holds output
	}
	var piece [1][]byte
	p = c.out.GetBytes(piece[:])[0]
	return p[:min(len(p), c.pendingLen())], true
}

// endPending implements output.
func (c *connection) endPending(n int, err error) {
	switch {
	case err == errNotExecuted:
		c.sendRest()
	case err == errInDoubt: // the kernel may still read from the block, so it must never be used again
		c.out.leakHead()
		c.pendingFailed(syscall.EIO)
	case c.pendingSent(n, err) && c.hasPending():
		c.sendRest()
	}
	c.endOutput(bitSending)
}

// endOutput is how the sending goroutine leaves, with all sides that it entered with. The order matters. finishPending
// comes first, because it needs the side: it looks at the output, and asks for room or ends the direction. Then leave
// gives the side back, and a Flush that waits for its turn is woken. Before that the poller may have reported room, or
// taken the connection from its queue, and found the side taken. It does not come again, so resumePending sends in its
// place. closeIfDone is last, because a connection does not close while it sends.
func (c *connection) endOutput(own lifeBits) {
	c.finishPending()
	c.leave(own)
	if own == bitSending {
		c.writing.Wake()
	}
	c.resumePending()
	c.closeIfDone()
}

// resumePending is called by a goroutine that has just stopped being the sending one. The poller may have seen room
// before that, and could not send.
func (c *connection) resumePending() {
	if b := c.life.load(); b.has(bitPending) && (b.has(bitSendFailed) || !c.wantWrite.Load()) {
		c.sendPending()
	}
}

// finishPending ends the pending output if all of it is sent, and then does the stop or closeWrite that was put off;
// otherwise it makes the poller go on when there is room. The caller is the sending goroutine.
func (c *connection) finishPending() {
	b := c.life.load()
	if !b.has(bitPending) {
		return
	}
	if b.has(bitSendFailed) {
		c.dropOutput()
	}
	if c.hasPending() {
		c.wantWrite.Store(true)
		_ = c.transport.updateInterest()
		return
	}
	b, ok := c.life.pendingDone(func() bool { return c.pendingLen() <= 0 })
	if !ok {
		return // another Flush has left more, and queued it
	}
	if c.held() { // a layer has added output since hasPending, and found bitPending set
		c.life.takePending()
		return // resumePending sends it
	}
	if b.phase() >= phaseClosing {
		_ = c.transport.stop(b.cause() == causeDetach)
	}
	if b.has(bitWriteShut) {
		c.dropOutput()
		_, _ = c.transport.closeWrite()
	}
}

// linger goes on sending for a connection that was closed with output pending, and gives up when its peer takes nothing
// for the write timeout, or else for lingerLimit.
func (c *connection) linger() {
	c.sendPending()
	if !c.life.load().has(bitPending) {
		return
	}
	_ = c.transport.updateInterest() // it reads no more
	patience := lingerLimit
	if timeout := c.writing.Timeout(); timeout > 0 { // a deadline is for calls, and no call waits
		patience = min(patience, timeout)
	}
	c.lingerFor(patience)
}

func (c *connection) lingerFor(patience time.Duration) {
	before := c.progress()
	clock.AfterFunc(patience, func() { c.checkLinger(before, patience) })
}

// progress is how much output has ever been sent.
func (c *connection) progress() uint64 {
	if c.layered {
		return c.layer().progress()
	}
	return c.out.consumed()
}

// checkLinger looks, after patience, whether the peer has taken anything since before.
func (c *connection) checkLinger(before uint64, patience time.Duration) {
	switch {
	case !c.life.load().has(bitPending):
	case c.progress() != before:
		c.lingerFor(max(patience, time.Second))
	default:
		c.dropPending()
	}
}

// dropPending drops the pending output of a closed connection. If a goroutine is sending at the moment, that goroutine
// does it.
func (c *connection) dropPending() {
	if c.life.load().has(bitPending) {
		c.life.set(bitSendFailed)
		c.sendPending()
	}
}
