package netpoll

// This file holds access to the descriptor: options, and functions of the user as package net has them, syscall.RawConn.
// A goroutine that reads from the descriptor past the input buffer holds off the poller, or the goroutine that reads
// from a net.Conn: otherwise bytes on their way from the socket to the buffer would be seen in neither.

import (
	"fmt"
	"net"
	"os"
	"syscall"
	"time"

	"github.com/cloudwego/netpoll/internal/interleave/atomic"
	"github.com/cloudwego/netpoll/internal/interleave/clock"
	"github.com/cloudwego/netpoll/internal/sock"
	"github.com/cloudwego/netpoll/internal/wait"
)

// File returns a duplicate of the descriptor as a file, as the connections of package net do, except that it stays
// non-blocking, also after its Fd. Each of the two is closed by itself; both act on the same socket, so reading from
// the file takes bytes away from the connection. If SO_LINGER is set with a time, closing the connection switches that
// off for both. Over a [net.Conn] it is the File of the net.Conn, if it has one.
func (c *connection) File() (f *os.File, err error) {
	err = c.withTransport("when file", func() (err error) {
		f, err = c.transport.file(c.network.Value() + ":" + c.peerName())
		return err
	})
	return f, err
}

// withTransport runs f while the transport is held open, after pending output has been sent.
func (c *connection) withTransport(what string, f func() error) error {
	if err := c.enterErr(0, what); err != nil {
		return err
	}
	defer c.leave(0)
	c.sendPending()
	return f()
}

