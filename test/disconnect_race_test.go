//go:build linux

package test

// OnDisconnect where the handler learns of the peer's end at the same moment, and closes the connection because of it.

import (
	"context"
	"net"
	"runtime"
	"sync/atomic"
	"testing"

	"github.com/cloudwego/netpoll"
	"github.com/cloudwego/netpoll/internal/testkit"
	"github.com/cloudwego/netpoll/internal/testnet"
	"github.com/stretchr/testify/require"
)

// Behaviour 5.1, 5.2: OnDisconnect runs for every peer that is gone, before the close callbacks, also where a handler
// that noticed the end closes the connection at once, however it noticed.
func TestOnDisconnectRunsThoughTheHandlerClosesAtThePeersEnd(t *testing.T) {
	t.Parallel()
	for name, awaitEnd := range map[string]func(ctx context.Context, conn netpoll.Connection){
		"by reading":  func(_ context.Context, conn netpoll.Connection) { _, _ = conn.Reader().Next(1) },
		"by its ctx":  func(ctx context.Context, _ netpoll.Connection) { <-ctx.Done() },
		"by IsActive": func(_ context.Context, conn netpoll.Connection) { spinWhileActive(conn) },
	} {
		for end, waits := range map[string]bool{"during the handler": true, "with the request": false} {
			t.Run(name+"/"+end, func(t *testing.T) { raceHandlerWithDisconnect(t, awaitEnd, waits) })
		}
	}
}

// spinWhileActive asks without a pause, so that it sees the end in the moment it comes.
func spinWhileActive(conn netpoll.Connection) {
	for conn.IsActive() {
		runtime.Gosched()
	}
}

// raceHandlerWithDisconnect lets clients come and go, one after the other, at a server whose handler closes at their
// end. A client either waits for the handler before it goes, or goes with its request.
func raceHandlerWithDisconnect(t *testing.T, awaitEnd func(context.Context, netpoll.Connection), waits bool) {
	type key struct{}
	var closed, missed atomic.Int64
	clients := rounds(800, 200)
	handling := make(chan struct{}, clients)
	s := testnet.NewServer(t, "tcp", func(ctx context.Context, conn netpoll.Connection) error {
		_ = testnet.Discard(ctx, conn)
		handling <- struct{}{}
		awaitEnd(ctx, conn)
		return conn.Close()
	}, netpoll.WithConnContext(), netpoll.WithOnPrepare(func(conn netpoll.Connection) context.Context {
		disconnected := new(atomic.Bool)
		_ = conn.AddCloseCallback(func(netpoll.Connection) error {
			if !disconnected.Load() {
				missed.Add(1)
			}
			closed.Add(1)
			return nil
		})
		return context.WithValue(context.Background(), key{}, disconnected)
	}), netpoll.WithOnDisconnect(func(ctx context.Context, _ netpoll.Connection) {
		ctx.Value(key{}).(*atomic.Bool).Store(true)
	}))
	for range clients {
		c, err := net.Dial("tcp", s.Listener.Addr().String())
		require.NoError(t, err)
		_, err = c.Write([]byte("x"))
		require.NoError(t, err)
		if waits {
			testkit.Receive(t, handling)
		}
		require.NoError(t, c.Close())
	}
	testkit.Eventually(t, func() bool { return closed.Load() == int64(clients) })
	require.Zero(t, missed.Load(), "connections of %d whose close callback ran without OnDisconnect", clients)
}
