//go:build !((linux && !netconn) || darwin || dragonfly || freebsd || netbsd || openbsd)

package netpoll

// This file stands in for control data where package net has the sockets: none is received.

import (
	"net"

	"github.com/cloudwego/netpoll/internal/interleave/clock"
)

// unixStream is what a UnixConnection embeds: here just a stream.
type unixStream struct{ streamConnection }

// tellsSender: package net is not asked for the sender.
const tellsSender = false

// receivesControl: connections over package net receive no control data.
const receivesControl = false

// plainFlags are the flags of a message without control data.
const plainFlags = 0

func (c *UnixConnection) keepControl(bool) {}

func (c *UnixConnection) takeMessage(in *LinkBuffer, b, _ []byte) (m message) {
	m.n = in.readCopy(b)
	return m
}

// sendMessage implements messenger, where conn is a net.UnixConn.
func (t *netConn) sendMessage(b, oob []byte, start int64) (n int, err error) {
	conn, ok := t.conn.(*net.UnixConn)
	if !ok {
		return 0, ErrUnsupported
	}
	if start == 0 {
		start = clock.Now()
	}
	moves, err := t.beginSend(start)
	if err != nil {
		return 0, err
	}
	n, _, err = conn.WriteMsgUnix(b, oob, nil)
	if err = t.endSend(n, err, moves); err == nil && n == 0 && len(b) > 0 {
		return 0, errWouldBlock // its deadline has passed, and was moved meanwhile
	}
	return n, err
}

func (c *connection) dropsControl() {}

func (c *connection) holdsControl() bool { return false }

func (c *connection) controlPassed() {}

func (c *connection) holdBack(bool, *batch) bool { return false }
