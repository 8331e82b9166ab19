//go:build linux

package netpoll_test

// Callbacks that end their goroutine, as tests do that fail: what comes after them comes all the same.

import (
	"context"
	"io"
	"net"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cloudwego/netpoll"
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
			s := newLifeServer(t, "tcp", func(ctx context.Context, conn netpoll.Connection) error {
				if once.CompareAndSwap(false, true) {
					_ = conn.AddCloseCallback(func(netpoll.Connection) error { close(closed); return nil })
					_ = conn.AddCloseCallback(func(netpoll.Connection) error { runtime.Goexit(); return nil })
				}
				return echo(ctx, conn)
			}, leave...)
			client := s.dial()
			require.NoError(t, roundTrip(client, "hello"))
			require.NoError(t, client.Close())
			receive(t, closed)
		})
	}
}

// A handler that never consumes anything is not called in a loop, whether it returns or ends its goroutine.
func TestHandlerThatOnlyEndsItsGoroutineIsNotCalledInALoop(t *testing.T) {
	var calls atomic.Int32
	ended := make(chan struct{})
	s := newLifeServer(t, "tcp", func(_ context.Context, conn netpoll.Connection) error {
		if calls.Add(1) == 1 {
			_ = conn.AddCloseCallback(func(netpoll.Connection) error { close(ended); return nil })
		}
		runtime.Goexit()
		return nil
	})
	client := s.dial()
	_, err := io.WriteString(client, "x")
	require.NoError(t, err)
	eventually(t, func() bool { return calls.Load() > 0 })
	<-time.After(calmTime)
	require.NoError(t, client.Close())
	receive(t, ended)
	require.LessOrEqual(t, calls.Load(), int32(6), "twice for the byte, and for the end")
}

// An OnPrepare that ends the poller's goroutine takes nothing from others of its batch: here the newcomers come all in
// one, behind a handler that was about to run.
func TestOnPrepareThatEndsItsGoroutineTakesNothingFromOthers(t *testing.T) {
	inSubprocess(t, func(t *testing.T) {
		require.NoError(t, netpoll.Configure(netpoll.Config{PollerNum: 1}))
		busy, goOn := make(chan struct{}), make(chan struct{})
		slow := newLifeServer(t, "tcp", echo, netpoll.WithOnPrepare(func(netpoll.Connection) context.Context {
			close(busy)
			<-goOn
			return nil
		}))
		leaving := newLifeServer(t, "tcp", echo, netpoll.WithOnPrepare(func(netpoll.Connection) context.Context {
			runtime.Goexit()
			return nil
		}))
		old := newLifeServer(t, "tcp", echo).dial()
		require.NoError(t, roundTrip(old, "hello"))
		late := slow.dial() // holds up the poller while the next batch gathers
		receive(t, busy)
		_, err := io.WriteString(old, "there?")
		require.NoError(t, err)
		var newcomers []net.Conn
		for range 3 {
			newcomers = append(newcomers, leaving.dial())
		}
		close(goOn)
		got := make([]byte, 6)
		_, err = io.ReadFull(old, got)
		require.NoError(t, err)
		require.Equal(t, "there?", string(got))
		require.NoError(t, roundTrip(late, "hello"))
		for _, c := range newcomers { // each was closed, for want of an OnPrepare that returned
			_, err := c.Read(got)
			require.Error(t, err)
		}
	})
}
