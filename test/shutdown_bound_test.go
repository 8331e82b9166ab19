//go:build linux

package test

// Shutdown keeps to its context though what is not of this package takes its time to close.

import (
	"context"
	"net"
	"testing"

	"github.com/cloudwego/netpoll"
	"github.com/cloudwego/netpoll/internal/testkit"
	"github.com/cloudwego/netpoll/internal/testnet"
	"github.com/stretchr/testify/require"
)

// stubborn is a listener whose connections, and which itself, close only when they are let.
type stubborn struct {
	net.Listener
	closing chan struct{} // holds one mark for each Close that has begun
	let     chan struct{}
}

func (l *stubborn) hold() {
	l.closing <- struct{}{}
	<-l.let
}

func (l *stubborn) Close() error {
	err := l.Listener.Close()
	l.hold()
	return err
}

func (l *stubborn) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return stubbornConn{conn, l}, nil
}

type stubbornConn struct {
	net.Conn
	ln *stubborn
}

func (c stubbornConn) Close() error {
	c.ln.hold()
	return c.Conn.Close()
}

// Behaviour 6.1: Shutdown returns when ctx ends, and closes connections beside each other.
func TestShutdownIsBoundedThoughClosingBlocks(t *testing.T) {
	const clients = 3
	plain, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	ln := &stubborn{plain, make(chan struct{}, clients+2), make(chan struct{})}
	loop, err := netpoll.NewEventLoop(testnet.Echo)
	require.NoError(t, err)
	served := make(chan error, 1)
	go func() { served <- loop.Serve(ln) }()
	for range clients {
		c, err := net.Dial("tcp", plain.Addr().String())
		require.NoError(t, err)
		defer c.Close()
		testkit.ExpectEcho(t, c, "hello")
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- loop.Shutdown(ctx) }()
	for range clients + 1 {
		testkit.Receive(t, ln.closing)
	}
	cancel()
	err = testkit.Receive(t, ended)
	var shutdown *netpoll.ShutdownError
	require.ErrorAs(t, err, &shutdown)
	require.ErrorIs(t, err, context.Canceled)
	require.Empty(t, shutdown.Busy, "connections that are closed but for their net.Conn")
	close(ln.let)
	require.NoError(t, testkit.Receive(t, served))
}
