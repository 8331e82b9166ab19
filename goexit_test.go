//go:build linux

package netpoll_test

// Callbacks that end their goroutine, as tests do that fail: that is as good as a panic.

import (
	"context"
	"io"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/cloudwego/netpoll"
	"github.com/stretchr/testify/require"
)

// Behaviour 5.7: the connection is closed, all its close callbacks run, the log tells of it once, and others are served.
// Shutdown, at the end of the test, does not wait for anything.
func TestCallbackThatEndsItsGoroutineEndsOnlyItsConnection(t *testing.T) {
	for _, where := range []string{"OnConnect", "OnRequest", "OnDisconnect", "CloseCallback"} { // OnPrepare is below
		t.Run(where, func(t *testing.T) {
			log := captureLog(t)
			var j journal
			var victims atomic.Bool // from now on
			leave := func(here string) {
				if here == where && victims.Load() {
					runtime.Goexit()
				}
			}
			id := make(chan uint64, 1)
			s := newLifeServer(t, "tcp", func(ctx context.Context, conn netpoll.Connection) error {
				leave("OnRequest")
				return echo(ctx, conn)
			}, netpoll.WithOnPrepare(func(conn netpoll.Connection) context.Context {
				if victims.Load() {
					_ = conn.AddCloseCallback(j.noting("first"))
					_ = conn.AddCloseCallback(func(netpoll.Connection) error { leave("CloseCallback"); return nil })
					_ = conn.AddCloseCallback(j.noting("third"))
				}
				id <- idOf(t, conn)
				return context.Background()
			}), netpoll.WithOnConnect(func(ctx context.Context, _ netpoll.Connection) context.Context {
				leave("OnConnect")
				return ctx
			}), netpoll.WithOnDisconnect(func(context.Context, netpoll.Connection) { leave("OnDisconnect") }))
			other := s.dial()
			receive(t, id)
			require.NoError(t, roundTrip(other, "before"))
			victims.Store(true)
			victim := s.dial()
			socket := receive(t, id)
			if where == "OnDisconnect" || where == "CloseCallback" {
				require.NoError(t, roundTrip(victim, "fine so far"))
				require.NoError(t, victim.Close())
			} else {
				_, _ = io.WriteString(victim, "x") // fails if the end was faster
				_, err := victim.Read(make([]byte, 1))
				require.Error(t, err, "the connection is still open")
			}
			eventually(t, func() bool { return !socketIsOpen(socket) })
			require.Equal(t, []string{"third", "first"}, j.list())
			victims.Store(false)
			require.NoError(t, roundTrip(other, "after"))
			require.Equal(t, 1, strings.Count(log.String(), where+" of the connection with "), "reports in\n%s", log)
			require.Equal(t, 1, strings.Count(log.String(), "ended its goroutine (runtime.Goexit)"), "reports in\n%s", log)
			require.Contains(t, log.String(), "goexit_test.go", "the report does not tell where it was")
		})
	}
}

// Behaviour 5.7: … whatever runs the handlers.
func TestCallbackMayEndItsGoroutineInAnyRunner(t *testing.T) {
	if !inOwnProcess(t) {
		return
	}
	require.NoError(t, netpoll.DisableGopool())
	TestCallbackThatEndsItsGoroutineEndsOnlyItsConnection(t)
	netpoll.SetRunner(func(_ context.Context, f func()) { go f() })
	TestCallbackThatEndsItsGoroutineEndsOnlyItsConnection(t)
}

// Behaviour 5.7: a handler that ends its goroutine, as t.FailNow does, is not called again for what it has left.
func TestHandlerThatEndedItsGoroutineIsNotCalledAgain(t *testing.T) {
	captureLog(t)
	for _, consumed := range []int{0, 1} {
		var calls atomic.Int32
		closed := make(chan struct{})
		conn, peer := dialedTo(t, "tcp")
		require.NoError(t, conn.AddCloseCallback(func(netpoll.Connection) error { close(closed); return nil }))
		require.NoError(t, conn.SetOnRequest(func(_ context.Context, conn netpoll.Connection) error {
			calls.Add(1)
			_ = conn.Reader().Skip(consumed)
			runtime.Goexit()
			return nil
		}))
		_, err := io.WriteString(peer, "xyz")
		require.NoError(t, err)
		receive(t, closed)
		_, err = peer.Read(make([]byte, 1))
		require.Error(t, err)
		require.Equal(t, int32(1), calls.Load())
	}
}

// Behaviour 5.1: every close callback runs, in order, however many end their goroutine: here that of Close itself.
func TestCloseCallbacksThatEndTheirGoroutineAreAllCalled(t *testing.T) {
	captureLog(t)
	conn, _ := dialedTo(t, "tcp")
	var j journal
	for _, name := range []string{"1", "2", "3", "4"} {
		require.NoError(t, conn.AddCloseCallback(func(netpoll.Connection) error {
			j.add("%s", name)
			runtime.Goexit()
			return nil
		}))
	}
	ended, returned := make(chan struct{}), false
	go func() {
		defer close(ended)
		_ = conn.Close()
		returned = true
	}()
	receive(t, ended)
	require.False(t, returned)
	require.Equal(t, []string{"4", "3", "2", "1"}, j.list())
}

// Behaviour 5.2: OnDisconnect has run once, and its connection is released, also if it has ended its goroutine beside a
// handler that still runs.
func TestOnDisconnectThatEndsItsGoroutineLeavesTheHandlerAlone(t *testing.T) {
	captureLog(t)
	handling, left, goOn := make(chan struct{}), make(chan struct{}), make(chan struct{})
	closed := make(chan struct{})
	s := newLifeServer(t, "tcp", func(_ context.Context, conn netpoll.Connection) error {
		_ = conn.Reader().Skip(1)
		_ = conn.AddCloseCallback(func(netpoll.Connection) error { close(closed); return nil })
		close(handling)
		<-goOn
		return nil
	}, netpoll.WithOnDisconnect(func(context.Context, netpoll.Connection) {
		defer close(left)
		runtime.Goexit()
	}))
	c := s.dial()
	_, err := io.WriteString(c, "x")
	require.NoError(t, err)
	receive(t, handling)
	require.NoError(t, c.Close())
	receive(t, left)
	silent(t, closed, "close callbacks while the handler runs")
	close(goOn)
	receive(t, closed)
}

// Behaviour 6.1: an OnPrepare may end the goroutine of Serve. The listener is then closed, as after a return.
func TestListenerIsClosedWhenTheGoroutineOfServeEnds(t *testing.T) {
	log := captureLog(t)
	ln, dialed := newMemoryListener(), make(chan struct{})
	loop, _ := serveAny(t, ln, echo, netpoll.WithOnPrepare(func(netpoll.Connection) context.Context {
		<-dialed
		runtime.Goexit()
		return nil
	}))
	c := ln.dial(t)
	close(dialed)
	_, err := c.Read(make([]byte, 1))
	require.ErrorIs(t, err, io.EOF)
	receive(t, ln.done)
	end(t, loop)
	require.Equal(t, 1, strings.Count(log.String(), "OnPrepare of the connection with "), log.String())
}
