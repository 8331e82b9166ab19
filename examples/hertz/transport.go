package main

// This file is all that Hertz needs for TLS over package netpoll: a transporter for the server, a dialer for the client,
// and the connection of both, which shows Hertz what ALPN has agreed on. Copy it.

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/cloudwego/hertz/pkg/common/config"
	"github.com/cloudwego/hertz/pkg/network"
	hertznetpoll "github.com/cloudwego/hertz/pkg/network/netpoll"
	"github.com/cloudwego/netpoll"
)

// NewTransporter is for server.WithTransport, beside server.WithTLS: without it Hertz has TLS over package net only.
// Without a TLS config it is Hertz's own transporter for package netpoll.
func NewTransporter(options *config.Options) network.Transporter {
	if options.TLS == nil {
		return hertznetpoll.NewTransporter(options)
	}
	return &transporter{options: options}
}

// transporter is Hertz's own for package netpoll, over a listener with TLS.
type transporter struct {
	options *config.Options

	mu    sync.Mutex // guards the fields below, which are nil until it listens
	inner network.Transporter
	ln    netpoll.Listener
}

// ListenAndServe implements network.Transporter.
func (t *transporter) ListenAndServe(onData network.OnData) error {
	inner, err := t.listen()
	if err != nil {
		return err
	}
	return inner.ListenAndServe(func(ctx context.Context, conn any) error {
		return onData(ctx, withSession(conn.(*hertznetpoll.Conn)))
	})
}

// listen is called once.
func (t *transporter) listen() (network.Transporter, error) {
	ln, err := t.options.Listener, error(nil)
	switch listen := t.options.ListenConfig; {
	case ln != nil:
	case listen != nil:
		ln, err = listen.Listen(context.Background(), t.options.Network, t.options.Addr)
	default:
		ln, err = net.Listen(t.options.Network, t.options.Addr)
	}
	if err != nil {
		return nil, err
	}
	options := *t.options
	t.mu.Lock()
	defer t.mu.Unlock()
	t.ln = netpoll.NewTLSListener(ln, options.TLS)
	options.Listener = t.ln
	t.inner = hertznetpoll.NewTransporter(&options)
	return t.inner, nil
}

// Close implements network.Transporter.
func (t *transporter) Close() error {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return t.Shutdown(ctx)
}

// Shutdown implements network.Transporter.
func (t *transporter) Shutdown(ctx context.Context) error {
	t.mu.Lock()
	inner := t.inner
	t.mu.Unlock()
	if inner == nil {
		return nil
	}
	return inner.Shutdown(ctx)
}

// Listener returns nil until there is one. Hertz asks for it to find whether the server runs.
func (t *transporter) Listener() net.Listener {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.ln == nil {
		return nil
	}
	return t.ln
}

// tlsConn is a connection of Hertz that shows its session. Hertz asks for network.ConnTLSer, and wraps a connection of
// package netpoll so that only the methods of network.Conn are seen.
type tlsConn struct {
	*hertznetpoll.Conn
	session *netpoll.TLSConnection
}

var _ network.ConnTLSer = (*tlsConn)(nil)

// withSession returns the wrapped connection of a wrapped *netpoll.TLSConnection.
func withSession(conn *hertznetpoll.Conn) network.Conn {
	return &tlsConn{conn, conn.Conn.(*netpoll.TLSConnection)}
}

func (c *tlsConn) Handshake() error                     { return c.session.Handshake() }
func (c *tlsConn) ConnectionState() tls.ConnectionState { return c.session.ConnectionState() }

// NewDialer is for client.WithDialer.
func NewDialer() network.Dialer { return dialer{hertznetpoll.NewDialer()} }

// dialer is Hertz's own for package netpoll, unless there is a TLS config.
type dialer struct{ network.Dialer }

func (d dialer) DialConnection(
	proto, address string, timeout time.Duration, config *tls.Config,
) (network.Conn, error) {
	if config == nil {
		return d.Dialer.DialConnection(proto, address, timeout, nil)
	}
	conn, err := (&netpoll.TLSDialer{Config: config}).DialConnection(proto, address, timeout)
	if err != nil {
		return nil, err
	}
	session := conn.(*netpoll.TLSConnection)
	return withSession(&hertznetpoll.Conn{Conn: session}), nil
}

func (d dialer) DialTimeout(proto, address string, timeout time.Duration, config *tls.Config) (net.Conn, error) {
	if config == nil {
		return d.Dialer.DialTimeout(proto, address, timeout, nil)
	}
	return (&netpoll.TLSDialer{Config: config}).DialTimeout(proto, address, timeout)
}

// AddTLS is for the connection to a proxy, after its answer to CONNECT.
func (dialer) AddTLS(conn network.Conn, config *tls.Config) (network.Conn, error) {
	plain, ok := conn.(*hertznetpoll.Conn)
	if !ok {
		return nil, fmt.Errorf("add TLS: the connection is a %T", conn)
	}
	session, err := netpoll.TLSClient(plain.Conn.(netpoll.Connection), config)
	if err != nil {
		return nil, err
	}
	if err := session.Handshake(); err != nil {
		_ = session.Close()
		return nil, err
	}
	return withSession(&hertznetpoll.Conn{Conn: session}), nil
}
