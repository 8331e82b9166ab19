package netpoll

// This file holds the output of a connection: the methods of Writer, and sending with its waiting for room.
//
// The flushing goroutine sends by itself, or leaves all its output to the poller: see connection_pending.go. After a
// timeout no other goroutine sends the rest, and the output of two calls is never mixed.

import (
	"errors"
	"io"
	"syscall"

	"github.com/cloudwego/netpoll/internal/errno"
	"github.com/cloudwego/netpoll/internal/interleave/clock"
	"github.com/cloudwego/netpoll/internal/wait"
)

// beginWrite enters as the goroutine that fills the output.
func (c *connection) beginWrite(what string) error {
	return c.enterErr(bitProducing, what)
}

// Malloc implements Writer.
func (c *connection) Malloc(n int) (buf []byte, err error) {
	if err := c.beginWrite("when malloc"); err != nil {
		return nil, err
	}
	defer c.leave(bitProducing)
	return c.out.Malloc(n)
}

// MallocLen implements Writer.
func (c *connection) MallocLen() (length int) {
	if c.beginWrite("") != nil {
		return 0
	}
	defer c.leave(bitProducing)
	return c.out.MallocLen()
}

// MallocAck implements Writer.
func (c *connection) MallocAck(n int) (err error) {
	if err := c.beginWrite("when malloc ack"); err != nil {
		return err
	}
	defer c.leave(bitProducing)
	return c.out.MallocAck(n)
}

// Append implements Writer.
func (c *connection) Append(w Writer) (err error) {
	if err := c.beginWrite("when append"); err != nil {
		return err
	}
	defer c.leave(bitProducing)
	return c.out.Append(w)
}

// WriteString implements Writer.
func (c *connection) WriteString(s string) (n int, err error) {
	if err := c.beginWrite("when write string"); err != nil {
		return 0, err
	}
	defer c.leave(bitProducing)
	return c.out.WriteString(s)
}

// WriteBinary implements Writer.
func (c *connection) WriteBinary(b []byte) (n int, err error) {
	if err := c.beginWrite("when write binary"); err != nil {
		return 0, err
	}
	defer c.leave(bitProducing)
	return c.out.WriteBinary(b)
}

// WriteDirect implements Writer.
func (c *connection) WriteDirect(p []byte, remainCap int) (err error) {
	if err := c.beginWrite("when write direct"); err != nil {
		return err
	}
	defer c.leave(bitProducing)
	return c.out.WriteDirect(p, remainCap)
}

// WriteByte implements Writer.
func (c *connection) WriteByte(b byte) (err error) {
	if err := c.beginWrite("when write byte"); err != nil {
		return err
	}
	defer c.leave(bitProducing)
	return c.out.WriteByte(b)
}

// Flush implements Writer. It returns nil when every byte is in the kernel, and waits while the socket is full, until
// the write timeout or deadline. Unsent output stays queued, in order, and the next Flush sends it first.
//
// While its poller works on a batch, a Flush of at most 64 KiB that points to no memory of the user may return before the
// kernel has the bytes: the poller sends them at the end of the batch, with those of others. They go before everything
// written later and before the end that Close and CloseWrite make. If that fails the next Flush or Write says so, and
// Close. [WithDirectFlush] and [Config] switch this off.
func (c *connection) Flush() error {
	_, err := c.submit(nil, "when flush", 0)
	return err
}

// Write implements net.Conn: it sends the output that is pending in Writer and then p, and returns how many bytes of p
// the kernel took. The rest of p is not sent later.
func (c *connection) Write(p []byte) (n int, err error) {
	start := c.writing.CallStart()
	c.writers.Lock()
	defer c.writers.Unlock()
	return c.submit(p, "when write", start)
}

// submit sends everything that was written so far, and extra behind it. start is when the call began, or 0.
func (c *connection) submit(extra []byte, what string, start int64) (n int, err error) {
	if err := c.enterErr(bitProducing|bitFlushing, what); err != nil {
		return 0, err
	}
	c.awaitPoller()
	own := bitProducing | bitFlushing
	if err = c.out.Flush(); err == nil {
		if len(extra) == 0 && c.leaveToPoller() {
			return 0, nil
		}
		n, err = c.send(extra, what, start, &own)
	}
	c.endOutput(own)
	return n, err
}

// sendBehind sends pending output, as Write does, and then calls more, which sends by itself. more gets the start of
// the call and the sides that it owns. Several goroutines may call sendBehind; they take turns.
func (c *connection) sendBehind(what string, more func(start int64, own *lifeBits) error) error {
	start := c.writing.CallStart()
	c.writers.Lock()
	defer c.writers.Unlock()
	if err := c.enterErr(bitProducing|bitFlushing, what); err != nil {
		return err
	}
	c.awaitPoller()
	own := bitProducing | bitFlushing
	err := c.out.Flush()
	if err == nil {
		if _, err = c.send(nil, what, start, &own); err == nil {
			err = more(start, &own)
		}
	}
	c.endOutput(own)
	return err
}

