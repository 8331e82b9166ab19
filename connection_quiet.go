package netpoll

// This file holds the look past the input buffer, at the socket itself: whether anything is there, for a pool that wants
// to use the connection again. It holds the descriptor's input as a function of RawConn.Read does: see
// connection_descriptor.go.

import (
	"time"

	"github.com/cloudwego/netpoll/internal/errno"
	"github.com/cloudwego/netpoll/internal/sock"
	"github.com/cloudwego/netpoll/internal/wait"
)

// IsHealthyForReuse reports whether a pool may hand the connection out again: it is open, on both sides and in both
// directions, no call is at work on it, there is no unread input, in its buffer or in the socket, and no output that
// was not flushed or is not sent. It is for a client's connection that only its pool uses: a call of Reader or Writer,
// a Read, a Write, or a handler that is at work makes it false, and so does another IsHealthyForReuse at the same
// moment.
//
// It looks at the socket itself, without waiting and without taking anything. wait is only how long to wait for a
// receive that is under way; if wait is 0 or less the answer is false, as it is whenever the socket gives no clear
// answer. Over a [net.Conn] that shows no descriptor, such as one of crypto/tls, and where the system cannot look
// without taking, the answer is what the connection has noticed so far.
//
// The answer is about one moment: the peer may do anything afterwards, and nothing is reserved for the caller.
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
	if c.life.enter(own, phaseOpen) != entered {
		return false
	}
	raw, held, healthy := c.raw.hold(), false, false
	if raw {
		held, healthy = c.isQuiet(wait)
	}
	c.leave(own)
	if held {
		c.transport.letInput()
	}
	if raw {
		c.endRaw()
	}
	c.resumePending() // the poller may have come for it, and could not send while bitFlushing was held
	c.closeIfDone()
	return healthy
}

// isQuiet is IsHealthyForReuse for the goroutine that has all sides and holds the descriptor's input. If held is true
// letInput must follow.
func (c *connection) isQuiet(limit time.Duration) (held, quiet bool) {
	if !c.hasDescriptor() {
		return false, c.nothingPending() && peerIsQuiet(c.transport)
	}
	until := wait.In(limit)
	if c.holdInput(func() int64 { return until }) != nil {
		return false, false
	}
	return true, c.nothingPending() && c.socketIsQuiet() && c.life.load().phase() == phaseOpen
}

// nothingPending is the part of isQuiet that needs no look at the socket.
func (c *connection) nothingPending() bool {
	b := c.life.load()
	const spoilt = bitRunning | bitEnded | bitEOFHeld | bitReadShut | bitWriteShut | bitPending | bitSending | bitSendFailed
	return b.phase() == phaseOpen && !b.has(spoilt) && b.errno() == 0 &&
		c.in.Len() == 0 && c.out.Len() == 0 && c.out.MallocLen() == 0 &&
		(!c.layered || c.layer().quiet() && !c.held())
}

// socketIsQuiet reports whether the socket has neither bytes nor an end. A socket reports an error only once, so an
// error seen here is noted for all other calls.
func (c *connection) socketIsQuiet() (quiet bool) {
	var err error
	c.withDescriptor(func(fd int) { quiet, err = sock.Peek(fd) })
	if errno.EndsConnection(asErrno(err)) {
		c.inputEnded(err)
	}
	return quiet && err == nil
}

// quietTransport is a transport without a descriptor for the bytes that can look for input and the end all the same.
type quietTransport interface {
	// peerIsQuiet reports whether there is neither. It does not wait. The caller has a reference to the connection.
	peerIsQuiet() bool
}

// peerIsQuiet reports whether t knows of no input and no end.
func peerIsQuiet(t transport) bool {
	q, ok := t.(quietTransport)
	return !ok || q.peerIsQuiet()
}

// hasDescriptor reports whether withDescriptor has a descriptor to give, and the system can look at it.
func (c *connection) hasDescriptor() bool {
	if c.transport.fd() >= 0 {
		return true
	}
	_, err := c.transport.rawConn()
	return err == nil && sock.CanPeek
}

// withDescriptor runs f with the descriptor, which a reference of the caller keeps open. If there is none, or a net.Conn
// has closed its own, f is not called.
func (c *connection) withDescriptor(f func(fd int)) {
	if fd := c.transport.fd(); fd >= 0 {
		f(fd)
	} else if raw, err := c.transport.rawConn(); err == nil {
		_ = raw.Control(func(fd uintptr) { f(int(fd)) }) // fails when it is closed
	}
}
