package netpoll

// This file holds the input of a connection: receiving it when the transport reports it, waiting for it, and the
// methods of Reader and Read.

import (
	"errors"
	"io"
	"syscall"
)

const (
	// maxReceive is what a connection receives at once at most, unless a reader waits for more.
	maxReceive = 256 << 10
	// eagerReceive is what is set aside at once for a reader that waits for more. Beyond it no more is set aside than
	// has arrived already, because the number of bytes to wait for is often the peer's word.
	eagerReceive = 1 << 20
	// receiveBudget is what connections with much to receive may receive in one batch, all together, before those who
	// wait for the next one have their turn. Each receives once at least.
	receiveBudget = 512 << 10
)

// interest is what the transport should report now.
func (c *connection) interest() (ev pollEvent) {
	b := c.life.load()
	switch {
	case b.phase() >= phaseClosing && !b.has(bitPending):
		return 0 // nobody waits for room, and nothing is looked at any more
	case b.has(bitEnded | bitEOFHeld): // nothing more to learn but errors, which always are reported
	case b.phase() >= phaseClosing: // the same: it only sends its pending output
	case c.inputOff() && b.phase() >= phasePeerDone: // the same, until there is room again
	case c.inputOff():
		ev = evHup
	case c.once.Load():
		ev = evRead | evHup | evOnce
	default:
		ev = evRead | evHup
	}
	if c.wantWrite.Load() {
		ev |= evWrite
	}
	return ev
}

// inputOff reports whether input is not to be reported: there is no room for it, or the holder of the descriptor has a
// report already.
func (c *connection) inputOff() bool { return c.paused.Load() || c.raw.ready() }

// onPoll implements pollHandler.
func (c *connection) onPoll(ev pollEvent, b *batch) {
	last := phasePeerDone
	if c.life.load().has(bitPending) {
		last = phaseClosing
	}
	if c.life.enter(bitInPoll, last) != entered {
		c.dropInterest(ev)
		return
	}
	defer c.leave(bitInPoll)
	if ev&evDetached != 0 {
		c.close(causePoller)
		c.dropPending()
	}
	if ev&(evWrite|evErr) != 0 {
		if c.wantWrite.CompareAndSwap(true, false) {
			_ = c.transport.updateInterest()
			c.writing.wake()
		} else {
			c.dropInterest(ev &^ evRead)
		}
		c.sendPending()
	}
	if ev&evHup != 0 {
		c.hungUp.Store(true)
		if c.takesRest() {
			c.resumeInput()
		}
	}
	if ev&(evRead|evHup|evErr) != 0 {
		c.onReadable(ev&(evHup|evErr) != 0, b)
	}
}

// dropInterest ends reports that nobody wants. Whoever stopped wanting them will say so, when it has a processor; until
// then the same would be reported again and again. An end, without anything else, is reported once anyway.
func (c *connection) dropInterest(ev pollEvent) {
	if ev&(evRead|evWrite) != 0 {
		_ = c.transport.updateInterest()
	}
}

// onReadable receives until the transport is drained, the input is at its bound, or others must have their turn. hup
// says that the peer has ended its side; that may not be reported anew, so its end has to be reached now.
func (c *connection) onReadable(hup bool, b *batch) {
	switch bits := c.life.load(); {
	case bits.has(bitEnded) || bits.phase() >= phaseClosing:
		if !c.disarmed {
			c.disarmed = true
			_ = c.transport.updateInterest()
		}
		return
	case bits.has(bitEOFHeld):
		return
	case c.raw.held():
		if hup {
			c.peerClosed(0, false)
		}
		if c.reportRaw() {
			return
		}
	}
	for {
		if c.pauseInput() {
			if hup {
				c.peerClosed(0, false)
			}
			return
		}
		n, more, err := c.receive(b)
		if err != nil {
			if err == errHeldBack && c.holdBack(hup, b) {
				continue
			}
			if err != errHeldBack {
				c.receiveFailed(err)
			}
			return
		}
		if n == 0 || !more && !hup {
			return // drained; what comes later is reported anew
		}
		if !b.goesOn(n) {
			return // what is left is reported again
		}
	}
}

