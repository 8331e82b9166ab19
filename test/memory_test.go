//go:build linux || darwin || dragonfly || freebsd || netbsd || openbsd

package test

// The memory of connections: idle ones, and those that carried a large message.

import (
	"io"
	"net"
	"testing"
	"time"

	"github.com/cloudwego/netpoll"
	"github.com/cloudwego/netpoll/internal/testkit"
	"github.com/cloudwego/netpoll/internal/testnet"
	"github.com/stretchr/testify/require"
)

// Behaviour 8.1: after a large message the memory goes back, at both ends, with the connections still open.
func TestMemoryGoesBackAfterLargeMessage(t *testing.T) {
	const size, budget = 32 << 20, 1 << 20
	served, peer := testnet.Served(t, "tcp", nil, netpoll.WithReadTimeout(testkit.Timeout))
	client, plain := testnet.Dialed(t, "tcp")
	exchange := func(n int) {
		data := make([]byte, n)
		for _, end := range []struct {
			conn netpoll.Connection
			peer net.Conn
		}{{served, peer}, {client, plain}} {
			sent := make(chan error, 1)
			go func() { _, err := end.peer.Write(data); sent <- err }()
			p, err := end.conn.Reader().Next(n)
			require.NoError(t, err)
			require.Len(t, p, n)
			require.NoError(t, end.conn.Reader().Release())
			require.NoError(t, testkit.Receive(t, sent))

			received := make(chan error, 1)
			go func() { _, err := io.CopyN(io.Discard, end.peer, int64(n)); received <- err }()
			region, err := end.conn.Writer().Malloc(n)
			require.NoError(t, err)
			require.Len(t, region, n)
			require.NoError(t, end.conn.Writer().Flush())
			require.NoError(t, testkit.Receive(t, received))
		}
	}
	exchange(1000)
	before := testkit.HeapInUse()
	exchange(size)
	var grown int64
	testkit.Eventually(t, func() bool { grown = testkit.HeapInUse() - before; return grown < budget })
	t.Logf("%d bytes of heap more after %d bytes went each way twice", grown, size)
	require.True(t, served.IsActive() && client.IsActive())
}

// Behaviour 8.1: input that was read byte by byte and by Read leaves nothing behind either.
func TestMemoryGoesBackAfterReading(t *testing.T) {
	const rounds, budget = 64, 256 << 10
	conn, peer := testnet.Dialed(t, "tcp")
	require.NoError(t, conn.SetReadDeadline(time.Now().Add(testkit.Timeout)))
	data := testkit.Pattern(256 << 10)
	before := testkit.HeapInUse()
	for range rounds {
		sent := make(chan error, 1)
		go func() { _, err := peer.Write(data); sent <- err }()
		_, err := io.ReadFull(conn, make([]byte, len(data)-2))
		require.NoError(t, err)
		_, err = conn.Reader().ReadByte()
		require.NoError(t, err)
		require.NoError(t, conn.Reader().Skip(1))
		require.NoError(t, testkit.Receive(t, sent))
	}
	grown := testkit.HeapInUse() - before
	t.Logf("%d bytes of heap more after %d bytes were read", grown, rounds*len(data))
	require.Less(t, grown, int64(budget))
}
