package netpoll

// This file holds the options of sockets that package net has on its connections, under the same names.

import (
	"net"
	"time"

	"github.com/cloudwego/netpoll/internal/sock"
)

// MultipathTCP reports whether the connection uses multipath TCP, if the system can tell. It is false if the system,
// the peer or something between them has made it fall back to plain TCP. Outside Linux it is false.
func (c *TCPConnection) MultipathTCP() (uses bool, err error) {
	err = c.setting(func(fd int) error {
		uses = sock.UsesMultipath(fd)
		return nil
	}, func(conn net.Conn) (ok bool, err error) {
		below, ok := conn.(interface{ MultipathTCP() (bool, error) })
		if ok {
			uses, err = below.MultipathTCP()
		}
		return ok, err
	})
	return uses, err
}

// SetNoDelay says whether output is sent at once, which is the default, or held back for a while if earlier output has
// not been acknowledged.
func (c *TCPConnection) SetNoDelay(noDelay bool) error {
	return c.setting(func(fd int) error { return sock.SetNoDelay(fd, noDelay) }, func(conn net.Conn) (ok bool, err error) {
		below, ok := conn.(interface{ SetNoDelay(bool) error })
		if ok {
			err = below.SetNoDelay(noDelay)
		}
		return ok, err
	})
}

// SetLinger says what the system does, after Close, with output that is not acknowledged yet. If sec is less than 0,
// which is the default, it goes on sending. If sec is 0, it drops the output and resets the connection. Otherwise it
// goes on sending; on some systems it drops the rest after sec seconds.
func (c *TCPConnection) SetLinger(sec int) error {
	return c.setting(func(fd int) error { return sock.SetLinger(fd, sec) }, func(conn net.Conn) (ok bool, err error) {
		below, ok := conn.(interface{ SetLinger(int) error })
		if ok {
			err = below.SetLinger(sec)
		}
		return ok, err
	})
}

// SetKeepAlivePeriod sets after how long without traffic TCP probes the peer, in whole seconds, rounded up. 0 means 15
// seconds, and less leaves it as it is. [TCPConnection.SetKeepAliveConfig] sets more.
func (c *TCPConnection) SetKeepAlivePeriod(d time.Duration) error {
	return c.setting(func(fd int) error { return sock.SetKeepAlivePeriod(fd, d) }, func(conn net.Conn) (ok bool, err error) {
		below, ok := conn.(interface{ SetKeepAlivePeriod(time.Duration) error })
		if ok {
			err = below.SetKeepAlivePeriod(d)
		}
		return ok, err
	})
}

// SetKeepAliveConfig sets all of TCP keepalive, or switches it off. [TCPConnection.SetKeepAlive], which takes seconds,
// is that of cloudwego/netpoll.
func (c *TCPConnection) SetKeepAliveConfig(config net.KeepAliveConfig) error {
	return c.setting(func(fd int) error { return sock.SetKeepAliveConfig(fd, config) }, func(conn net.Conn) (ok bool, err error) {
		below, ok := conn.(interface {
			SetKeepAliveConfig(net.KeepAliveConfig) error
		})
		if ok {
			err = below.SetKeepAliveConfig(config)
		}
		return ok, err
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
	return c.setting(func(fd int) error { return sock.SetReadBuffer(fd, bytes) }, func(conn net.Conn) (ok bool, err error) {
		below, ok := conn.(interface{ SetReadBuffer(int) error })
		if ok {
			err = below.SetReadBuffer(bytes)
		}
		return ok, err
	})
}

func (c *connection) setWriteBuffer(bytes int) error {
	return c.setting(func(fd int) error { return sock.SetWriteBuffer(fd, bytes) }, func(conn net.Conn) (ok bool, err error) {
		below, ok := conn.(interface{ SetWriteBuffer(int) error })
		if ok {
			err = below.SetWriteBuffer(bytes)
		}
		return ok, err
	})
}

// setting asks the socket or, if a net.Conn carries the connection, that one, which may not know what it is asked for:
// then ok is false. An error has the form that package net gives it.
func (c *connection) setting(socket func(fd int) error, below func(conn net.Conn) (ok bool, err error)) (err error) {
	if c.NetConn() == nil {
		err = c.withFd("when set", socket)
	} else {
		err = c.withNetConn("when set", func(conn net.Conn) error {
			ok, err := below(conn)
			if !ok {
				return Exception(ErrUnsupported, "when set")
			}
			return err
		})
	}
	if _, done := err.(*net.OpError); err == nil || done {
		return err
	}
	return &net.OpError{Op: "set", Net: c.network, Source: c.LocalAddr(), Addr: c.RemoteAddr(), Err: err}
}
