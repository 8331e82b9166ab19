//go:build !netconn && !kqsim

package netpoll

// This file holds copying by the kernel: from a connection, through a pipe, to another. The copying goroutine is the
// holder of the descriptor's input for the whole copy, so that the poller reports input to it and receives none. It has
// bitReading, with its reference, only while it takes bytes, so that a connection that is closed meanwhile ends at
// once.
//
// Small pieces are copied and large ones spliced: below a few pages one more system call costs more than copying.

import (
	"errors"
	"io"
	"math"
	"syscall"

	"github.com/cloudwego/netpoll/internal/interleave/atomic"
	"github.com/cloudwego/netpoll/internal/interleave/clock"
	"github.com/cloudwego/netpoll/internal/sock"
)

const (
	// spliceFrom is the size of a received piece from which on the next one is spliced.
	spliceFrom = 16 << 10
	// A spliced piece of less than fewBytes had better been copied. After manyPieces of them in turn pieces are copied.
	fewBytes, manyPieces = 8 << 10, 4
)

// oneShot says that input is to be reported once, and then not before it is asked for again. Stored by the copying
// goroutine.
type oneShot = atomic.Bool

// moveFrom is ReadFrom for bytes that the kernel can move by itself, limit bytes at most. If done is false the rest,
// after n bytes, is to be copied.
func (c *connection) moveFrom(r io.Reader, limit int64) (n int64, done bool, err error) {
	if c.transport.fd() < 0 {
		return 0, false, nil
	}
	if src := ownStream(r); src != nil {
		return src.copyTo(copyTarget{own: c}, limit)
	}
	if conn := netStream(r); conn != nil {
		return c.copyFromNet(conn, limit)
	}
	if file := regularFile(r); file != nil {
		return c.sendFile(file, limit)
	}
	return 0, false, nil
}

// moveTo is WriteTo for bytes that the kernel can move by itself.
func (c *connection) moveTo(w io.Writer, limit int64) (n int64, done bool, err error) {
	if c.transport.fd() < 0 {
		return 0, false, nil
	}
	if dst := ownStream(w); dst != nil {
		return c.copyTo(copyTarget{own: dst}, limit)
	}
	conn := netStream(w)
	if conn == nil {
		return 0, false, nil
	}
	raw, err := conn.SyscallConn()
	if err != nil {
		return 0, false, nil // Write returns the reason
	}
	return c.copyTo(copyTarget{conn: conn, raw: raw}, limit)
}

// mover moves bytes to a socket, one system call at a time.
type mover interface {
	// move moves some bytes; done says that they were the last. errWouldBlock: there is no room. sock.ErrCannotSplice:
	// they have to be moved in another way.
	move(fd int) (n int, done bool, err error)
	// pausing is called before the sender waits for room.
	pausing()
}

// passage is the part of a copy that is the same for every source.
type passage struct {
	dst   copyTarget
	pipe  *sock.Pipe
	bytes []byte // to be sent instead of the bytes in the pipe, if there are any
	left  int64  // how much may still be copied
	moved int64
	plain bool // the kernel has refused to splice
}

// move implements mover.
func (p *passage) move(fd int) (n int, done bool, err error) {
	if len(p.bytes) == 0 {
		n, err = p.pipe.Drain(fd)
		return n, p.pipe.Len() == 0, err
	}
	n, err = sock.Send(fd, p.bytes)
	p.bytes = p.bytes[n:]
	return n, len(p.bytes) == 0, err
}

// send sends the bytes that were taken, by m. It copies those that cannot be spliced any more.
func (p *passage) send(m mover) error {
	err := p.sendOnce(m)
	for err == sock.ErrCannotSplice {
		p.plain = true
		err = p.copyPipe(m)
	}
	return err
}

func (p *passage) sendOnce(m mover) error {
	n, err := p.dst.send(m)
	p.moved += n
	p.left -= n
	return err
}

// copyPipe sends the bytes in the pipe by way of memory.
func (p *passage) copyPipe(m mover) error {
	block := newBlock(copyBlock)
	defer block.free()
	for p.pipe.Len() > 0 {
		n, err := p.pipe.Read(block.buf[:copyBlock])
		if err != nil {
			return err
		}
		p.bytes = block.buf[:n]
		if err := p.sendOnce(m); err != nil {
			return err
		}
	}
	return nil
}

// ready reports whether the next piece can be spliced.
func (p *passage) ready() bool {
	if p.pipe == nil && !p.plain {
		p.pipe = sock.GetPipe()
	}
	return p.pipe != nil && !p.plain
}

