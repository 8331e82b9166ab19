package netpoll

// This file holds half-close and socket options, on every system.

import (
	"os"
	"time"

	"github.com/cloudwego/netpoll/internal/sock"
)

// CloseRead shuts down the reading side: reads return what is buffered and then io.EOF, and what the peer sends from
// then on is dropped. The writing side goes on, and the peer's end is noticed as before.
func (c *connection) CloseRead() error {
	if c.life.enter(0, phasePeerDone) != entered {
		return c.closedError("when close read")
	}
	defer c.leave(0)
	c.life.set(bitReadShut)
	c.reading.wake()
	if c.window.resume() {
		_ = c.transport.updateInterest()
	}
	return nil
}

// CloseWrite shuts down the writing side: the peer reads everything that was flushed and then the end of the stream.
// A Flush that is waiting, and later ones, fail with EPIPE and drop what was not sent. The reading side goes on. Over a
// [net.Conn] without a CloseWrite nothing happens, and the error Is [ErrUnsupported].
func (c *connection) CloseWrite() error {
	if c.life.enter(0, phasePeerDone) != entered {
		return c.closedError("when close write")
	}
	defer c.leave(0)
	if !c.transport.canCloseWrite() {
		return Exception(ErrUnsupported, "when close write")
	}
	old := c.life.set(bitWriteShut)
	c.writing.wake()
	if old.has(bitPending) {
		c.sendPending()
		return nil // whoever sends the last of what is pending ends the direction
	}
	if err := c.transport.closeWrite(); err != nil {
		if c.NetConn() != nil && !old.has(bitWriteShut) {
			c.life.clear(bitWriteShut) // nothing has ended, and the peer was told nothing
		}
		return err
	}
	return nil
}

// SetAllowHalfOpen says what the end of the peer's side does to a connection with an [OnRequest]; see
// [WithAllowHalfOpen], which does the same for all connections of a server. Others are always left to the one who reads
// them.
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

// File returns a duplicate of the descriptor as a file, as the connections of package net do, except that it stays
// non-blocking, also after its Fd. The two are closed each by itself; both act on the same socket, so reading from the
// file takes bytes away from the connection. If SO_LINGER is set with a time, closing the connection switches that off
// for both. Over a [net.Conn] it is that one's File, if it has one.
func (c *connection) File() (f *os.File, err error) {
	err = c.withTransport("when file", func() (err error) {
		f, err = c.transport.file(c.network + ":" + c.peerName())
		return err
	})
	return f, err
}

// withTransport runs f while the transport is held open, after pending output has been sent.
func (c *connection) withTransport(what string, f func() error) error {
	if c.life.enter(0, phasePeerDone) != entered {
		return c.closedError(what)
	}
	defer c.leave(0)
	c.sendPending()
	return f()
}

// withFd runs f while the descriptor is held open.
func (c *connection) withFd(what string, f func(fd int) error) error {
	if c.life.enter(0, phasePeerDone) != entered {
		return c.closedError(what)
	}
	defer c.leave(0)
	fd := c.transport.fd()
	if fd < 0 {
		return Exception(ErrUnsupported, what)
	}
	c.sendPending()
	return f(fd)
}

// SetKeepAlive sets the TCP keepalive time, in seconds, and switches keepalive on. It does nothing for 0 or less and
// for connections that are not TCP.
func (c *connection) SetKeepAlive(second int) error {
	if second <= 0 || c.network != "tcp" {
		return nil
	}
	return c.withTransport("when set keepalive", func() error { return c.transport.setKeepAlive(second) })
}

// SetIdleTimeout implements Connection.
func (c *connection) SetIdleTimeout(timeout time.Duration) error {
	if timeout <= 0 {
		return nil
	}
	return c.SetKeepAlive(sock.WholeSeconds(timeout))
}

// SetKeepAlive switches TCP keepalive on for a descriptor: after secs seconds without traffic the peer is probed, every
// secs seconds. secs is at least 1 and at most what the system takes (32767 on Linux). OpenBSD has one time for the
// whole system, and keeps it. Where package net owns the descriptors, as on Windows, the error Is [ErrUnsupported]; the
// method of the same name of a connection does work there.
func SetKeepAlive(fd, secs int) error { return asUnsupported(sock.SetKeepAlive(fd, secs)) }

// reportRaw tells a function of RawConn.Read that there is something for it.
func (c *connection) reportRaw() {
	if !c.window.paused.Swap(true) {
		if !c.once.Load() {
			_ = c.transport.updateInterest()
		}
		c.reading.wake()
	}
}
