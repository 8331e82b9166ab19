package netpoll

// This file holds the change of a connection to TLS while it is in use: STARTTLS, or the CONNECT of a proxy.

import (
	"crypto/tls"
	"errors"
)

// TLSServer changes conn to TLS, as its server. It returns the *TLSConnection that takes the place of conn, with its
// descriptor: conn is closed, as by Detach, and calls of it fail. Input that conn has buffered is the beginning of the
// session, so a peer that does not wait for the answer to its STARTTLS loses nothing. Output must have been flushed;
// output that was not is dropped. It may be called in a handler of conn, by the goroutine that reads.
//
// Timeouts, limits, the context, the OnDisconnect and the close callbacks of conn go over to the new connection, and so
// does its place in the [EventLoop] that serves it. The OnRequest does not: it is for the old protocol. The handshake
// begins with the first use, such as SetOnRequest.
//
// A conn that is not of this package is not closed: it carries the session, with a goroutine, and is closed with it. One
// that has TLS already is refused with an error that Is [ErrUnsupported]. After an error conn is closed if the error came
// from detaching it, and else as it was. While another goroutine reads from conn the error Is [ErrConcurrentAccess].
func TLSServer(conn Connection, config *tls.Config) (*TLSConnection, error) {
	return upgrade(conn, &tlsSide{config: config})
}

// TLSClient is TLSServer for the client. config must have a ServerName, or InsecureSkipVerify.
func TLSClient(conn Connection, config *tls.Config) (*TLSConnection, error) {
	return upgrade(conn, &tlsSide{config: config, client: true})
}

func upgrade(conn Connection, side *tlsSide) (*TLSConnection, error) {
	if isNil(conn) {
		return nil, errors.New("netpoll: upgrade to TLS: the connection is nil")
	}
	if side.config == nil {
		return nil, errors.New("netpoll: upgrade to TLS: the config is nil")
	}
	var c *connection
	if old := connectionOfValue(conn); old == nil {
		c = newNetSession(conn, side)
	} else {
		var err error
		if c, err = old.upgrade(side); err != nil {
			return nil, err
		}
	}
	if err := c.start(causePoller); err != nil {
		return nil, err
	}
	if c.owner != nil && c.owner.draining() {
		c.closeIfIdle() // Shutdown came too early to close it
	}
	return c.self.(*TLSConnection), nil
}

// upgrade returns a connection with TLS that has taken over the transport of c, its unread input and its settings. It
// must then be started.
func (c *connection) upgrade(side *tlsSide) (*connection, error) {
	if err := c.detachable(); err != nil {
		return nil, err
	}
	if err := c.enterErr(bitReading, "when upgrade to TLS"); err != nil {
		return nil, err
	}
	defer c.leave(bitReading)
	derived := c.derived.Swap(nil) // it goes on
	if err := c.Detach(); err != nil {
		c.derived.Store(derived)
		c.cancelContext()
		return nil, err
	}
	u := c.successor(side)
	u.derived.Store(derived)
	t := &u.self.(*TLSConnection).session
	if err := t.in.WriteBuffer(&c.in); err != nil { // both sides of c.in are quiet: it has no transport, and its reader is here
		return nil, err
	}
	_ = t.in.Flush()
	u.inherit(c)
	return u, nil
}

// inherit takes over the settings and callbacks of old, which has ended.
func (c *connection) inherit(old *connection) {
	c.reading.CopyLimits(&old.reading)
	c.writing.CopyLimits(&old.writing)
	c.window.limit.Store(old.window.limit.Load())
	c.halfOpen.Store(old.halfOpen.Load())
	c.direct = old.direct
	if l := old.idle.Load(); l != nil {
		_ = c.SetIdleLimit(l.limit())
	}
	c.calls.base.Store(old.calls.base.Load())
	c.calls.ctx = old.calls.ctx
	c.calls.onDisconnect.Store(old.calls.onDisconnect.Load())
	c.calls.onClose = old.calls.takeCloseCallbacks()
	if old.owner != nil {
		old.owner.adopt(c)
	}
}
