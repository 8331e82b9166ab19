//go:build (linux && !netconn) || darwin || dragonfly || freebsd || netbsd || openbsd

package netpoll

// This file holds receiving together with other connections: the two halves around the call that the poller makes.

import (
	"io"
	"os"
	"syscall"

	"github.com/cloudwego/netpoll/internal/uring"
)

// beginReceive implements receiver, for a connection that may receive and has nothing else to do.
func (c *connection) beginReceive(ev pollEvent) (fd int, p []byte, ok bool) {
	if ev != evRead || c.life.use(bitInPoll) != entered {
		return 0, nil, false
	}
	fd, ok = c.plainSocket(true)
	if !ok || c.life.load().has(bitEnded|bitEOFHeld|bitReadShut) || c.raw.held() || c.full() {
		c.leave(bitInPoll)
		return 0, nil, false
	}
	return fd, c.in.book(min(c.receiveSize(), maxTransfer)), true
}

// endReceive implements receiver.
func (c *connection) endReceive(res int32, full bool, b *batch) {
	defer c.leave(bitInPoll)
	if res == uring.InDoubt { // the kernel may still write into the block, so nobody else may ever have it
		c.in.leakTail()
		c.inputEnded(syscall.EIO)
		return
	}
	c.in.bookAck(int(max(res, 0)))
	switch errno := errnoOf(res); {
	case res > 0:
		c.received(int(res), full, b)
		if full && b.goesOn(int(res)) {
			c.onReadable(false, b)
		}
	case res == 0:
		c.receiveFailed(io.EOF)
	case res == uring.NotExecuted || errno == syscall.ENOTSOCK: // a ring can receive from sockets only
		c.onReadable(false, b)
	case errno != syscall.EAGAIN && errno != syscall.EINTR:
		c.inputEnded(os.NewSyscallError("recv", errno))
	}
}

// leakTail is bookAck(0) for memory that something outside may write to for ever: the block is never used again.
func (b *LinkBuffer) leakTail() {
	b.last.blk.refs.Or(keptForUser)
	b.bookAck(0)
}
