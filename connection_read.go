package netpoll

// This file holds reading: waiting for input, and the methods of Reader and Read. How input is received is in
// connection_input.go.

import (
	"errors"
	"io"

	"github.com/cloudwego/netpoll/internal/interleave/clock"
	"github.com/cloudwego/netpoll/internal/wait"
)

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
		c.triggerRequest(nil) // for input that this reader, which had the first claim, has left
	}
	if c.owner != nil {
		c.closeIfDone()
	}
}

// waitInput waits until n bytes are buffered, or returns the reason why they will not be. The caller is the reader.
// start is when its call began, or 0.
func (c *connection) waitInput(n int, start int64) error {
	if c.in.Len() >= n {
		return nil
	}
	if start == 0 {
		start = clock.Now()
	}
	w := c.reading.Start()
	before := c.in.received()
	c.window.await(n, n)
	err := c.waitForInput(w, n, start)
	c.stopNeeding(w)
	c.waited = c.in.received() != before
	return err
}

func (c *connection) stopNeeding(w *wait.Waiter) {
	c.window.awaitNothing()
	c.reading.Stop(w)
}

func (c *connection) waitForInput(w *wait.Waiter, n int, start int64) error {
	c.use()
	for {
		c.resumeInput()
		over := c.inputOver() // before the length: input from before the end counts
		if c.in.Len() >= n {
			return nil
		}
		if over != nil {
			return over
		}
		deadline := c.reading.Until(start)
		if deadline != wait.NoDeadline && deadline <= clock.Now() {
			return Exception(ErrReadTimeout, c.peerName())
		}
		if !c.pollInput(deadline) {
			w.Wait(deadline)
		}
	}
}

// pollInput looks for input that a transport may have without its poller, and reports whether some has come.
func (c *connection) pollInput(until int64) bool {
	if !c.calls.polls {
		return false
	}
	if wait.BeforeBlock != nil {
		wait.BeforeBlock() // a poller has others to serve
	}
	return c.transport.(pollingTransport).pollInput(until)
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
	var w *wait.Waiter
	var start int64
	for seen := 0; ; {
		length := c.in.Len()
		if i := c.in.indexByte(delim, seen); i >= 0 {
			line, err = c.in.Next(i + 1)
			break
		}
		seen = length
		if w == nil {
			w, start = c.reading.Start(), clock.Now()
		}
		c.window.await(seen+1, seen+max(seen, c.window.base)) // its distance is unknown: double what was searched
		if err = c.waitForInput(w, seen+1, start); err != nil {
			line, _ = c.in.Next(seen) // and not later input, which may have the delimiter
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
	start := c.reading.CallStart()
	c.readers.Lock()
	defer c.readers.Unlock()
	v, err = withInputSince(c, start, 1, func(in *LinkBuffer) (v T, err error) {
		if c.reading.Expired() && c.life.load().phase() < phaseClosing {
			return v, Exception(ErrReadTimeout, c.peerName())
		}
		return f(in)
	})
	if errors.Is(err, ErrEOF) {
		err = io.EOF
	}
	return v, err
}