// send sends the queued output and extra. It owns the sides in own; while it waits, others may fill the output.
func (c *connection) send(extra []byte, what string, start int64, own *lifeBits) (n int, err error) {
	switch b := c.life.load(); {
	case b.has(bitSendFailed):
		c.dropOutput()
		return 0, Exception(c.brokenBy(syscall.EPIPE), what)
	case b.has(bitWriteShut):
		return 0, c.afterCloseWrite(what)
	}
	if c.writing.Expired() {
		return 0, Exception(ErrWriteTimeout, what+" "+c.peerName())
	}
	if start == 0 && c.transport.blocks() {
		start = clock.Now()
	}
	v := getVector()
	defer putVector(v)
	for c.out.Len() > 0 || n < len(extra) {
		fillVector(v, &c.out, extra[n:])
		sent, err := c.call(v, start)
		queued := min(sent, c.out.Len())
		if err := c.dequeue(queued); err != nil {
			return n, err
		}
		n += sent - queued
		switch {
		case sent > 0:
			c.touch()
		case err == errWouldBlock:
			if start == 0 {
				start = clock.Now()
			}
			if *own != bitFlushing {
				c.life.clear(bitProducing)
				*own = bitFlushing
			}
			if err := c.waitRoom(start, what); err != nil {
				return n, err
			}
		case err != nil:
			return n, c.sendFailed(err, what)
		}
	}
	return n, nil
}

// call makes the transport send. After an error other than errWouldBlock, sendFailed must follow.
func (c *connection) call(v *vector, start int64) (n int, err error) {
	c.life.set(bitSendInFlight)
	n, err = c.transport.send(v, start)
	if err == nil || err == errWouldBlock {
		c.called()
	}
	return n, err
}

// called ends a call.
func (c *connection) called() {
	if c.life.sendReturned() {
		c.inputEnded(io.EOF)
	}
}

// dequeue forgets n bytes of the output that were sent.
func (c *connection) dequeue(n int) error {
	if n == 0 {
		return nil
	}
	if err := c.out.Skip(n); err != nil {
		return err
	}
	return c.out.Release()
}

// waitRoom waits until the transport may take more.
func (c *connection) waitRoom(start int64, what string) error {
	w := c.writing.Start()
	defer c.writing.Stop(w)
	c.wantWrite.Store(true)
	if err := c.transport.updateInterest(); err != nil {
		return Exception(err, what)
	}
	for c.wantWrite.Load() {
		switch b := c.life.load(); {
		case b.phase() >= phaseClosing:
			return c.closedError(what)
		case b.has(bitWriteShut):
			return c.afterCloseWrite(what)
		}
		deadline := c.writing.Until(start)
		if deadline != wait.NoDeadline && deadline <= clock.Now() {
			if !c.wantWrite.CompareAndSwap(true, false) {
				return nil // there is room after all
			}
			_ = c.transport.updateInterest()
			return Exception(ErrWriteTimeout, what+" "+c.peerName())
		}
		w.Wait(deadline)
	}
	return nil
}

// sendFailed marks the connection as broken, if err says so, and ends the call to the transport. It returns the
// caller's error.
func (c *connection) sendFailed(err error, what string) error {
	defer c.called()
	no := asErrno(err)
	if no == ErrConnClosed { // a net.Conn was stopped: the connection was closed meanwhile
		return c.closedError(what)
	}
	if no == 0 {
		if errors.Is(err, ErrConnClosed) { // that of a net.Conn
			c.dropOutput()
			c.peerClosed(syscall.EIO, false)
		}
		return Exception(err, what)
	}
	if errno.EndsConnection(no) {
		c.dropOutput()
	}
	switch {
	case no == syscall.EPIPE && c.life.load().has(bitWriteShut): // this side asked for it
	case no == syscall.EPIPE: // the reading side knows, or will know, why it is broken
		c.peerClosed(0, false)
		no = c.brokenBy(no)
	case errno.EndsConnection(no):
		c.peerClosed(no, false)
	}
	return Exception(no, what)
}

// brokenBy is the error that broke the connection, or no if it is not known.
func (c *connection) brokenBy(no syscall.Errno) syscall.Errno {
	if first := c.life.load().errno(); first != 0 {
		return first
	}
	return no
}

// afterCloseWrite drops output that was written too late, unless earlier output is still pending.
func (c *connection) afterCloseWrite(what string) error {
	if !c.hasPending() {
		c.dropOutput()
	}
	return Exception(syscall.EPIPE, what)
}

// dropOutput drops output that can never be sent. The caller is the sending goroutine.
func (c *connection) dropOutput() {
	_ = c.dequeue(c.out.Len())
}
