package testnet

// This file holds connections with their peers.

import (
	"context"
	"net"
	"testing"
	"time"

	"github.com/cloudwego/netpoll"
	"github.com/cloudwego/netpoll/internal/testkit"
	"github.com/stretchr/testify/require"
)

// Dial connects to a listener on this machine. The connection is closed when the test ends.
func Dial(t testing.TB, addr net.Addr) netpoll.Connection {
	t.Helper()
	conn, err := netpoll.DialConnection(addr.Network(), addr.String(), testkit.Timeout)
	require.NoError(t, err)
	t.Cleanup(func() { conn.Close() })
	return conn
}

// Pair returns the two ends of a connection, both of package netpoll: the dialed and the accepted one. No handler reads
// their input. Both are closed when the test ends.
func Pair(t testing.TB, network string) (client, server netpoll.Connection) {
	t.Helper()
	ln, err := netpoll.CreateListener(network, testkit.LocalAddress(t, network))
	require.NoError(t, err)
	defer ln.Close()
	client = Dial(t, ln.Addr())
	accepted, err := ln.Accept()
	require.NoError(t, err)
	t.Cleanup(func() { accepted.Close() })
	return client, accepted.(netpoll.Connection)
}

// Dialed returns a dialed connection and its peer, a *net.TCPConn or a *net.UnixConn. No handler reads its input. Both
// are closed when the test ends. The peer has a deadline, so that the test does not hang when a reply is lost.
func Dialed(t testing.TB, network string) (conn netpoll.Connection, peer net.Conn) {
	t.Helper()
	ln, err := net.Listen(network, testkit.LocalAddress(t, network))
	require.NoError(t, err)
	defer ln.Close()
	conn = Dial(t, ln.Addr())
	peer, err = ln.Accept()
	require.NoError(t, err)
	t.Cleanup(func() { peer.Close() })
	require.NoError(t, peer.SetDeadline(time.Now().Add(2*testkit.Timeout)))
	return conn, peer
}

// Served returns a connection that an EventLoop has accepted, and its peer, which is one of package net. onRequest may
// be nil: then no handler reads its input. The options must not set OnConnect.
func Served(t testing.TB, network string, onRequest netpoll.OnRequest, opts ...netpoll.Option) (
	conn netpoll.Connection, peer net.Conn,
) {
	t.Helper()
	accepted := make(chan netpoll.Connection, 1)
	opts = append(opts, netpoll.WithOnConnect(func(ctx context.Context, c netpoll.Connection) context.Context {
		accepted <- c
		return ctx
	}))
	peer = testkit.Dial(t, NewServer(t, network, onRequest, opts...).Addr())
	return testkit.Receive(t, accepted), peer
}

// Buffered waits until at least n bytes of input are buffered in conn.
func Buffered(t testing.TB, conn netpoll.Connection, n int) {
	t.Helper()
	testkit.Eventually(t, func() bool { return conn.Reader().Len() >= n })
}
