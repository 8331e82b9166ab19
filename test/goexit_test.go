//go:build linux

package test

// Callbacks that end their goroutine, as tests do that fail: what comes after them comes all the same.

import (
	"context"
	"io"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cloudwego/netpoll"
	"github.com/cloudwego/netpoll/internal/testkit"
	"github.com/cloudwego/netpoll/internal/testnet"
	"github.com/stretchr/testify/require"
)

// leaves are the callbacks that end their goroutine, each by itself.
var leaves = map[string][]netpoll.Option{
	"OnConnect": {netpoll.WithOnConnect(func(ctx context.Context, _ netpoll.Connection) context.Context {
		runtime.Goexit()
		return ctx
	})},
	"OnDisconnect": {netpoll.WithOnDisconnect(func(context.Context, netpoll.Connection) { runtime.Goexit() })},
	"CloseCallback": {netpoll.WithOnPrepare(func(conn netpoll.Connection) context.Context {
		_ = conn.AddCloseCallback(func(netpoll.Connection) error {
			runtime.Goexit()
			return nil
		})
		return nil
	})},
}

// The connection is served, its close callbacks run, and Shutdown, at the end of the test, does not wait for it.
func TestCallbackThatEndsItsGoroutineKeepsNothingFromGoingOn(t *testing.T) {
	for name, leave := range leaves {
		t.Run(name, func(t *testing.T) {
			closed := make(chan struct{})
			var once atomic.Bool
			s := testnet.NewServer(t, "tcp", func(ctx context.Context, conn netpoll.Connection) error {
				if once.CompareAndSwap(false, true) {
					_ = conn.AddCloseCallback(func(netpoll.Connection) error { close(closed); return nil })
					_ = conn.AddCloseCallback(func(netpoll.Connection) error { runtime.Goexit(); return nil })
				}
				return testnet.Echo(ctx, conn)
			}, leave...)
			client := s.Dial()
			require.NoError(t, testkit.RoundTrip(client, "hello"))
			require.NoError(t, client.Close())
			testkit.Receive(t, closed)
		})
	}
}

// A handler that never consumes anything is not called in a loop, whether it returns or ends its goroutine.
func TestHandlerThatOnlyEndsItsGoroutineIsNotCalledInALoop(t *testing.T) {
	var calls atomic.Int32
	ended := make(chan struct{})
	s := testnet.NewServer(t, "tcp", func(_ context.Context, conn netpoll.Connection) error {
		if calls.Add(1) == 1 {
			_ = conn.AddCloseCallback(func(netpoll.Connection) error { close(ended); return nil })
		}
		runtime.Goexit()
		return nil
	})
	client := s.Dial()
	_, err := io.WriteString(client, "x")
	require.NoError(t, err)
	testkit.Eventually(t, func() bool { return calls.Load() > 0 })
	<-time.After(testkit.Calm)
	require.NoError(t, client.Close())
	testkit.Receive(t, ended)
	require.LessOrEqual(t, calls.Load(), int32(6), "twice for the byte, and for the end")
}

// Behaviour 6.1: an OnPrepare may end the goroutine of Serve. The listener is then closed, as after a return.
func TestListenerIsClosedWhenTheGoroutineOfServeEnds(t *testing.T) {
	ln, dialed := newMemoryListener(), make(chan struct{})
	s := testnet.ServeOn(t, ln, testnet.Echo, netpoll.WithOnPrepare(func(netpoll.Connection) context.Context {
		<-dialed
		runtime.Goexit()
		return nil
	}))
	c := ln.dial(t)
	close(dialed)
	_, err := c.Read(make([]byte, 1))
	require.ErrorIs(t, err, io.EOF)
	testkit.Receive(t, ln.done)
	testnet.Shutdown(t, s.Loop)
}

// Behaviour 5.7: a handler that ends its goroutine, as t.FailNow does, is no reason to keep the connection for ever.
func TestConnectionEndsThoughItsHandlerCalledGoexit(t *testing.T) {
	handled, closed := make(chan struct{}), make(chan struct{})
	s := testnet.NewServer(t, "tcp", func(ctx context.Context, conn netpoll.Connection) error {
		_ = testnet.Discard(ctx, conn)
		close(handled)
		runtime.Goexit()
		return nil
	}, netpoll.WithOnPrepare(func(conn netpoll.Connection) context.Context {
		_ = conn.AddCloseCallback(func(netpoll.Connection) error { close(closed); return nil })
		return context.Background()
	}))
	c := s.Dial()
	_, err := io.WriteString(c, "x")
	require.NoError(t, err)
	testkit.Receive(t, handled)
	require.NoError(t, c.Close())
	testkit.Receive(t, closed)
}
