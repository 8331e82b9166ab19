package netpoll

// This file holds how a connection is made of a net.Conn: a poller takes over the descriptor of one from package net,
// and any other net.Conn carries the connection itself. Beside it there are, for each kind of system:
//
//	newconn_poller.go   with a poller
//	newconn_other.go    without one: every connection is over a net.Conn
//	newconn_netconn.go  of these, those that have descriptors
//
// With a poller or without, a system must define:
//
//	type commonTransport
//		The transport that most connections have. It is part of each, which saves an allocation.
//	func sessionOf(conn net.Conn, side *tlsSide) (*connection, error)
//		A connection of conn, with TLS unless side is nil, to be prepared and started, or closed, in place of conn.
//	func (c *connection) successor(side *tlsSide) *connection
//		A connection with TLS that takes over the transport of c.
//	func (c *connection) closeOriginal(conn net.Conn)
//		Closes conn unless it carries c.
//	func (c *connection) closeDuplicate()
//		Frees what connectionOf took, if c could not be started and was detached.
//	func (c *connection) setTransport(conn net.Conn)
//		Makes conn carry c.
//	func NewFDConnection(fd int) (Connection, error)
//		A connection of a descriptor.

import (
	"errors"
	"net"
	"reflect"
)

// NewConnection makes a [Connection] of any [net.Conn]: one of crypto/tls, an end of a [net.Pipe], one of your own. It
// works like other connections, with buffers, callbacks, deadlines and the same errors. A *net.TCPConn or *net.UnixConn
// is taken over by a poller if this system has one, and costs nothing while it waits. For all others there is a
// goroutine that reads while reading is wanted; it notices the peer's end, but not while unread input is at its limit.
//
// The connection owns conn from then on: no other code may use it, and Close closes it. After an error it still belongs
// to the caller. A value that is a Connection of this package already is returned as it is.
//
// conn must keep the promises of net.Conn: above all Close and a deadline must end a Read or Write that is blocked. A
// conn that ignores deadlines works too, but write timeouts are not enforced and Detach fails. A TLS connection may be
// given before its handshake, which then takes place with the first input or output. The addresses are conn's:
// LocalAddr and RemoteAddr ask conn for them, which may then wait for a header of the PROXY protocol.
func NewConnection(conn net.Conn) (Connection, error) {
	if isNil(conn) {
		return nil, errors.New("netpoll: new connection: it is nil")
	}
	if own := connectionOfValue(conn); own != nil {
		return own.self, nil
	}
	c, err := sessionOf(conn, nil)
	if err != nil {
		return nil, err
	}
	if err := c.start(causeDetach); err != nil {
		c.closeDuplicate()
		return nil, err
	}
	c.closeOriginal(conn)
	return c.self, nil
}

// isNil also holds for a nil pointer in the interface.
func isNil(v any) bool {
	if v == nil {
		return true
	}
	p := reflect.ValueOf(v)
	return p.Kind() == reflect.Pointer && p.IsNil()
}

// newNetSession makes a connection that owns conn, with TLS unless side is nil. It must then be prepared and started, or
// closed. The accept loop calls it, so it calls no method of conn: conn may have to wait for its peer before it can
// answer.
func newNetSession(conn net.Conn, side *tlsSide) *connection {
	c := newSession(networkOf(conn), side)
	c.setTransport(conn)
	c.beginSession(side)
	return c
}

// newSession makes a connection that has no transport yet, with room for the state of TLS unless side is nil.
func newSession(network string, side *tlsSide) (c *connection) {
	if side == nil {
		return newConnection(network)
	}
	t := new(TLSConnection)
	t.self = t
	t.connection.init(network)
	return &t.connection
}

// beginSession puts TLS over the transport, unless side is nil.
func (c *connection) beginSession(side *tlsSide) {
	if side == nil {
		return
	}
	t := &c.self.(*TLSConnection).session
	t.init(c.transport, c, side)
	c.setLayer(t)
}

// networkOf returns "tcp" or "unix" for a plain stream of that kind, and "" for anything else.
func networkOf(conn net.Conn) string {
	switch conn := conn.(type) {
	case *net.TCPConn:
		return "tcp"
	case *net.UnixConn:
		if addr := conn.LocalAddr(); addr == nil || addr.Network() == "unix" {
			return "unix"
		}
	case interface{ streamNetwork() string }:
		return conn.streamNetwork()
	}
	return ""
}
