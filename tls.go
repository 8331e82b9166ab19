package netpoll

// This file holds TLS as the user of a server or a dialer sees it: the options of an event loop, the listener and the
// dialer. The connection is in connection_tls.go.

import (
	"context"
	"crypto/tls"
	"net"
	"strings"
	"time"
)

// WithTLSConfig makes all connections of an event loop TLS connections: each is a *[TLSConnection]. The handshake of a
// connection begins with its first byte, and runs in the runner. OnPrepare comes before it, so it can turn a peer away
// before it costs anything. OnConnect and OnRequest come after it, OnRequest only for plaintext. If the handshake fails
// the connection is closed: its close callbacks run, but neither OnConnect nor OnDisconnect.
//
// config is used as it is, and must have a certificate. It must not be changed afterwards, except by its own methods,
// such as SetSessionTicketKeys. A nil config means no TLS, which is the default. Connections of a listener from
// [NewTLSListener] have the config of that one.
func WithTLSConfig(config *tls.Config) Option {
	return Option{func(o *options) { o.tlsConfig = config }}
}

// WithTLSHandshakeTimeout limits the time from accepting a connection to the end of its handshake. The default, also for
// 0, is 10 seconds; less than 0 means no limit.
func WithTLSHandshakeTimeout(timeout time.Duration) Option {
	return Option{func(o *options) {
		o.tlsTimeout = timeout
		if timeout == 0 {
			o.tlsTimeout = defaultTLSTimeout
		}
	}}
}

// WithTLSHandshakeLimit limits how many handshakes of an event loop run at a time, so that a flood of them leaves
// processors for the connections that are open. The others wait, without a goroutine. One that waits for its peer does
// not count; one that waits in a callback of the [tls.Config] does. The default, also for 0, is 4 for each processor that
// GOMAXPROCS allows; less than 0 means no limit.
func WithTLSHandshakeLimit(n int) Option {
	return Option{func(o *options) {
		o.tlsLimit = n
		if n == 0 {
			o.tlsLimit = defaultTLSHandshakes()
		}
	}}
}

// WithOnTLSHandshakeError sets the function that is called when the handshake of an accepted connection has failed, in
// the runner, before the connection is closed. conn is its *[TLSConnection], for the addresses. An error of a peer that
// does not speak TLS is a [tls.RecordHeaderError], whose Conn takes an answer in plain text. Without it, or with nil, a
// line is logged.
func WithOnTLSHandshakeError(failed func(conn net.Conn, err error)) Option {
	return Option{func(o *options) { o.tlsFailed = failed }}
}

// logHandshakeError is what is called if no other function is set.
func logHandshakeError(conn net.Conn, err error) {
	logger().Printf("netpoll: TLS handshake with %v: %v", conn.RemoteAddr(), err)
}

// tlsSide returns what the sessions accepted from ln have in common; nil if they have no TLS.
func (s *server) tlsSide(ln serverListener) *tlsSide {
	config := s.opts.tlsConfig
	if l, ok := ln.(*tlsListener); ok {
		config = l.side.config
	}
	if config == nil {
		return nil
	}
	side := &tlsSide{config: config, served: true, limiter: s.handshakes, timeout: s.opts.tlsTimeout, failed: s.opts.tlsFailed}
	if side.failed == nil {
		side.failed = logHandshakeError
	}
	return side
}

// NewTLSListener makes a listener of inner whose connections have TLS: it takes the place of [tls.NewListener]. inner may
// be a listener of this package, which keeps its methods, or any other.
//
// An [EventLoop] that serves it works as with [WithTLSConfig]. Accept returns a *[TLSConnection], whose handshake begins
// with its first use and not before, so that a slow peer holds up nobody. config must have a certificate, and is used as
// it is.
//
// A listener of package crypto/tls can be served, too; then each connection has a goroutine and the buffers of its
// tls.Conn, as with package net.
func NewTLSListener(inner net.Listener, config *tls.Config) Listener {
	ln, ok := inner.(sessionListener)
	if !ok {
		converted, err := convert(inner)
		if ln, ok = converted.(sessionListener); err != nil || !ok {
			ln = newNetListener(inner) // its Accept tells why
		}
	}
	return &tlsListener{serverListener: ln, from: ln, side: &tlsSide{config: config}}
}

// tlsListener is a listener whose connections have TLS.
type tlsListener struct {
	serverListener
	from sessionListener
	side *tlsSide
}

// Accept waits for a connection and returns it.
func (ln *tlsListener) Accept() (net.Conn, error) { return ln.from.acceptSession(ln.side) }

// TLSDialer dials with TLS: it takes the place of [tls.Dialer]. Several goroutines may dial at once. Its connections are
// *[TLSConnection], and their handshake is over. Timeouts and contexts are for the handshake, too.
//
// Errors are those of [NetDialer], and those of the handshake as crypto/tls gives them.
type TLSDialer struct {
	NetDialer

	// Config is that of the sessions; nil stands for an empty one. If it has no ServerName, that is the host of the
	// address. It must not be changed while it is in use.
	Config *tls.Config
}

var _ Dialer = (*TLSDialer)(nil)

// DialConnection implements Dialer.
func (d *TLSDialer) DialConnection(network, address string, timeout time.Duration) (connection Connection, err error) {
	ctx, cancel := contextFor(timeout)
	defer cancel()
	return d.dialTLS(ctx, network, address)
}

// DialTimeout implements Dialer.
func (d *TLSDialer) DialTimeout(network, address string, timeout time.Duration) (conn net.Conn, err error) {
	return d.DialConnection(network, address, timeout)
}

// DialContext connects to an address, and gives up when ctx ends. It returns a *[TLSConnection].
func (d *TLSDialer) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	return d.dialTLS(ctx, network, address)
}

// Dial is DialContext without a context.
func (d *TLSDialer) Dial(network, address string) (net.Conn, error) {
	return d.dialTLS(context.Background(), network, address)
}

// dialTLS returns a nil interface with an error.
func (d *TLSDialer) dialTLS(ctx context.Context, network, address string) (Connection, error) {
	if err := dialable(network); err != nil {
		return nil, err
	}
	ctx, cancel := limited(ctx, &d.Dialer)
	defer cancel()
	side := &tlsSide{config: configFor(d.Config, address), client: true}
	c, err := dialSession(ctx, &d.Dialer, network, address, side)
	if err != nil {
		return nil, err
	}
	if err := c.self.(*TLSConnection).HandshakeContext(ctx); err != nil {
		_ = c.Close()
		if ctx.Err() != nil {
			err = nameTimeout(dialError(network, c.LocalAddr(), c.RemoteAddr(), ctx.Err()))
		}
		return nil, err
	}
	return c.self, nil
}

// configFor returns config, or a clone of it that has the host of address as its ServerName.
func configFor(config *tls.Config, address string) *tls.Config {
	if config == nil {
		config = new(tls.Config)
	}
	if config.ServerName != "" {
		return config
	}
	host := address
	if colon := strings.LastIndex(address, ":"); colon >= 0 {
		host = address[:colon]
	}
	config = config.Clone()
	config.ServerName = host
	return config
}