// receive receives once. What comes after CloseRead is dropped; it is received all the same, to learn of the end.
func (c *connection) receive(b *batch) (n int, more bool, err error) {
	if c.life.load().has(bitReadShut) {
		var dropped LinkBuffer
		n, more, err = c.transport.receive(&dropped, c.recvSize)
		_ = dropped.Close()
		return n, more, err
	}
	n, more, err = c.transport.receive(&c.in, c.receiveSize())
	if n > 0 {
		c.received(n, more, b)
	}
	return n, more, err
}

// received notes that n bytes have arrived; more says that there may be more.
func (c *connection) received(n int, more bool, b *batch) {
	c.adaptSize(n, more)
	c.inputArrived(b)
}

// receiveSize is how much to receive at once: what this connection usually gets; for a reader that waits for much, all
// that it still needs, so that it arrives in one piece; and never more than may be buffered.
func (c *connection) receiveSize() int {
	size := int64(c.recvSize)
	have := int64(c.in.Len())
	if missing := c.need.Load() - have; missing > size {
		size = min(missing, max(size, have, eagerReceive))
	}
	if bound := c.bound(); bound > 0 {
		size = min(size, max(bound-have, 1))
	}
	return int(size)
}

// bound is how much input may be buffered now; 0 if there is no bound.
func (c *connection) bound() int64 {
	limit := c.readLimit.Load()
	if limit <= 0 || c.takesRest() {
		return 0
	}
	return max(limit, c.allow.Load(), c.grant.Load())
}

// takesRest reports whether the bound does not count any more. When the peer has ended its side, what is left of the
// input is in the kernel, which has a bound of its own for it. A connection with an OnRequest takes it all at once, so
// that the end can be noticed: only then is the connection inactive, and OnDisconnect must not wait for a handler that
// reads no more. Only descriptors that wait to be read keep others behind them in the kernel.
func (c *connection) takesRest() bool {
	return c.hungUp.Load() && c.calls.onRequest.Load() != nil && !c.holdsControl()
}

// adaptSize lets the size follow what arrives: up at once, down when it is far too large.
func (c *connection) adaptSize(n int, full bool) {
	switch size := c.recvSize; {
	case full && n >= size && size < maxReceive:
		c.recvSize = size * 2
	case n < size/4 && size > c.recvBase:
		c.recvSize = size / 2
	}
}

// inputArrived wakes whom new input concerns.
func (c *connection) inputArrived(b *batch) {
	c.touch()
	if need := c.need.Load(); need > 0 { // the reader that waits is, or outranks, the handler
		if int64(c.in.Len()) >= need {
			c.reading.wake()
		}
		return
	}
	c.triggerRequest(b)
}

// receiveFailed is inputEnded for what a receive from a socket has returned. A socket tells of a reset only once. If it
// told a send, the receive finds the end of the stream, and only who sends knows that it is not in order.
func (c *connection) receiveFailed(err error) {
	if err == io.EOF && c.life.holdEOF() {
		_ = c.transport.updateInterest() // else it would be reported again and again
		return
	}
	c.inputEnded(err)
}

// inputEnded notes the end of the stream, or the error in its place.
func (c *connection) inputEnded(err error) {
	errno := asErrno(err)
	switch {
	case errno == syscall.EBADF: // the writing end of a pipe
		errno = 0
	case errno == 0 && err != io.EOF:
		errno = syscall.EIO
	}
	c.peerClosed(errno, true)
}

// pauseInput stops reading from the transport if the input is at its bound.
func (c *connection) pauseInput() bool {
	if !c.full() {
		return false
	}
	if c.paused.Swap(true) {
		return true // and not reported as readable since
	}
	if !c.full() && c.paused.CompareAndSwap(true, false) {
		return false // a reader made room before it could see the flag
	}
	_ = c.transport.updateInterest()
	return true
}

