package netpoll

// This file holds output that a Flush has left to the poller: bytes it promised to send although the kernel does not
// have them yet. The poller sends them together with what other connections have, at the end of the batch that is
// running, or when there is room again if the socket is full. For everybody else they are as good as sent: they go
// before anything that is written later, on whichever goroutine, and before the end that Close, CloseWrite and Detach
// make.
//
// bitPending says that there are such bytes; it comes with a reference. The output up to the position pendingEnd is
// pending. The goroutine that sends is either the one goroutine with bitFlushing or the one with bitSending, never both
// at a time: who wants bitFlushing waits for bitSending, and who wants bitSending leaves the bytes to the one with
// bitFlushing.

import (
	"syscall"
	"time"

	"github.com/cloudwego/netpoll/internal/interleave/clock"
	"github.com/cloudwego/netpoll/internal/wait"
)

const (
	// maxPending bounds the output that one connection leaves to its poller.
	maxPending = 64 << 10
	// lingerLimit ends a closed connection whose peer takes nothing of what is pending to it for so long.
	lingerLimit = 30 * time.Second
)

// leaveToPoller leaves the flushed output to the poller, together with all that the caller entered with. It returns
// false, and nothing has changed, if the caller has to send.
func (c *connection) leaveToPoller() bool {
	n := c.out.Len()
	if n == 0 || n > maxPending || c.direct || c.wantWrite.Load() || c.writing.Expired() || !c.out.ownsAll() {
		return false
	}
	return c.transport.sendLater()
}

// addPending implements output. The caller of Flush gives back what it entered with.
func (c *connection) addPending() bool {
	before := c.pendingEnd.Load()
	c.pendingEnd.Store(c.out.received())
	ok := c.life.addPending(bitProducing | bitFlushing)
	if !ok {
		c.pendingEnd.Store(before) // for an older pending output; the caller still is the one that sends
	}
	return ok
}

// awaitPoller makes the caller, who holds bitFlushing, the only one that sends.
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

// hasPending reports whether pending bytes are left. The caller is the one that sends.
func (c *connection) hasPending() bool { return c.life.load().has(bitPending) && c.pendingLen() > 0 }

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
		v.Limit(c.pendingLen())
		n, err := c.call(v, 0)
		if !c.pendingSent(n, err) {
			return
		}
	}
}

// pendingSent notes what came of a send and reports whether to go on.
func (c *connection) pendingSent(n int, err error) bool {
	switch {
	case n > 0:
		c.touch()
		return c.dequeue(n) == nil
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
	if c.out.Len() > 0 { // not an error that usually ends a connection
		c.peerClosed(asErrno(err), false)
		c.dropOutput()
		_, _ = c.transport.closeWrite() // else the peer would wait for ever for what is lost, and nobody here know of it
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
	var piece [1][]byte
	p = c.out.GetBytes(piece[:])[0]
	return p[:min(len(p), c.pendingLen())], true
}

// endPending implements output.
func (c *connection) endPending(n int, err error) {
	switch {
	case err == errNotExecuted:
		c.sendRest()
	case err == errInDoubt: // the kernel may still read from the block, so nobody else may ever have it
		c.out.leakHead()
		c.pendingFailed(syscall.EIO)
	case c.pendingSent(n, err) && c.hasPending():
		c.sendRest()
	}
	c.endOutput(bitSending)
}

// endOutput is how the one that sends leaves, with all that it entered with. The order matters. finishPending needs the
// side: it looks at the output, and asks for room or ends the direction. After it the side is given back, which makes the
// next one the one that sends: a Flush that waits for its turn is woken then. In between the poller may have reported
// room, or taken the connection from its queue, and found the side taken: it does not come again, so resumePending, now
// as anybody, sends in its place. closeIfDone is last, because a connection with output under way does not close.
func (c *connection) endOutput(own lifeBits) {
	c.finishPending()
	c.leave(own)
	if own == bitSending {
		c.writing.Wake()
	}
	c.resumePending()
	c.closeIfDone()
}

// resumePending is called by who has just left as the one that sends. The poller may have been told of room before that,
// and could not send.
func (c *connection) resumePending() {
	if b := c.life.load(); b.has(bitPending) && (b.has(bitSendFailed) || !c.wantWrite.Load()) {
		c.sendPending()
	}
}

// finishPending ends the pending output if all of it is sent, with what was put off until then, or else makes the
// poller go on when there is room. The caller is the one that sends.
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
	before := c.out.consumed()
	clock.AfterFunc(patience, func() { c.checkLinger(before, patience) })
}

// checkLinger looks after a time of patience whether the peer has taken anything of what was left before.
func (c *connection) checkLinger(before uint64, patience time.Duration) {
	switch {
	case !c.life.load().has(bitPending):
	case c.out.consumed() != before:
		c.lingerFor(max(patience, time.Second))
	default:
		c.dropPending()
	}
}

// dropPending drops the pending output of a closed connection. If somebody is the one that sends at the moment, that
// one does it.
func (c *connection) dropPending() {
	if c.life.load().has(bitPending) {
		c.life.set(bitSendFailed)
		c.sendPending()
	}
}
