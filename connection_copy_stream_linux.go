//go:build !netconn && !kqsim

package netpoll

// This file holds the streams between which the kernel can move bytes: how they are recognized, and sending to one.

import (
	"errors"
	"net"
	"reflect"
	"syscall"

	"github.com/cloudwego/netpoll/internal/sock"
)

// ownStream returns the connection that v is, if it is one of this package on a socket that a poller watches.
func ownStream(v any) *connection {
	var c *connection
	switch v := v.(type) {
	case *TCPConnection:
		c = &v.connection
	case *UnixConnection:
		c = &v.connection
	case writeSide:
		c = &v.c.connection
	case readSide:
		c = &v.c.connection
	default:
		return nil
	}
	if c.transport.fd() < 0 {
		return nil
	}
	return c
}

// netSocket is a stream socket of package net.
type netSocket interface {
	net.Conn
	syscall.Conn
}

// netStream returns v if it is a stream socket of package net and not a type of a program, whose Read or Write may do
// more than those of the type that it embeds. Package net hands out types of its own that hide a method or two.
func netStream(v any) netSocket {
	switch v := v.(type) {
	case *net.TCPConn:
		return v
	case *net.UnixConn:
		if addr := v.LocalAddr(); addr != nil && addr.Network() == "unix" {
			return v
		}
	case interface {
		netSocket
		SetNoDelay(bool) error
	}:
		if t := reflect.TypeOf(v); t.Kind() == reflect.Struct && t.PkgPath() == "net" {
			return v
		}
	}
	return nil
}

// copyTarget is where a copy goes to: a connection of this package, or one of package net.
type copyTarget struct {
	own  *connection
	conn net.Conn
	raw  syscall.RawConn // of conn
}

// send moves all that m has. The errors are those of Write.
func (t copyTarget) send(m mover) (n int64, err error) {
	if t.own != nil {
		return t.own.sendBy(m, "when write")
	}
	rawErr := t.raw.Write(func(fd uintptr) bool {
		for {
			moved, done, e := m.move(int(fd))
			n += int64(moved)
			switch {
			case e == errWouldBlock:
				m.pausing()
				return false
			case e != nil || done:
				err = e
				return true
			}
		}
	})
	switch {
	case rawErr != nil:
		return n, opErrorOf(t.conn, "write", rawErr)
	case err == nil || err == sock.ErrCannotSplice:
		return n, err
	}
	return n, opErrorOf(t.conn, "write", err)
}

// opErrorOf gives an error of a system call on conn the form that package net gives it.
func opErrorOf(conn net.Conn, op string, err error) error {
	var raw *net.OpError
	if errors.As(err, &raw) {
		err = raw.Err
	}
	return &net.OpError{Op: op, Net: conn.LocalAddr().Network(), Source: conn.LocalAddr(), Addr: conn.RemoteAddr(), Err: err}
}