// SetKeepAlive sets the TCP keepalive time, in seconds, and switches keepalive on. It does nothing for 0 or less and
// for connections that are not TCP.
func (c *connection) SetKeepAlive(second int) error {
	if second <= 0 || c.network.Value() != "tcp" {
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

// rawInput says whether a goroutine reads from the descriptor past the input buffer: a function of RawConn.Read, a
// copy, or IsHealthyForReuse. That goroutine is the holder, and has bitReading when the hold begins. While there is
// one, an event of input is reported to it and nothing is received.
//
// It need not be in the life word. The holder sets it and then waits for bitInPoll to be clear; the poller sets bitInPoll
// and then looks here. So either the poller sees the holder, or the holder waits for the poller to leave.
type rawInput struct{ state atomic.Uint32 }

const (
	rawFree  uint32 = iota // no holder: the poller receives
	rawHeld                // a holder
	rawReady               // a holder, and the poller has reported input since it was asked to
)

// hold makes the caller the holder. It returns false if there is one.
func (r *rawInput) hold() bool { return r.state.CompareAndSwap(rawFree, rawHeld) }

// free ends the hold. ready says that there is a report: then the transport has stopped watching.
func (r *rawInput) free() (ready bool) { return r.state.Swap(rawFree) == rawReady }

// askAgain forgets the report. It returns false if there is none.
func (r *rawInput) askAgain() bool { return r.state.CompareAndSwap(rawReady, rawHeld) }

func (r *rawInput) held() bool  { return r.state.Load() != rawFree }
func (r *rawInput) ready() bool { return r.state.Load() == rawReady }

// enterRaw enters as the reader and becomes the holder. A copy that is sending has given bitReading back and still holds.
func (c *connection) enterRaw() entry {
	e := c.life.use(bitReading)
	if e == entered && !c.raw.hold() {
		c.leave(bitReading)
		return entryBusy
	}
	return e
}

// endRaw gives the descriptor's input back to the connection. The caller has given bitReading back before, so that a
// handler that is called from then on finds it free. A handler that ran beside the holder found it taken, and left the
// input received before: it is called again. Like letInput, endRaw needs no reference: after stop both do nothing.
func (c *connection) endRaw() {
	if c.raw.free() {
		_ = c.transport.updateInterest()
	}
	c.triggerRequest(nil)
}

// reportRaw is called by the poller for an event of input. It returns false if there is no holder any more.
func (c *connection) reportRaw() bool {
	if !c.raw.state.CompareAndSwap(rawHeld, rawReady) {
		return c.raw.held()
	}
	if !c.once.Load() {
		_ = c.transport.updateInterest()
	}
	c.reading.Wake()
	return true
}

// holdInput waits until no goroutine receives any more. Since the caller is the holder, receiving stays off until letInput
// of the transport, which must follow if there is no error, and endRaw. holdInput gives up at the time that until returns.
func (c *connection) holdInput(until func() int64) error {
	if err := c.transport.holdInput(until()); err != nil {
		return err
	}
	w := c.reading.Start()
	defer c.reading.Stop(w)
	for c.life.load().has(bitInPoll) {
		deadline := until()
		if deadline <= clock.Now() {
			c.transport.letInput()
			return Exception(ErrReadTimeout, c.peerName())
		}
		w.Wait(deadline)
	}
	return nil
}

// beginRawRead enters for a function of RawConn.Read; endRawRead must follow. start is when the call began. It returns
// nil only if the function will see all unread input: none is buffered, or on its way to the buffer.
func (c *connection) beginRawRead(start int64) error {
	if err := c.refusal(c.enterRaw(), "when raw read"); err != nil {
		return err
	}
	err := c.holdInput(func() int64 { return c.reading.Until(start) })
	if err != nil {
		c.leave(bitReading)
		c.endRaw()
		return err
	}
	switch {
	case c.in.Len() > 0:
		err = fmt.Errorf("raw read: %w", ErrBufferedInput)
	case c.reading.Expired():
		err = Exception(ErrReadTimeout, c.peerName())
	}
	if err != nil {
		c.endRawRead()
	}
	return err
}

func (c *connection) endRawRead() {
	c.leave(bitReading)
	c.transport.letInput()
	c.endRaw()
}

// SyscallConn gives access to the descriptor, which cannot be closed while a function given to the result runs.
//
// The functions given to Read and Write are called again, when the descriptor is ready, until they return true; they
// must not block. Deadlines and timeouts limit the waiting, and Close ends it. Read counts as the one reader of the
// connection, Write as the one flush. While Read runs, arriving bytes are left to its function. If input is in the
// connection's buffer already, which the function would not see, it is not called and the error Is [ErrBufferedInput].
// So a function that looks whether the socket is silent, as those of connection pools do, tells the truth; see also
// IsHealthyForReuse.
//
// Control calls its function at once, whatever is buffered: it is for options. The connection does not see what the
// function receives from the descriptor, and the function does not see what the connection has received already. File
// is the same in this.
//
// Over a [net.Conn] it is the SyscallConn of the net.Conn, if it has one: then the deadline that holds when Read begins
// limits its waiting, and Write does not count as the one flush.
func (c *connection) SyscallConn() (syscall.RawConn, error) {
	if c.transport.fd() >= 0 {
		return rawConn{c}, nil
	}
	if err := c.enterErr(0, "when syscall conn"); err != nil {
		return nil, err
	}
	defer c.leave(0)
	below, err := c.transport.rawConn()
	if err != nil {
		return nil, err
	}
	return rawNetConn{below, c}, nil
}

// rawConn implements syscall.RawConn for a descriptor that a poller watches.
type rawConn struct{ c *connection }

var _ syscall.RawConn = rawConn{}

// Control implements syscall.RawConn.
func (r rawConn) Control(f func(fd uintptr)) error {
	return r.c.withTransport("when raw control", func() error {
		f(uintptr(r.c.transport.fd()))
		return nil
	})
}

// Read implements syscall.RawConn.
func (r rawConn) Read(f func(fd uintptr) (done bool)) error {
	c := r.c
	start := clock.Now()
	if err := c.beginRawRead(start); err != nil {
		return err
	}
	defer c.endRawRead()
	w := c.reading.Start()
	defer c.reading.Stop(w)
	for !c.callRaw(f) {
		if err := c.waitReadable(w, start); err != nil {
			return err
		}
	}
	return nil
}

// callRaw calls f and counts the call as traffic: the descriptor was ready.
func (c *connection) callRaw(f func(fd uintptr) (done bool)) (done bool) {
	defer c.touch()
	return f(uintptr(c.transport.fd()))
}

// waitReadable waits until the poller has reported the descriptor, which it then no longer watches. It returns an error
// if the caller must give up.
func (c *connection) waitReadable(w *wait.Waiter, start int64) error {
	if c.raw.askAgain() {
		if err := c.transport.updateInterest(); err != nil {
			return Exception(err, "when raw read")
		}
	}
	return c.waitAsHolder(w, start, c.raw.ready)
}

// waitAsHolder waits until ready returns true. It returns an error if the holder must give up: at the end of the input, or
// at the deadline of a call that began at start.
func (c *connection) waitAsHolder(w *wait.Waiter, start int64, ready func() bool) error {
	for !ready() {
		if b := c.life.load(); b.phase() >= phaseClosing || b.has(bitEnded|bitReadShut) {
			return c.inputOver()
		}
		deadline := c.reading.Until(start)
		if deadline <= clock.Now() {
			return Exception(ErrReadTimeout, c.peerName())
		}
		w.Wait(deadline)
	}
	return nil
}

// Write implements syscall.RawConn.
func (r rawConn) Write(f func(fd uintptr) (done bool)) error {
	c := r.c
	if err := c.enterErr(bitFlushing, "when raw write"); err != nil {
		return err
	}
	defer c.endOutput(bitFlushing)
	c.awaitPoller()
	if c.hasPending() {
		own := bitFlushing
		if _, err := c.send(nil, "when raw write", 0, &own); err != nil {
			return err
		}
	}
	for start := clock.Now(); !c.callRaw(f); {
		if err := c.waitRoom(start, "when raw write"); err != nil {
			return err
		}
	}
	return nil
}

// rawNetConn is the syscall.RawConn of a net.Conn whose input is buffered here.
type rawNetConn struct {
	syscall.RawConn
	c *connection
}

// Read implements syscall.RawConn.
func (r rawNetConn) Read(f func(fd uintptr) (done bool)) error {
	c := r.c
	if err := c.beginRawRead(clock.Now()); err != nil {
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

// NetConn returns the [net.Conn] that carries the connection, for methods that only the net.Conn has, such as the state
// of a TLS session. It must not be read from, written to, or closed. It is nil for a connection that a poller watches.
func (c *connection) NetConn() net.Conn { return c.transport.netConn() }
