package load

// This file holds one connection of the generator: the requests that it sends next, and when those under way were due.

import (
	"fmt"

	"github.com/cloudwego/netpoll/bench/internal/frame"
)

// maxEncoded is how many bytes of requests are encoded at once for one connection. A longer request is encoded alone.
const maxEncoded = 64 << 10

// conn is one connection. It belongs to the generator's thread.
type conn struct {
	fd    int
	index int32

	out    []byte // encoded requests; the buffer is used again
	sent   int    // how many bytes of out are sent
	queued []int64
	stamp  uint64 // of the next request to encode

	check   frame.Checker
	flight  []int64 // when the requests under way were due; a ring buffer
	head    int     // the oldest of flight
	waiting int     // how many are in flight

	slot    []byte // the memory that the ring receives into
	blocked bool   // polled for room to send
	listed  bool   // in Generator.ready
}

// firstStamp makes stamps of different connections different.
func firstStamp(index int) uint64 { return uint64(index+1) << 32 }

func newConn(fd, index, depth int, m frame.Messages) *conn {
	stamp := firstStamp(index)
	return &conn{
		fd: fd, index: int32(index), stamp: stamp,
		check:  m.Checker(stamp),
		flight: make([]int64, depth),
		queued: make([]int64, 0, depth),
	}
}

// free returns how many more requests may be queued.
func (c *conn) free() int { return len(c.flight) - c.waiting - len(c.queued) }

// queue adds a request that was due at the given time.
func (c *conn) queue(due int64) { c.queued = append(c.queued, due) }

// encode encodes queued requests, once those encoded before are sent. It reports whether there is something to send.
func (c *conn) encode(t frame.Messages) bool {
	if c.sent < len(c.out) {
		return true
	}
	n := min(len(c.queued), max(1, maxEncoded/t.Len()))
	if cap(c.out) < n*t.Len() {
		c.out = make([]byte, n*t.Len())
	}
	c.out, c.sent = c.out[:n*t.Len()], 0
	for i, due := range c.queued[:n] {
		t.Put(c.out[i*t.Len():], c.stamp)
		c.stamp++
		c.flight[(c.head+c.waiting)%len(c.flight)] = due
		c.waiting++
	}
	c.queued = c.queued[:copy(c.queued, c.queued[n:])]
	return n > 0
}

// receive checks received bytes and returns how many responses they complete.
func (c *conn) receive(p []byte) (int, error) {
	done, err := c.check.Feed(p)
	if err == nil && done > c.waiting {
		err = fmt.Errorf("%d responses to %d requests", done, c.waiting)
	}
	if err != nil {
		return 0, fmt.Errorf("connection %d: %w", c.index, err)
	}
	return done, nil
}

// answered removes the oldest request under way and returns when it was due.
func (c *conn) answered() (due int64) {
	due = c.flight[c.head]
	c.head = (c.head + 1) % len(c.flight)
	c.waiting--
	return due
}