// full reports whether the input is at its bound.
func (c *connection) full() bool {
	bound := c.bound()
	return bound > 0 && !c.life.load().has(bitReadShut) && int64(c.in.Len()) >= bound
}

// resumeInput goes on reading from the transport when enough room was made. Readers call it after they consumed.
func (c *connection) resumeInput() {
	if !c.paused.Load() {
		return
	}
	limit, have := c.readLimit.Load(), int64(c.in.Len())
	if limit > 0 && have > limit/2 && have >= max(c.allow.Load(), c.grant.Load()) && !c.takesRest() {
		return
	}
	if c.paused.CompareAndSwap(true, false) {
		_ = c.transport.updateInterest()
	}
}

// beginRead enters as the one reader. That is possible while anything is left to read, even in a closed connection.
func (c *connection) beginRead() error {
	switch c.life.read() {
	case entryBusy:
		return Exception(ErrConcurrentAccess, "when read")
	case entryShut:
		return c.inputOver()
	}
	return nil
}

func (c *connection) endRead() {
	c.controlPassed()
	c.resumeInput()
	waited := c.waited
	c.waited = false
	c.leave(bitReading)
	if waited {
		c.triggerRequest(nil) // for what this reader, which had the first claim, has left
	}
	if c.owner != nil {
		c.closeIfDone()
	}
}

// waitInput returns when n bytes are buffered, or with the reason why they will not be. The caller is the reader. A
// start that is not 0 is when its call began.
func (c *connection) waitInput(n int, start int64) error {
	if c.in.Len() >= n {
		return nil
	}
	if start == 0 {
		start = now()
	}
	w := c.reading.startWaiting()
	before := c.in.received()
	c.allow.Store(int64(n))
	c.need.Store(int64(n))
	err := c.waitForNeed(w, n, start)
	c.stopNeeding(w)
	c.waited = c.in.received() != before
	return err
}

func (c *connection) stopNeeding(w *waiter) {
	c.need.Store(0)
	c.allow.Store(0)
	c.reading.stopWaiting(w)
}

func (c *connection) waitForNeed(w *waiter, n int, start int64) error {
	for {
		c.resumeInput()
		over := c.inputOver() // before the length: what came before the end counts
		if c.in.Len() >= n {
			return nil
		}
		if over != nil {
			return over
		}
		deadline := c.reading.until(start)
		if deadline != noDeadline && deadline <= now() {
			return Exception(ErrReadTimeout, c.peerName())
		}
		w.wait(deadline)
	}
}

// inputOver returns why no more input will come, or nil.
func (c *connection) inputOver() error {
	b := c.life.load()
	if b.phase() >= phaseClosing && (b.cause() != causePeer || !b.has(bitEnded)) {
		return c.closedError("when read")
	}
	if !b.has(bitEnded | bitReadShut) {
		return nil
	}
	if no := b.errno(); no != 0 {
		return c.endError(no, "when read")
	}
	return Exception(ErrEOF, "when read")
}

// withInput runs f as the reader when n bytes are there.
func withInput[T any](c *connection, n int, f func(in *LinkBuffer) (T, error)) (v T, err error) {
	return withInputSince(c, 0, n, f)
}

// withInputSince is withInput for a call that began at start.
func withInputSince[T any](c *connection, start int64, n int, f func(in *LinkBuffer) (T, error)) (v T, err error) {
	if n <= 0 {
		return v, nil
	}
	if err := c.beginRead(); err != nil {
		return v, err
	}
	defer c.endRead()
	if err := c.waitInput(n, start); err != nil {
		return v, err
	}
	return f(&c.in)
}

// Next implements Reader.
func (c *connection) Next(n int) (p []byte, err error) {
	return withInput(c, n, func(in *LinkBuffer) ([]byte, error) { return in.Next(n) })
}

