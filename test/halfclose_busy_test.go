//go:build linux

package test

// CloseRead and CloseWrite where others are at work: a handler, a blocked Write, a peer that resets.

import (
	"context"
	"io"
	"syscall"
	"testing"

	"github.com/cloudwego/netpoll"
	"github.com/cloudwego/netpoll/internal/testkit"
	"github.com/cloudwego/netpoll/internal/testnet"
	"github.com/stretchr/testify/require"
)

// Behaviour 5.1: a served connection that does not read any more still notices that its peer is gone, and ends.
func TestConnectionAfterCloseReadEndsWithThePeersReset(t *testing.T) {
	shut, closed := make(chan error, 1), make(chan struct{})
	s := testnet.NewServer(t, "tcp", func(ctx context.Context, conn netpoll.Connection) error {
		_ = testnet.Discard(ctx, conn)
		shut <- conn.(halfCloser).CloseRead()
		return nil
	}, netpoll.WithOnPrepare(func(conn netpoll.Connection) context.Context {
		_ = conn.AddCloseCallback(func(netpoll.Connection) error { close(closed); return nil })
		return context.Background()
	}))
	c := s.Dial()
	_, err := io.WriteString(c, "hello")
	require.NoError(t, err)
	require.NoError(t, testkit.Receive(t, shut))
	testkit.Reset(t, c)
	testkit.Receive(t, closed)
}

// Behaviour 1.1: CloseWrite ends a Write that waits for room, and only the own side: the peer is not taken for gone,
// and what it sends is still read.
func TestCloseWriteEndsBlockedWriteAndLeavesReadingAlone(t *testing.T) {
	testkit.OverNetworks(t, func(t *testing.T, network string) {
		conn, peer := testnet.Dialed(t, network)
		result := testkit.Blocked(t, func() error { _, err := conn.Write(make([]byte, 64<<20)); return err })
		require.NoError(t, conn.(halfCloser).CloseWrite())
		require.ErrorIs(t, testkit.Receive(t, result), syscall.EPIPE)
		require.True(t, conn.IsActive(), "the peer is taken for gone, though it is alive")
		testkit.Send(t, peer, "still here")
		require.NoError(t, conn.SetReadTimeout(testkit.Timeout))
		s, err := conn.Reader().ReadString(len("still here"))
		require.NoError(t, err)
		require.Equal(t, "still here", s)
	})
}
