//go:build linux

package test

// Accepted connections of a server without OnRequest: like dialed ones they belong to the program that reads them, until Close.

import (
	"context"
	"io"
	"testing"

	"github.com/cloudwego/netpoll"
	"github.com/cloudwego/netpoll/internal/testkit"
	"github.com/cloudwego/netpoll/internal/testnet"
	"github.com/stretchr/testify/require"
)

// ownedPair returns an accepted connection without a handler, its peer, and what is closed by its close callback.
func ownedPair(t *testing.T, network string, opts ...netpoll.Option) (
	conn netpoll.Connection, peer halfCloserConn, closed chan struct{},
) {
	t.Helper()
	closed = make(chan struct{})
	opts = append(opts, netpoll.WithOnPrepare(func(conn netpoll.Connection) context.Context {
		_ = conn.AddCloseCallback(func(netpoll.Connection) error { close(closed); return nil })
		return context.Background()
	}))
	conn, c := testnet.Served(t, network, nil, opts...)
	t.Cleanup(func() { conn.Close() })
	return conn, c.(halfCloserConn), closed
}

// halfCloserConn is a peer of package net.
type halfCloserConn interface {
	io.ReadWriteCloser
	halfCloser
}

// Behaviour 5.10: after the peer's half-close the reader of such a connection can still reply.
func TestReaderWithoutHandlerRepliesAfterPeersHalfClose(t *testing.T) {
	testkit.OverNetworks(t, func(t *testing.T, network string) {
		conn, peer, _ := ownedPair(t, network)
		_, err := peer.Write([]byte("question"))
		require.NoError(t, err)
		require.NoError(t, peer.CloseWrite())
		question, err := io.ReadAll(conn)
		require.NoError(t, err)
		require.Equal(t, "question", string(question))
		_, err = conn.Write([]byte("answer"))
		require.NoError(t, err)
		require.NoError(t, conn.Close())
		answer, err := io.ReadAll(peer)
		require.NoError(t, err)
		require.Equal(t, "answer", string(answer))
	})
}

// Behaviour 5.8: nothing but its user closes such a connection: not the peer's end, not OnDisconnect's return, not that
// everything has been read.
func TestConnectionWithoutHandlerIsClosedByItsUser(t *testing.T) {
	testkit.OverNetworks(t, func(t *testing.T, network string) {
		disconnected := make(chan struct{})
		conn, peer, closed := ownedPair(t, network,
			netpoll.WithOnDisconnect(func(context.Context, netpoll.Connection) { close(disconnected) }))
		socket := idOf(t, conn)
		_, err := peer.Write([]byte("last words"))
		require.NoError(t, err)
		require.NoError(t, peer.Close())
		testkit.Receive(t, disconnected)
		got, err := io.ReadAll(conn)
		require.NoError(t, err)
		require.Equal(t, "last words", string(got))
		testkit.Silent(t, testkit.Calm, closed, "the close callback")
		require.True(t, socketIsOpen(socket))

		require.NoError(t, conn.Close())
		testkit.Receive(t, closed)
		testkit.Eventually(t, func() bool { return !socketIsOpen(socket) })
	})
}

// Behaviour 6.1: Shutdown ends such a connection whose peer is gone and whose input has been read.
func TestShutdownEndsConnectionWithoutHandlerWhosePeerIsGone(t *testing.T) {
	conns, closed := make(chan netpoll.Connection, 1), make(chan struct{})
	s := testnet.NewServer(t, "tcp", nil,
		netpoll.WithOnConnect(func(ctx context.Context, conn netpoll.Connection) context.Context {
			_ = conn.AddCloseCallback(func(netpoll.Connection) error { close(closed); return nil })
			conns <- conn
			return ctx
		}))
	c := s.Dial()
	conn := testkit.Receive(t, conns)
	require.NoError(t, c.Close())
	_, err := conn.Read(make([]byte, 1))
	require.Equal(t, io.EOF, err)
	require.NoError(t, testkit.Receive(t, shutdownIn(s.Loop)))
	testkit.Receive(t, closed)
}