// Peek implements Reader.
func (c *connection) Peek(n int) (buf []byte, err error) {
	return withInput(c, n, func(in *LinkBuffer) ([]byte, error) { return in.Peek(n) })
}

// Skip implements Reader.
func (c *connection) Skip(n int) (err error) {
	_, err = withInput(c, n, func(in *LinkBuffer) (struct{}, error) { return struct{}{}, in.Skip(n) })
	return err
}

// ReadString implements Reader.
func (c *connection) ReadString(n int) (s string, err error) {
	return withInput(c, n, func(in *LinkBuffer) (string, error) { return in.ReadString(n) })
}

// ReadBinary implements Reader.
func (c *connection) ReadBinary(n int) (p []byte, err error) {
	return withInput(c, n, func(in *LinkBuffer) ([]byte, error) { return in.ReadBinary(n) })
}

// ReadByte implements Reader.
func (c *connection) ReadByte() (b byte, err error) {
	return withInput(c, 1, func(in *LinkBuffer) (byte, error) { return in.ReadByte() })
}

// Slice implements Reader.
func (c *connection) Slice(n int) (r Reader, err error) {
	if n <= 0 {
		return NewLinkBuffer(), nil
	}
	return withInput(c, n, func(in *LinkBuffer) (Reader, error) { return in.Slice(n) })
}

// Len implements Reader. It may be called from any goroutine.
func (c *connection) Len() (length int) { return c.in.Len() }

// Release implements Reader. It does not wait.
func (c *connection) Release() (err error) {
	switch c.life.read() {
	case entryBusy:
		return Exception(ErrConcurrentAccess, "when release")
	case entryShut:
		return nil // it was released with the connection
	}
	defer c.endRead()
	return c.in.Release()
}

// Until implements Reader. Its timeout is for the whole call.
func (c *connection) Until(delim byte) (line []byte, err error) {
	if err := c.beginRead(); err != nil {
		return nil, err
	}
	defer c.endRead()
	return c.readUntil(delim)
}

func (c *connection) readUntil(delim byte) (line []byte, err error) {
	var w *waiter
	var start int64
	for seen := 0; ; {
		length := c.in.Len()
		if i := c.in.indexByte(delim, seen); i >= 0 {
			line, err = c.in.Next(i + 1)
			break
		}
		seen = length
		if w == nil {
			w, start = c.reading.startWaiting(), now()
		}
		c.allow.Store(int64(seen + max(seen, c.recvBase))) // nobody knows how far it is: double what was searched
		c.need.Store(int64(seen + 1))
		if err = c.waitForNeed(w, seen+1, start); err != nil {
			line, _ = c.in.Next(seen) // and not what has come meanwhile, which may have the delimiter
			break
		}
	}
	if w != nil {
		c.stopNeeding(w)
		c.waited = true
	}
	return line, err
}

// Read implements net.Conn. It returns what is there, and waits only if there is nothing. As in package net it fails
// once its deadline has passed, whatever is buffered.
func (c *connection) Read(p []byte) (n int, err error) {
	if len(p) == 0 {
		return 0, nil
	}
	return readSome(c, func(in *LinkBuffer) (int, error) { return in.readCopy(p), nil })
}

// readSome runs f, which copies input, when there is some. Several goroutines may call it; each has its turn.
func readSome[T any](c *connection, f func(in *LinkBuffer) (T, error)) (v T, err error) {
	start := c.reading.callStart()
	c.readers.Lock()
	defer c.readers.Unlock()
	v, err = withInputSince(c, start, 1, func(in *LinkBuffer) (v T, err error) {
		if c.reading.expired() && c.life.load().phase() < phaseClosing {
			return v, Exception(ErrReadTimeout, c.peerName())
		}
		return f(in)
	})
	if errors.Is(err, ErrEOF) {
		err = io.EOF
	}
	return v, err
}
