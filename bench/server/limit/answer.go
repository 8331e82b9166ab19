package main

// This file holds the answering of requests and the sending of responses.

import (
	"golang.org/x/sys/unix"

	"github.com/cloudwego/netpoll/bench/internal/frame"
	"github.com/cloudwego/netpoll/bench/internal/sock"
)

// room is where to receive: behind the part of a long request that has come, so that it is not copied again, or in
// slot.
func (c *conn) room(slot []byte) []byte {
	c.inPlace = false
	have := len(c.rest)
	if have < frame.HeaderLen {
		return slot
	}
	need := frame.HeaderLen + frame.PayloadLen(c.rest)
	if need-have < len(slot) {
		return slot
	}
	if cap(c.rest) < need {
		c.rest = append(make([]byte, 0, need), c.rest...)
	}
	c.inPlace = true
	return c.rest[have:need]
}

// answer puts the responses to all whole requests into c.out, and reports whether there are any.
func (l *loop) answer(c *conn, data []byte) bool {
	if have := len(c.rest); have > 0 {
		if c.inPlace {
			c.rest = c.rest[:have+len(data)]
		} else {
			c.rest = append(c.rest, data...)
		}
		data = c.rest
	}
	n := frame.Whole(data)
	l.work.DoAll(data[:n])
	c.out = append(c.out[:0], data[:n]...)
	c.sent = 0
	c.rest = append(c.rest[:0], data[n:]...)
	return n > 0
}

// send sends what the connections on the list have.
func (l *loop) send() {
	for i, c := range l.ready[:l.n] {
		if l.ring == nil {
			n, errno := sock.Send(c.fd, c.out[c.sent:])
			l.sent(c, n, errno)
		} else {
			l.ring.Send(c.fd, c.out[c.sent:], uint64(i))
		}
	}
	if l.ring != nil {
		l.submit(func(tag uint64, n int, errno unix.Errno) { l.sent(l.ready[tag], n, errno) })
	}
}

// sent takes the result of a send. A connection that has not sent everything is watched for room instead of input.
func (l *loop) sent(c *conn, n int, errno unix.Errno) {
	if errno != 0 && errno != unix.EAGAIN {
		unix.Close(c.fd)
		return
	}
	c.sent += n
	blocked := c.sent < len(c.out)
	if blocked == c.blocked {
		return
	}
	c.blocked = blocked
	events := uint32(unix.EPOLLIN)
	if blocked {
		events = unix.EPOLLOUT
	}
	if err := l.poll.Modify(c.fd, events, int32(c.fd)); err != nil {
		panic(err)
	}
}
