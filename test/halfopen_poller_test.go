//go:build linux && !netconn

package test

// The end of the peer's side behind input that is at its limit. Only a poller can see it there.

import (
	"context"
	"net"
	"testing"
	"time"

	"github.com/cloudwego/netpoll"
	"github.com/cloudwego/netpoll/internal/testkit"
	"github.com/cloudwego/netpoll/internal/testnet"
	"github.com/stretchr/testify/require"
)

// Behaviour 5.2, 9.1: a handler that reads no more learns of the end by OnDisconnect, although there is more input than
// the limit allows; and all of that input can be read.
func TestOnDisconnectComesThoughInputIsAtItsBound(t *testing.T) {
	const total, limit = 40 << 10, 4 << 10 // the rest fits into the kernel, and the end with it
	testkit.OverNetworks(t, func(t *testing.T, network string) {
		gone, got := make(chan struct{}), make(chan int, 1)
		addr := testnet.NewServer(t, network, func(_ context.Context, conn netpoll.Connection) error {
			<-gone
			p, err := conn.Reader().Next(conn.Reader().Len())
			got <- len(p)
			return err
		}, netpoll.WithReadLimit(limit),
			netpoll.WithOnDisconnect(func(context.Context, netpoll.Connection) { close(gone) })).Addr()
		peer, err := net.Dial(addr.Network(), addr.String())
		require.NoError(t, err)
		defer peer.Close()
		require.NoError(t, peer.SetWriteDeadline(time.Now().Add(testkit.Timeout)))
		_, err = peer.Write(testkit.Pattern(total))
		require.NoError(t, err)
		require.NoError(t, peer.(halfCloser).CloseWrite())
		require.Equal(t, total, testkit.Receive(t, got))
	})
}

// Behaviour 9.1: the same for a handler that is set when the end has been noticed already.
func TestHandlerSetAfterTheEndSeesEverything(t *testing.T) {
	const total, limit = 40 << 10, 4 << 10 // the rest fits into the kernel, and the end with it
	testkit.OverNetworks(t, func(t *testing.T, network string) {
		conn, peer := testnet.Dialed(t, network)
		require.NoError(t, conn.(interface{ SetReadLimit(int) error }).SetReadLimit(limit))
		require.NoError(t, peer.SetWriteDeadline(time.Now().Add(testkit.Timeout)))
		_, err := peer.Write(testkit.Pattern(total))
		require.NoError(t, err)
		require.NoError(t, peer.(halfCloser).CloseWrite())
		testkit.Eventually(t, func() bool { return !conn.IsActive() }) // Behaviour 6.9: a pool learns of it early
		require.Less(t, conn.Reader().Len(), total)
		seen, ended := 0, make(chan int, 1)
		require.NoError(t, conn.SetOnRequest(func(_ context.Context, conn netpoll.Connection) error {
			n := conn.Reader().Len()
			seen += n
			err := conn.Reader().Skip(n)
			if !conn.IsActive() && conn.Reader().Len() == 0 {
				ended <- seen
			}
			return err
		}))
		require.Equal(t, total, testkit.Receive(t, ended))
	})
}
