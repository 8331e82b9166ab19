package load

// This file holds the exchange of bytes: receiving, and sending queued requests, with a system call for each socket or
// one for a batch.

import (
	"fmt"
	"io"

	"golang.org/x/sys/unix"

	"github.com/cloudwego/netpoll/bench/internal/sock"
	"github.com/cloudwego/netpoll/internal/iobatch"
)

// enqueue gives a connection a request that was due at the given time.
func (g *Generator) enqueue(c *conn, due int64) {
	c.queue(due)
	g.under++
	g.list(c)
}

func (g *Generator) list(c *conn) {
	if !c.listed && !c.blocked {
		c.listed = true
		g.ready = append(g.ready, c)
	}
}

// handle receives from the connections that are ready. There are at most as many as slots.
func (g *Generator) handle(events []unix.EpollEvent) {
	for i, ev := range events {
		c := g.conns[ev.Fd]
		if ev.Events&unix.EPOLLOUT != 0 {
			g.watch(c, false)
			g.list(c)
		}
		if ev.Events&^unix.EPOLLOUT == 0 {
			continue
		}
		if g.ring == nil {
			n, errno := sock.Recv(c.fd, g.slots[0])
			g.clock()
			g.received(c, g.slots[0], n, errno)
			continue
		}
		c.slot = g.slots[i]
		g.ring.Recv(c.fd, c.slot, uint64(c.index))
	}
	g.submit(func(c *conn, n int, errno unix.Errno) { g.received(c, c.slot, n, errno) })
}

// received handles the result of a receive.
func (g *Generator) received(c *conn, p []byte, n int, errno unix.Errno) {
	switch {
	case errno == unix.EAGAIN:
		return
	case errno != 0:
		g.fail(fmt.Errorf("connection %d: receive: %w", c.index, errno))
		return
	case n == 0:
		g.fail(fmt.Errorf("connection %d: receive: %w", c.index, io.EOF))
		return
	}
	done, err := c.receive(p[:n])
	if err != nil {
		g.fail(err)
		return
	}
	for range done {
		g.latency(g.res.Latency, c.answered())
		g.answered++
		g.under--
		g.progress = g.now
		switch {
		case g.open():
			g.idle = append(g.idle, c)
		case !g.ending:
			g.enqueue(c, g.now)
		}
	}
	if done > 0 && g.spec.Reconnect {
		g.reconnect(c)
	}
}

// reconnect gives c a new connection. It blocks only for the handshake, which on one machine is over at once.
func (g *Generator) reconnect(c *conn) {
	_ = unix.Close(c.fd) // this removes it from the poll, too
	fd, err := sock.Dial(g.spec.Addr, 1)
	if err == nil {
		c.fd = fd
		err = g.poll.Add(fd, unix.EPOLLIN, c.index)
	}
	if err != nil {
		g.fail(err)
	}
}

// flush sends queued requests until none is left or the sockets are full.
func (g *Generator) flush() {
	for len(g.ready) > 0 && g.err == nil {
		now := g.ready
		if g.ring != nil {
			now = now[:min(len(now), g.ring.Cap())]
		}
		for _, c := range now {
			c.listed = false
			if !c.encode(g.messages) {
				continue
			}
			if g.ring == nil {
				n, errno := sock.Send(c.fd, c.out[c.sent:])
				g.sent(c, n, errno)
			} else {
				g.ring.Send(c.fd, c.out[c.sent:], uint64(c.index))
			}
		}
		rest := len(now)
		g.submit(g.sent)
		g.ready = g.ready[:copy(g.ready, g.ready[rest:])]
	}
}

// sent handles the result of a send.
func (g *Generator) sent(c *conn, n int, errno unix.Errno) {
	if errno != 0 && errno != unix.EAGAIN {
		g.fail(fmt.Errorf("connection %d: send: %w", c.index, errno))
		return
	}
	c.sent += n
	switch {
	case c.sent < len(c.out):
		g.watch(c, true)
	case len(c.queued) > 0:
		g.list(c)
	}
}

// watch starts or stops polling for room to send.
func (g *Generator) watch(c *conn, blocked bool) {
	c.blocked = blocked
	events := uint32(unix.EPOLLIN)
	if blocked {
		events |= unix.EPOLLOUT
	}
	if err := g.poll.Modify(c.fd, events, c.index); err != nil {
		g.fail(err)
	}
}

// submit executes the operations queued in the ring, if there is one.
func (g *Generator) submit(done func(c *conn, n int, errno unix.Errno)) {
	if g.ring == nil || g.ring.Len() == 0 {
		return
	}
	looked := false
	err := g.ring.Submit(func(tag uint64, res int32) {
		if !looked { // the clock is read once for the batch: all of it is done by now
			looked = true
			g.clock()
		}
		c := g.conns[tag]
		switch {
		case res == iobatch.NotExecuted:
			done(c, 0, unix.EAGAIN) // reported again by the next wait
		case res < 0:
			done(c, 0, unix.Errno(-res))
		default:
			done(c, int(res), 0)
		}
	})
	if err != nil {
		g.fail(err)
	}
}

func (g *Generator) fail(err error) {
	if g.err == nil {
		g.err = err
	}
}
