//go:build (linux && !netconn) || darwin || dragonfly || freebsd || netbsd || openbsd

package netpoll

// This file holds access to the descriptor by functions of the user, as package net has it: syscall.RawConn.

import (
	"syscall"
)

// SyscallConn gives access to the descriptor, which cannot be closed while a function given to the result runs.
//
// The functions given to Read and Write are called again, when the descriptor is ready, until they return true; they
// must not block. Deadlines and timeouts bound the waiting, and Close ends it. Read counts as the one reader of the
// connection, Write as the one that flushes. While Read runs, arriving bytes are left to its function. If input is in
// the connection's buffer already, which the function would not see, it is not called and the error Is
// [ErrBufferedInput]. So a function that looks whether the socket is silent, as those of connection pools do, tells the
// truth; see also IsHealthyForReuse.
//
// Control calls its function at once, whatever is buffered: it is for options. What it receives from the descriptor, the
// connection does not see, and what the connection has received already, it does not see; the same holds for File.
func (c *connection) SyscallConn() (syscall.RawConn, error) {
	if c.NetConn() != nil {
		return c.netSyscallConn()
	}
	return rawConn{c}, nil
}

// rawConn implements syscall.RawConn.
type rawConn struct{ c *connection }

var _ syscall.RawConn = rawConn{}

// Control implements syscall.RawConn.
func (r rawConn) Control(f func(fd uintptr)) error {
	return r.c.withFd("when raw control", func(fd int) error {
		f(uintptr(fd))
		return nil
	})
}

// Read implements syscall.RawConn.
func (r rawConn) Read(f func(fd uintptr) (done bool)) error {
	c := r.c
	start := now()
	if err := c.beginRawRead(start); err != nil {
		return err
	}
	defer c.endRawRead()
	w := c.reading.startWaiting()
	defer c.reading.stopWaiting(w)
	for !c.callRaw(f) {
		if err := c.waitReadable(w, start); err != nil {
			return err
		}
	}
	return nil
}

// callRaw calls f, which is taken to have moved something: it was called because it could.
func (c *connection) callRaw(f func(fd uintptr) (done bool)) (done bool) {
	defer c.touch()
	return f(uintptr(c.transport.fd()))
}

// waitReadable waits until the poller has reported the descriptor, which it then watches no more, or for a reason to
// give up.
func (c *connection) waitReadable(w *waiter, start int64) error {
	if c.window.resume() {
		if err := c.transport.updateInterest(); err != nil {
			return Exception(err, "when raw read")
		}
	}
	return c.waitReport(w, start)
}

// waitReport waits until the poller has reported input to the one that has bitRaw, or for a reason to give up.
func (c *connection) waitReport(w *waiter, start int64) error {
	for !c.window.paused.Load() {
		if b := c.life.load(); b.phase() >= phaseClosing || b.has(bitEnded|bitReadShut) {
			return c.inputOver()
		}
		deadline := c.reading.until(start)
		if deadline <= now() {
			return Exception(ErrReadTimeout, c.peerName())
		}
		w.wait(deadline)
	}
	return nil
}

// Write implements syscall.RawConn.
func (r rawConn) Write(f func(fd uintptr) (done bool)) error {
	c := r.c
	switch c.life.enter(bitFlushing, phasePeerDone) {
	case entryBusy:
		return Exception(ErrConcurrentAccess, "when raw write")
	case entryShut:
		return c.closedError("when raw write")
	}
	defer c.closeIfDone()
	defer c.resumePending()
	defer c.leave(bitFlushing)
	defer c.finishPending()
	c.awaitPoller()
	if c.hasPending() {
		own := bitFlushing
		if _, err := c.send(nil, "when raw write", 0, &own); err != nil {
			return err
		}
	}
	for start := now(); !c.callRaw(f); {
		if err := c.waitRoom(start, "when raw write"); err != nil {
			return err
		}
	}
	return nil
}