func (p *passage) putPipe() {
	if p.pipe != nil {
		p.pipe.Put()
		p.pipe = nil
	}
}

// sendBy sends pending output, as Write does, and behind it all that m moves. While it waits for room its timeout
// counts from the last byte that was taken.
func (c *connection) sendBy(m mover, what string) (n int64, err error) {
	err = c.sendBehind(what, func(_ int64, own *lifeBits) error {
		n, err = c.moveAll(m, what, own)
		return err
	})
	return n, err
}

// moveAll is send for the bytes that m moves.
func (c *connection) moveAll(m mover, what string, own *lifeBits) (n int64, err error) {
	for done := false; !done; {
		switch b := c.life.load(); {
		case b.phase() >= phaseClosing:
			return n, c.closedError(what)
		case b.has(bitSendFailed):
			return n, Exception(c.brokenBy(syscall.EPIPE), what)
		case c.writing.Expired():
			return n, Exception(ErrWriteTimeout, what+" "+c.peerName())
		}
		var moved int
		moved, done, err = c.callMover(m)
		c.common.watch.countSent(moved)
		if moved > 0 {
			n += int64(moved)
			c.touch()
		}
		switch err {
		case nil:
		case errWouldBlock:
			if *own != bitFlushing {
				c.life.clear(bitProducing)
				*own = bitFlushing
			}
			m.pausing()
			if err := c.waitRoom(clock.Now(), what); err != nil {
				return n, err
			}
		case sock.ErrCannotSplice:
			return n, err
		default:
			return n, c.sendFailed(err, what)
		}
	}
	return n, nil
}

// callMover is call for a mover.
func (c *connection) callMover(m mover) (n int, done bool, err error) {
	c.life.set(bitSendInFlight)
	n, done, err = m.move(c.transport.fd())
	if err == nil || err == errWouldBlock || err == sock.ErrCannotSplice {
		c.called()
	}
	return n, done, err
}

// copyTo copies arriving bytes to dst.
func (c *connection) copyTo(dst copyTarget, limit int64) (n int64, done bool, err error) {
	k := &connectionCopy{src: c, passage: passage{dst: dst, left: limit}}
	c.readers.Lock()
	defer c.readers.Unlock()
	switch c.enterRaw() {
	case entryBusy:
		return 0, true, Exception(ErrConcurrentAccess, "when read")
	case entryShut:
		return 0, false, nil // the rest can be read, and then Read returns the reason
	}
	k.holding = true
	defer k.end()
	start := clock.Now()
	err = c.holdInput(func() int64 { return c.reading.Until(start) })
	for k.left > 0 && err == nil {
		err = k.step()
	}
	if errors.Is(err, ErrEOF) {
		err = nil
	}
	return k.moved, true, err
}

// connectionCopy is one copy from a connection of this package.
type connectionCopy struct {
	passage
	src     *connection
	holding bool // bitReading, and the reference that comes with it
	drained bool // the last receive left nothing
	wide    bool // pieces are large enough to be spliced
	narrow  int  // how many spliced pieces in turn were small
	watched bool // the peer's end is reported, although input is not
}

// step takes bytes and sends them, or waits for some. Its errors are those of Read and Write; ErrEOF is the end.
func (k *connectionCopy) step() error {
	if err := k.src.nothingToCopy(); err != nil {
		return err
	}
	switch {
	case k.src.in.Len() > 0:
		return k.passBuffered()
	case k.drained:
		k.drained, k.watched = false, false
		k.putPipe()
		return k.src.waitArrival()
	case k.wide && k.ready():
		return k.passSpliced()
	}
	return k.receive()
}

// nothingToCopy returns why no more is to be copied, or nil.
func (c *connection) nothingToCopy() error {
	switch {
	case c.life.load().phase() >= phaseClosing:
		return c.inputOver()
	case c.reading.Expired():
		return Exception(ErrReadTimeout, c.peerName())
	case c.in.Len() == 0:
		return c.inputOver()
	}
	return nil
}

// passBuffered sends bytes of the input.
func (k *connectionCopy) passBuffered() error {
	size := int(min(int64(k.src.in.Len()), k.left, copyBlock))
	block := newBlock(size)
	defer block.free()
	k.bytes = block.buf[:k.src.in.readCopy(block.buf[:size])]
	k.src.controlPassed()
	k.src.resumeInput()
	return k.pass()
}

