//go:build (linux && !netconn) || darwin || dragonfly || freebsd || netbsd || openbsd

package netpoll

// This file holds the transport of Unix connections: a socket whose control data, descriptors above all, is received
// with the bytes it came with and kept until they are read. The kernel drops control data that a receive does not ask
// for, so receiving ahead of the program without asking would lose it.

import (
	"io"

	"github.com/cloudwego/netpoll/internal/interleave/atomic"
	"github.com/cloudwego/netpoll/internal/sock"
)

// maxMessage limits one receive, because its bytes may be copied twice.
const maxMessage = 256 << 10

// unixStream is what a UnixConnection embeds: a stream, and the control data that is kept.
type unixStream struct {
	streamConnection
	control unixSocket
}

// unixSocket is part of each UnixConnection.
type unixSocket struct {
	*socket
	c    *connection                 // its upper layer
	keep atomic.Bool                 // control data is kept; stored by KeepDescriptors and the server
	held atomic.Pointer[heldControl] // stored by the receiving goroutine; taken by the reader, or by release
}

// heldControl is control data that waits for the bytes it came with, those from start to end of the input. It belongs
// to the goroutine that has taken it out of unixSocket.held.
type heldControl struct {
	start, end uint64
	sock.Control
}

// lost returns the mark that stands for h when it has been closed.
func (h *heldControl) lost() *heldControl {
	return &heldControl{start: h.start, end: h.end, Control: h.Lost()}
}

const (
	// plainFlags are the flags of a message without control data.
	plainFlags = sock.PlainFlags
	// tellsSender: a message tells the peer's address.
	tellsSender = sock.TellsSender
	// receivesControl: control data can be received.
	receivesControl = true
)

var (
	_ transport     = (*unixSocket)(nil)
	_ batchReceiver = (*unixSocket)(nil)
	_ messenger     = (*unixSocket)(nil)
)

// init makes s the transport of c.
func (s *unixSocket) init(c *connection) {
	s.socket, s.c = &c.common, c
	s.keep.Store(true)
	c.transport = s
}

// start implements transport.
func (s *unixSocket) start() error { return s.startFor(s) }

// onPoll implements pollHandler.
func (s *unixSocket) onPoll(ev pollEvent, b *batch) {
	s.watch.servedBy(b)
	deliver(s, s.up, ev, b)
}

// beginReceive implements batchReceiver: a batch has no place for control data.
func (s *unixSocket) beginReceive(ev pollEvent) (fd int, p []byte, ok bool) {
	if s.keep.Load() {
		return 0, nil, false
	}
	return s.socket.beginReceive(ev)
}

// receive implements receiver. It receives control data with the bytes that it came with. After CloseRead both are
// dropped.
func (s *unixSocket) receive(p []byte) (n int, full bool, err error) {
	if !s.keep.Load() || s.c.life.load().has(bitReadShut) {
		return s.socket.receive(p)
	}
	p = p[:min(len(p), maxMessage)] // the rest of the memory is for later messages
	n, c, err := sock.RecvMessage(s.sysfd, p, s.held.Load() == nil)
	s.watch.countReceived(n)
	if !c.Empty() { // before the bytes are published: a reader may then read past it
		start := s.c.in.received()
		s.held.Store(&heldControl{start: start, end: start + uint64(n), Control: c})
	}
	switch {
	case err == sock.ErrWouldBlock:
		return 0, false, nil
	case err != nil:
		return 0, false, err
	case n == 0:
		return 0, false, io.EOF
	}
	return n, true, nil // a message may have ended it
}

// take returns the control data that comes with one of the n bytes that are read next, and how many of them may be
// read with it. The caller is the reader.
func (s *unixSocket) take(n int) (h *heldControl, most int) {
	h = s.held.Load()
	at := s.c.in.consumed()
	if h == nil || at+uint64(n) <= h.start || !s.held.CompareAndSwap(h, nil) {
		return nil, n
	}
	return h, min(n, int(h.end-at))
}

// passed closes descriptors that came with bytes that were consumed. The caller is the reader.
func (s *unixSocket) passed() {
	if h := s.held.Load(); h != nil && s.c.in.consumed() > h.start && s.held.CompareAndSwap(h, nil) {
		h.Close()
	}
}

// drop closes the held descriptors.
func (s *unixSocket) drop() {
	if h := s.held.Swap(nil); h != nil {
		h.Close()
	}
}

// release implements transport. It leaves a mark for the reader of the bytes that their control data is lost.
func (s *unixSocket) release(keep bool) error {
	if h := s.held.Load(); h != nil && s.held.CompareAndSwap(h, h.lost()) {
		h.Close()
	}
	return s.socket.release(keep)
}

// keepControl implements KeepDescriptors.
func (c *UnixConnection) keepControl(keep bool) { c.control.keep.Store(keep) }

// takeMessage reads buffered input, of which there is some, into b, and the control data that came with it into oob.
func (c *UnixConnection) takeMessage(in *LinkBuffer, b, oob []byte) (m message) {
	m.flags = plainFlags
	h, most := c.control.take(min(len(b), in.Len()))
	m.n = in.readCopy(b[:most])
	if h != nil && c.life.load().phase() >= phaseClosing { // the release may still have to come
		h.Close()
		h = h.lost()
	}
	if h != nil {
		m.oobn, m.flags = h.HandOver(oob)
	}
	return m
}

// sendMessage implements messenger.
func (s *unixSocket) sendMessage(b, oob []byte, _ int64) (n int, err error) {
	n, err = sock.SendMessage(s.sysfd, b, oob)
	s.watch.countSent(n)
	return n, err
}

// dropsControl makes a served connection keep no control data, unless its program asks for it.
func (c *connection) dropsControl() {
	if u, ok := c.self.(*UnixConnection); ok {
		u.control.keep.Store(false)
	}
}

// holdsControl reports whether control data waits to be read.
func (c *connection) holdsControl() bool {
	u, ok := c.self.(*UnixConnection)
	return ok && u.control.held.Load() != nil
}

// controlPassed is called when the reader has consumed something.
func (c *connection) controlPassed() {
	if u, ok := c.self.(*UnixConnection); ok {
		u.control.passed()
	}
}

// holdBack stops receiving until the reader has come to the control data that is held. It returns true if receiving may
// go on: nothing is held any more, or a reader waits for more than has arrived, which cannot come before the held
// control data is gone.
func (c *connection) holdBack(hup bool, b *batch) (goOn bool) {
	u, ok := c.self.(*UnixConnection)
	if !ok {
		return false
	}
	paused := c.window.paused.Swap(true)
	waiting := max(c.window.lowWater.Load(), c.window.handlerQuota.Load()) > int64(c.in.Len())
	if (waiting || u.control.held.Load() == nil) && c.window.resume() {
		u.control.drop()
		return true
	}
	if !paused { // else the poller would report the end again and again
		_ = c.transport.updateInterest()
	}
	if hup {
		c.peerClosed(0, false)
	}
	c.triggerRequest(b) // a handler that waits by returning has to run again
	return false
}
