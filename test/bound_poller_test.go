//go:build linux && !netconn

package test

// Connections whose input is at its limit, where a poller still notices the peer's end.

import (
	"bytes"
	"io"
	"net"
	"testing"

	"github.com/cloudwego/netpoll"
	"github.com/cloudwego/netpoll/internal/testkit"
	"github.com/cloudwego/netpoll/internal/testnet"
	"github.com/stretchr/testify/require"
)

// Behaviour 5.8: with the peer long gone, the reader of an accepted connection without OnRequest still gets every byte,
// those beyond the read limit too, and then the end.
func TestReaderWithoutHandlerGetsEverythingAfterThePeerIsGone(t *testing.T) {
	testkit.OverNetworks(t, func(t *testing.T, network string) {
		conn, peer, _ := ownedPair(t, network, netpoll.WithReadLimit(4096))
		data := testkit.Pattern(40_000) // more than the limit, and little enough for the socket to hold
		_, err := peer.Write(data)
		require.NoError(t, err)
		require.NoError(t, peer.Close())
		testkit.Eventually(t, func() bool { return !conn.IsActive() })
		got, err := io.ReadAll(conn)
		require.NoError(t, err)
		require.True(t, bytes.Equal(data, got), "%d bytes of %d arrived", len(got), len(data))
	})
}

// Behaviour 6.9: reset, or end, while the connection has stopped reading because no reader consumes.
func TestEndIsNoticedWhileInputIsAtItsBound(t *testing.T) {
	for _, end := range []string{"close", "reset"} {
		t.Run(end, func(t *testing.T) {
			conn, peer := testnet.Dialed(t, "tcp")
			sent := fillInput(t, conn, peer)
			if end == "close" {
				require.NoError(t, peer.Close())
			} else {
				testkit.Reset(t, peer)
			}
			testkit.Eventually(t, func() bool { return !conn.IsActive() })
			testkit.Idles(t)
			if end == "close" {
				got, err := io.Copy(io.Discard, conn)
				require.NoError(t, err)
				require.EqualValues(t, sent, got)
			}
		})
	}
}

// fillInput sends until the connection holds all it takes without a reader, and a little more, which stays in the
// kernel. It returns how much it sent.
func fillInput(t testing.TB, conn netpoll.Connection, peer net.Conn) (sent int) {
	t.Helper()
	const defaultBound, more = 1 << 20, 32 << 10
	sent = defaultBound + more
	_, err := peer.Write(make([]byte, sent))
	require.NoError(t, err)
	testnet.Buffered(t, conn, defaultBound)
	return sent
}
