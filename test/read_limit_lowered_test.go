package test

// A limit on unread input that is set below the input that is buffered already.

import (
	"context"
	"testing"

	"github.com/cloudwego/netpoll"
	"github.com/cloudwego/netpoll/internal/testkit"
	"github.com/cloudwego/netpoll/internal/testnet"
	"github.com/stretchr/testify/require"
)

// A handler that has returned to wait for more gets more, although there was no limit yet when it returned.
func TestHandlerThatWaitsGetsMoreWhenTheBoundIsLowered(t *testing.T) {
	testkit.OverNetworks(t, func(t *testing.T, network string) {
		const half = 300_000
		conn, peer := testnet.Dialed(t, network)
		limited := conn.(interface{ SetReadLimit(bytes int) error })
		require.NoError(t, limited.SetReadLimit(0))
		got := make(chan int, 1)
		require.NoError(t, conn.SetOnRequest(func(_ context.Context, c netpoll.Connection) error {
			if c.Reader().Len() < 2*half {
				return nil
			}
			got <- c.Reader().Len()
			return c.Reader().Skip(2 * half)
		}))
		sent := make(chan error, 1)
		go func() {
			_, err := peer.Write(make([]byte, half))
			sent <- err
		}()
		testnet.Buffered(t, conn, half)
		require.NoError(t, testkit.Receive(t, sent))
		require.NoError(t, limited.SetReadLimit(1000))
		go func() {
			_, err := peer.Write(make([]byte, half))
			sent <- err
		}()
		require.Equal(t, 2*half, testkit.Receive(t, got))
		require.NoError(t, testkit.Receive(t, sent))
	})
}
