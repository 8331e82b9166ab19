//go:build linux

package test

// The life of connections that belong to their user: dialed ones and those made from a descriptor.

import (
	"context"
	"io"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/cloudwego/netpoll"
	"github.com/cloudwego/netpoll/internal/testkit"
	"github.com/cloudwego/netpoll/internal/testnet"
	"github.com/stretchr/testify/require"
)

// lifeSetter has the methods of every connection beyond Connection.
type lifeSetter interface {
	SetOnConnect(netpoll.OnConnect) error
	SetOnDisconnect(netpoll.OnDisconnect) error
}

// Behaviour 5.8: a dialed connection without OnRequest belongs to its user until Close.
func TestDialedConnectionIsFreedByItsUser(t *testing.T) {
	testkit.OverNetworks(t, func(t *testing.T, network string) {
		conn, peer := testnet.Dialed(t, network)
		socket := idOf(t, conn)
		gone, closed := make(chan bool, 2), make(chan struct{}, 2)
		require.NoError(t, conn.(lifeSetter).SetOnDisconnect(func(_ context.Context, c netpoll.Connection) {
			gone <- c.IsActive()
		}))
		require.NoError(t, conn.AddCloseCallback(func(netpoll.Connection) error { closed <- struct{}{}; return nil }))
		require.True(t, conn.IsActive())

		_, err := io.WriteString(peer, "bye")
		require.NoError(t, err)
		require.NoError(t, peer.Close())
		require.False(t, testkit.Receive(t, gone), "IsActive in OnDisconnect")
		require.False(t, conn.IsActive())
		testkit.Silent(t, testkit.Calm, closed, "close callback before Close")
		require.True(t, socketIsOpen(socket), "the descriptor was closed before Close")

		p, err := conn.Reader().Next(3)
		require.NoError(t, err)
		require.Equal(t, "bye", string(p))
		_, err = conn.Reader().Next(1)
		require.ErrorIs(t, err, netpoll.ErrEOF)

		require.NoError(t, conn.Close())
		testkit.Receive(t, closed)
		require.False(t, socketIsOpen(socket), "the descriptor is open after Close")
		require.NoError(t, conn.Close())
		testkit.Silent(t, testkit.Calm, closed, "second close callback")
		testkit.Silent(t, testkit.Calm, gone, "second OnDisconnect")
	})
}

// Behaviour 5.8: a reader that waits gets what came before the end, and then the end.
func TestBlockedReaderOfDialedConnectionSeesTheEnd(t *testing.T) {
	testkit.OverNetworks(t, func(t *testing.T, network string) {
		conn, peer := testnet.Dialed(t, network)
		result := testkit.Blocked(t, func() error { return waitForMore(conn) })
		_, err := io.WriteString(peer, "not enough")
		require.NoError(t, err)
		require.NoError(t, peer.Close())
		require.ErrorIs(t, testkit.Receive(t, result), netpoll.ErrEOF)
		require.Equal(t, len("not enough"), conn.Reader().Len())
	})
}

// waitForMore waits for more than the peer sends.
func waitForMore(conn netpoll.Connection) error {
	_, err := conn.Reader().Next(100)
	return err
}

// Behaviour 5.8: a dialed connection with OnRequest ends with its peer, without a Close.
func TestDialedConnectionWithHandlerEndsWithItsPeer(t *testing.T) {
	testkit.OverNetworks(t, func(t *testing.T, network string) {
		conn, peer := testnet.Dialed(t, network)
		socket := idOf(t, conn)
		got, closed := make(chan string, 1), make(chan struct{})
		require.NoError(t, conn.AddCloseCallback(func(netpoll.Connection) error { close(closed); return nil }))
		require.NoError(t, conn.SetOnRequest(takeAll(got)))
		_, err := io.WriteString(peer, "bye")
		require.NoError(t, err)
		require.NoError(t, peer.Close())
		require.Equal(t, "bye", testkit.Receive(t, got))
		testkit.Receive(t, closed)
		testkit.Eventually(t, func() bool { return !socketIsOpen(socket) })
	})
}

// Behaviour 5.8: SetOnConnect on a dialed connection is called at once, in the pool, and does not hide OnRequest.
func TestOnConnectSetOnDialedConnectionIsCalled(t *testing.T) {
	for _, order := range []string{"OnConnect first", "OnRequest first"} {
		t.Run(order, func(t *testing.T) {
			conn, peer := testnet.Dialed(t, "tcp")
			connected, requested := make(chan struct{}, 2), make(chan any, 2)
			setConnect := func() {
				var caller sync.Mutex // shows that the callback has a goroutine of its own
				caller.Lock()
				defer caller.Unlock()
				require.NoError(t, conn.(lifeSetter).SetOnConnect(
					func(ctx context.Context, _ netpoll.Connection) context.Context {
						caller.Lock()
						defer caller.Unlock()
						connected <- struct{}{}
						return context.WithValue(ctx, contextKey("k"), "v")
					}))
			}
			setRequest := func() {
				require.NoError(t, conn.SetOnRequest(func(ctx context.Context, conn netpoll.Connection) error {
					requested <- ctx.Value(contextKey("k"))
					return testnet.Discard(ctx, conn)
				}))
			}
			if order == "OnRequest first" {
				setRequest()
				setConnect()
			} else {
				setConnect()
				setRequest()
			}
			testkit.Receive(t, connected)
			_, err := io.WriteString(peer, "x")
			require.NoError(t, err)
			require.Equal(t, "v", testkit.Receive(t, requested))
			testkit.Silent(t, testkit.Calm, connected, "second OnConnect")
		})
	}
}