// passSpliced sends bytes that have arrived, and stay in the kernel.
func (k *connectionCopy) passSpliced() error {
	n, err := k.pipe.Fill(k.src.transport.fd(), int(min(k.left, math.MaxInt32)))
	k.src.common.watch.countReceived(n)
	switch {
	case err == errWouldBlock:
		k.drained = true
		return nil
	case err == sock.ErrCannotSplice:
		k.plain = true
		return nil
	case err != nil:
		return k.src.copyEnded(err)
	case n == 0:
		return k.src.copyEnded(io.EOF)
	}
	k.src.touch()
	if n >= fewBytes {
		k.narrow = 0
	} else if k.narrow++; k.narrow == manyPieces {
		k.wide = false
	}
	return k.pass()
}

// receive takes bytes that have arrived into the input.
func (k *connectionCopy) receive() error {
	c := k.src
	n, more, err := c.transport.(receiver).receive(c.room(sock.MaxTransfer))
	c.put(n)
	if err == sock.ErrHeldBack { // the bytes before it have been copied
		c.controlPassed()
		return nil
	}
	if err != nil {
		return c.copyEnded(err)
	}
	k.drained = !more
	if n > 0 {
		c.touch()
		c.window.adapt(n, more)
	}
	if n >= spliceFrom {
		k.wide, k.narrow = true, 0
	}
	return nil
}

// pass sends the bytes that were taken. This may take long, and the source may be closed meanwhile.
func (k *connectionCopy) pass() error {
	k.holding = false
	k.src.leave(bitReading)
	if err := k.send(k); err != nil {
		return err
	}
	switch k.src.life.use(bitReading) {
	case entryBusy:
		return Exception(ErrConcurrentAccess, "when read")
	case entryShut:
		return k.src.inputOver()
	}
	k.holding = true
	return nil
}

// pausing implements mover. While the copy waits for room, the poller must still report the end of the source.
func (k *connectionCopy) pausing() {
	if !k.watched && k.src.raw.ready() && k.src.once.Load() {
		k.watched = true
		_ = k.src.transport.updateInterest()
	}
}

// waitArrival waits until the poller has reported input, which it does once, or for a reason to give up.
func (c *connection) waitArrival() error {
	w := c.reading.Start()
	defer c.reading.Stop(w)
	start := clock.Now()
	c.once.Store(true)
	c.raw.askAgain()
	if err := c.transport.updateInterest(); err != nil {
		return Exception(err, "when read")
	}
	return c.waitAsHolder(w, start, c.raw.ready)
}

// copyEnded notes the end that was found instead of bytes, and waits until its meaning is known.
func (c *connection) copyEnded(err error) error {
	w := c.reading.Start()
	defer c.reading.Stop(w)
	start := clock.Now()
	c.receiveFailed(err)
	return c.waitAsHolder(w, start, func() bool { return false })
}

// end gives the input back to the connection.
func (k *connectionCopy) end() {
	c := k.src
	k.putPipe()
	own := bitReading
	if !k.holding {
		own = 0
		if c.life.use(own) != entered {
			c.raw.free() // it is closed
			return
		}
	}
	once := c.once.Swap(false)
	if c.raw.free() || once {
		_ = c.transport.updateInterest()
	}
	c.leave(own)
	c.triggerRequest(nil) // for input that was received and not copied
	c.closeIfDone()
}

// copyFromNet copies bytes that arrive at a connection of package net to c.
func (c *connection) copyFromNet(conn netSocket, limit int64) (n int64, done bool, err error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return 0, false, nil // Read returns the reason
	}
	k := &netCopy{passage{dst: copyTarget{own: c}, left: limit}}
	defer k.putPipe()
	for k.left > 0 {
		if !k.ready() {
			return k.moved, false, nil
		}
		var taken int
		rawErr := raw.Read(func(fd uintptr) bool {
			taken, err = k.pipe.Fill(int(fd), int(min(k.left, math.MaxInt32)))
			return err != errWouldBlock
		})
		switch {
		case rawErr != nil:
			return k.moved, true, opErrorOf(conn, "read", rawErr)
		case err == sock.ErrCannotSplice:
			return k.moved, false, nil
		case err != nil:
			return k.moved, true, opErrorOf(conn, "read", err)
		case taken == 0:
			return k.moved, true, nil
		}
		if err := k.send(k); err != nil {
			return k.moved, true, err
		}
	}
	return k.moved, true, nil
}

// netCopy is one copy from a connection of package net.
type netCopy struct{ passage }

// pausing implements mover. Package net watches its connection.
func (*netCopy) pausing() {}
