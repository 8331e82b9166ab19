package netpoll

// This file holds the options of sockets that package net has on its connections, under the same names.

import (
	"net"
	"time"
)

// MultipathTCP reports whether the connection uses multipath TCP, if the system can tell. It is false if the system,
// the peer or something between them has made it fall back to plain TCP. Outside Linux it is false.
func (c *TCPConnection) MultipathTCP() (uses bool, err error) {
	err = setting(&c.connection, func(on interface{ MultipathTCP() (bool, error) }) (err error) {
		uses, err = on.MultipathTCP()
		return err
	})
	return uses, err
}

// SetNoDelay says whether output is sent at once, which is the default, or held back for a while if earlier output has
// not been acknowledged.
func (c *TCPConnection) SetNoDelay(noDelay bool) error {
	return setting(&c.connection, func(on interface{ SetNoDelay(bool) error }) error { return on.SetNoDelay(noDelay) })
}

// SetLinger says what the system does, after Close, with output that is not acknowledged yet. If sec is less than 0,
// which is the default, it goes on sending. If sec is 0, it drops the output and resets the connection. Otherwise it
// goes on sending; on some systems it drops the rest after sec seconds.
func (c *TCPConnection) SetLinger(sec int) error {
	return setting(&c.connection, func(on interface{ SetLinger(int) error }) error { return on.SetLinger(sec) })
}

// SetKeepAlivePeriod sets after how long without traffic TCP probes the peer, in whole seconds, rounded up. 0 means 15
// seconds, and less leaves it as it is. [TCPConnection.SetKeepAliveConfig] sets more.
func (c *TCPConnection) SetKeepAlivePeriod(d time.Duration) error {
	return setting(&c.connection, func(on interface{ SetKeepAlivePeriod(time.Duration) error }) error { return on.SetKeepAlivePeriod(d) })
}

// SetKeepAliveConfig sets all of TCP keepalive, or switches it off. [TCPConnection.SetKeepAlive], which takes seconds,
// is that of cloudwego/netpoll.
func (c *TCPConnection) SetKeepAliveConfig(config net.KeepAliveConfig) error {
	return setting(&c.connection, func(on interface {
		SetKeepAliveConfig(net.KeepAliveConfig) error
	}) error {
		return on.SetKeepAliveConfig(config)
	})
}

// SetReadBuffer sets the size of what the system buffers for receiving, in bytes. What this package buffers beyond that
// is limited by SetReadLimit.
func (c *TCPConnection) SetReadBuffer(bytes int) error { return c.setReadBuffer(bytes) }

// SetWriteBuffer sets the size of what the system buffers for sending, in bytes.
func (c *TCPConnection) SetWriteBuffer(bytes int) error { return c.setWriteBuffer(bytes) }

// SetReadBuffer sets the size of what the system buffers for receiving, in bytes. What this package buffers beyond that
// is limited by SetReadLimit.
func (c *UnixConnection) SetReadBuffer(bytes int) error { return c.setReadBuffer(bytes) }

// SetWriteBuffer sets the size of what the system buffers for sending, in bytes.
func (c *UnixConnection) SetWriteBuffer(bytes int) error { return c.setWriteBuffer(bytes) }

func (c *connection) setReadBuffer(bytes int) error {
	return setting(c, func(on interface{ SetReadBuffer(int) error }) error { return on.SetReadBuffer(bytes) })
}

func (c *connection) setWriteBuffer(bytes int) error {
	return setting(c, func(on interface{ SetWriteBuffer(int) error }) error { return on.SetWriteBuffer(bytes) })
}

// setting sets an option on what the transport has for that, which may not know this one. An error has the form that
// package net gives it.
func setting[O any](c *connection, set func(on O) error) error {
	err := c.withTransport("when set", func() error {
		on, ok := c.transport.options().(O)
		if !ok {
			return Exception(ErrUnsupported, "when set")
		}
		return set(on)
	})
	if _, done := err.(*net.OpError); err == nil || done {
		return err
	}
	return &net.OpError{Op: "set", Net: c.network.Value(), Source: c.LocalAddr(), Addr: c.RemoteAddr(), Err: err}
}
