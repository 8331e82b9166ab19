package netpoll

// This file holds what looks past the input buffer, at the socket itself: whether anything is there, for a pool that
// wants to use the connection again, and the order that functions of RawConn.Read need. Both hold off whoever receives:
// else bytes could be on their way from the socket to the buffer, and be seen in neither.

import (
	"fmt"
	"syscall"
	"time"

	"github.com/cloudwego/netpoll/internal/sock"
)

// IsHealthyForReuse reports whether a pool may hand the connection out again: it is open, on both sides and in both
// directions, nobody is at work on it, and nothing is pending, neither input that was not read, in its buffer or in the
// socket, nor output that was not flushed or is not sent. It is for a client's connection that its pool has for itself:
// a call of Reader or Writer, a Read, a Write, or a handler that is at work makes it false, and so does another
// IsHealthyForReuse at the same moment.
//
// It looks at the socket itself, without waiting and without taking anything. wait only bounds the waiting for a receive
// that is under way; if it is 0 or less the answer is false, as it is whenever the socket gives no clear answer. Over a
// [net.Conn] that shows no descriptor, as those of crypto/tls, and where the system cannot look without taking, the
// answer is what has been noticed so far.
//
// The answer is about one moment: what the peer does afterwards nobody knows, and nothing is reserved for the caller.
func (c *connection) IsHealthyForReuse(wait time.Duration) bool {
	if wait <= 0 || !c.writers.TryLock() {
		return false
	}
	defer c.writers.Unlock()
	if !c.readers.TryLock() {
		return false
	}
	defer c.readers.Unlock()
	const own = bitReading | bitProducing | bitFlushing
	if c.life.enter(own|bitRaw, phaseOpen) != entered {
		return false
	}
	until := noDeadline
	if at := now(); int64(wait) < noDeadline-at {
		until = at + int64(wait)
	}
	healthy := c.isQuiet(until)
	c.endRaw()
	c.leave(own)
	c.closeIfDone()
	return healthy
}

// isQuiet is IsHealthyForReuse for who is the one that reads, writes and sends, and has bitRaw.
func (c *connection) isQuiet(until int64) bool {
	if c.NetConn() != nil && !c.hasDescriptor() {
		return c.nothingPending()
	}
	if c.holdInput(func() int64 { return until }) != nil {
		return false
	}
	defer c.letInput()
	return c.nothingPending() && c.socketIsQuiet() && c.life.load().phase() == phaseOpen
}

// nothingPending is what this side knows.
func (c *connection) nothingPending() bool {
	b := c.life.load()
	const spoilt = bitRunning | bitEnded | bitEOFHeld | bitReadShut | bitWriteShut | bitPending | bitSending | bitSendFailed
	return b.phase() == phaseOpen && !b.has(spoilt) && b.errno() == 0 &&
		c.in.Len() == 0 && c.out.Len() == 0 && c.out.MallocLen() == 0
}

// socketIsQuiet reports whether the socket has neither bytes nor an end. A socket tells of an error only once, so one
// that it tells here is noted for everybody.
func (c *connection) socketIsQuiet() (quiet bool) {
	var err error
	c.withDescriptor(func(fd int) { quiet, err = sock.Peek(fd) })
	if endsConnection(asErrno(err)) {
		c.inputEnded(err)
	}
	return quiet && err == nil
}

// hasDescriptor reports whether withDescriptor has something to give.
func (c *connection) hasDescriptor() bool {
	if conn := c.NetConn(); conn != nil {
		_, ok := conn.(syscall.Conn)
		return ok && sock.CanPeek
	}
	return c.transport.fd() >= 0
}

// withDescriptor runs f with the descriptor, which stays open meanwhile. The caller has a reference.
func (c *connection) withDescriptor(f func(fd int)) {
	if s, ok := c.NetConn().(syscall.Conn); ok {
		if raw, err := s.SyscallConn(); err == nil {
			_ = raw.Control(func(fd uintptr) { f(int(fd)) }) // fails when it is closed
		}
		return
	}
	f(c.transport.fd())
}

// holdInput waits until nobody receives any more, and keeps it so until letInput, except for what bitRaw, which the
// caller has, is for. It gives up at the time that until returns.
func (c *connection) holdInput(until func() int64) error {
	if t, ok := c.transport.(*netConn); ok {
		return t.holdReading(until())
	}
	w := c.reading.startWaiting()
	defer c.reading.stopWaiting(w)
	for c.life.load().has(bitInPoll) {
		deadline := until()
		if deadline <= now() {
			return Exception(ErrReadTimeout, c.peerName())
		}
		w.wait(deadline)
	}
	return nil
}

// letInput undoes holdInput. bitRaw is given back by endRaw.
func (c *connection) letInput() {
	if t, ok := c.transport.(*netConn); ok {
		t.letReading()
	}
}

// endRaw gives the descriptor's input back to the connection.
func (c *connection) endRaw() {
	c.life.clear(bitRaw)
	if c.window.resume() {
		_ = c.transport.updateInterest()
	}
}

// beginRawRead enters for a function of RawConn.Read; endRawRead must follow. start is when the call began. There is no
// error only if the function can see all that there is to read: nothing is buffered, or on its way there.
func (c *connection) beginRawRead(start int64) error {
	switch c.life.enter(bitReading|bitRaw, phasePeerDone) {
	case entryBusy:
		return Exception(ErrConcurrentAccess, "when raw read")
	case entryShut:
		return c.closedError("when raw read")
	}
	err := c.holdInput(func() int64 { return c.reading.until(start) })
	if err != nil {
		c.endRaw()
		c.leave(bitReading)
		return err
	}
	switch {
	case c.in.Len() > 0:
		err = fmt.Errorf("raw read: %w", ErrBufferedInput)
	case c.reading.expired():
		err = Exception(ErrReadTimeout, c.peerName())
	}
	if err != nil {
		c.endRawRead()
	}
	return err
}

func (c *connection) endRawRead() {
	c.letInput()
	c.endRaw()
	c.leave(bitReading)
}

// rawNetConn is the syscall.RawConn of a net.Conn whose input is buffered here.
type rawNetConn struct {
	syscall.RawConn
	c *connection
}

// Read implements syscall.RawConn.
func (r rawNetConn) Read(f func(fd uintptr) (done bool)) error {
	c := r.c
	if err := c.beginRawRead(now()); err != nil {
		return err
	}
	defer c.endRawRead()
	err := r.RawConn.Read(func(fd uintptr) bool {
		defer c.touch()
		return f(fd)
	})
	switch {
	case err == nil:
		return nil
	case c.life.load().phase() >= phaseClosing:
		return c.closedError("when raw read")
	case isTimeout(err):
		return Exception(ErrReadTimeout, c.peerName())
	}
	return err
}