// Behaviour 5.8: SetOnConnect alone leaves reading, and the Close, to the user.
func TestDialedConnectionWithOnConnectOnlyIsReadByItsUser(t *testing.T) {
	conn, peer := testnet.Dialed(t, "tcp")
	connected := make(chan struct{})
	require.NoError(t, conn.(lifeSetter).SetOnConnect(
		func(ctx context.Context, _ netpoll.Connection) context.Context { close(connected); return ctx }))
	testkit.Receive(t, connected)
	for range 10 {
		_, err := io.WriteString(peer, "ping")
		require.NoError(t, err)
		p, err := conn.Reader().Next(4)
		require.NoError(t, err)
		require.Equal(t, "ping", string(p))
	}
}

// Behaviour 5.2: OnDisconnect that is set when the peer is gone already is called at once, if no other was.
func TestOnDisconnectSetAfterThePeerIsGoneIsCalled(t *testing.T) {
	conn, peer := testnet.Dialed(t, "tcp")
	require.NoError(t, peer.Close())
	testkit.Eventually(t, func() bool { return !conn.IsActive() })
	gone := make(chan struct{}, 2)
	on := func(context.Context, netpoll.Connection) { gone <- struct{}{} }
	require.NoError(t, conn.(lifeSetter).SetOnDisconnect(on))
	testkit.Receive(t, gone)
	require.NoError(t, conn.(lifeSetter).SetOnDisconnect(on))
	testkit.Silent(t, testkit.Calm, gone, "second OnDisconnect")
}

// Behaviour 5.14: a CloseCallback added after the close runs at once.
func TestCloseCallbackAddedAfterTheCloseRunsAtOnce(t *testing.T) {
	conn, _ := testnet.Dialed(t, "tcp")
	require.NoError(t, conn.Close())
	ran := make(chan netpoll.Connection, 2)
	require.NoError(t, conn.AddCloseCallback(func(c netpoll.Connection) error { ran <- c; return nil }))
	require.Same(t, conn, testkit.Receive(t, ran))
	testkit.Silent(t, testkit.Calm, ran, "second run of the callback")

	inner := make(chan struct{})
	require.NoError(t, conn.AddCloseCallback(func(c netpoll.Connection) error {
		return c.AddCloseCallback(func(netpoll.Connection) error { close(inner); return nil })
	}))
	testkit.Receive(t, inner)
}

// Behaviour 5.14: … on a served connection too, and inside the callbacks themselves.
func TestCloseCallbackAddedByCloseCallbackRuns(t *testing.T) {
	var j journal
	s := testnet.NewServer(t, "tcp", testnet.Echo,
		netpoll.WithOnConnect(func(ctx context.Context, conn netpoll.Connection) context.Context {
			_ = conn.AddCloseCallback(func(c netpoll.Connection) error {
				j.add("outer")
				return c.AddCloseCallback(j.noting("inner"))
			})
			return ctx
		}))
	c := s.Dial()
	require.NoError(t, testkit.RoundTrip(c, "x"))
	require.NoError(t, c.Close())
	j.until(t, "inner")
	require.Equal(t, []string{"outer", "inner"}, j.list())
}

// Behaviour 5.14: adding is safe from any goroutine: each callback runs exactly once, whenever it was added.
func TestCloseCallbacksAddedConcurrentlyAllRunOnce(t *testing.T) {
	const rounds, adders, each = 50, 8, 20
	for range rounds {
		conn, peer := testnet.Dialed(t, "tcp")
		var runs [adders * each]atomic.Int32
		start := make(chan struct{})
		var wg sync.WaitGroup
		for a := range adders {
			wg.Go(func() {
				<-start
				for i := range each {
					_ = conn.AddCloseCallback(func(netpoll.Connection) error { runs[a*each+i].Add(1); return nil })
				}
			})
		}
		wg.Go(func() { <-start; conn.Close() })
		close(start)
		wg.Wait()
		testkit.Eventually(t, func() bool {
			for i := range runs {
				if runs[i].Load() == 0 {
					return false
				}
			}
			return true
		})
		for i := range runs {
			require.EqualValues(t, 1, runs[i].Load())
		}
		peer.Close()
	}
}
