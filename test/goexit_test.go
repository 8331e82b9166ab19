//go:build linux

package test

// Callbacks that end their goroutine, as tests do that fail: that is as good as a panic.

import (
	"context"
	"io"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/cloudwego/netpoll"
	"github.com/cloudwego/netpoll/internal/testkit"
	"github.com/cloudwego/netpoll/internal/testnet"
	"github.com/stretchr/testify/require"
)

// Behaviour 5.7: the connection is closed, all its close callbacks run, the log reports it once, and others are served.
// Shutdown, at the end of the test, does not wait for anything.
func TestCallbackThatEndsItsGoroutineEndsOnlyItsConnection(t *testing.T) {
	for _, where := range []string{"OnConnect", "OnRequest", "OnDisconnect", "CloseCallback"} { // OnPrepare is below
		t.Run(where, func(t *testing.T) {
			log := testkit.CaptureLog(t, netpoll.SetLoggerOutput)
			var j journal
			var victims atomic.Bool // from now on
			leave := func(here string) {
				if here == where && victims.Load() {
					runtime.Goexit()
				}
			}
			id := make(chan uint64, 1)
			s := testnet.NewServer(t, "tcp", func(ctx context.Context, conn netpoll.Connection) error {
				leave("OnRequest")
				return testnet.Echo(ctx, conn)
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
			other := s.Dial()
			testkit.Receive(t, id)
			require.NoError(t, testkit.RoundTrip(other, "before"))
			victims.Store(true)
			victim := s.Dial()
			socket := testkit.Receive(t, id)
			requireVictimEnds(t, where, victim, socket, &j)
			victims.Store(false)
			require.NoError(t, testkit.RoundTrip(other, "after"))
			require.Equal(t, 1, strings.Count(log.String(), where+" of the connection with "), "reports in\n%s", log)
			require.Equal(t, 1, strings.Count(log.String(), "ended its goroutine (runtime.Goexit)"), "reports in\n%s", log)
			require.Contains(t, log.String(), "goexit_test.go", "the report does not tell where it was")
		})
	}
}

// Behaviour 5.7: … whatever runs the handlers.
func TestCallbackMayEndItsGoroutineInAnyRunner(t *testing.T) {
	if !testkit.InOwnProcess(t) {
		return
	}
	require.NoError(t, netpoll.DisableGopool())
	TestCallbackThatEndsItsGoroutineEndsOnlyItsConnection(t)
	netpoll.SetRunner(func(_ context.Context, f func()) { go f() })
	TestCallbackThatEndsItsGoroutineEndsOnlyItsConnection(t)
}

// Behaviour 5.7: a handler that ends its goroutine, as t.FailNow does, is not called again for what it has left.
func TestHandlerThatEndedItsGoroutineIsNotCalledAgain(t *testing.T) {
	testkit.CaptureLog(t, netpoll.SetLoggerOutput)
	for _, consumed := range []int{0, 1} {
		var calls atomic.Int32
		closed := make(chan struct{})
		conn, peer := testnet.Dialed(t, "tcp")
		require.NoError(t, conn.AddCloseCallback(func(netpoll.Connection) error { close(closed); return nil }))
		require.NoError(t, conn.SetOnRequest(func(_ context.Context, conn netpoll.Connection) error {
			calls.Add(1)
			_ = conn.Reader().Skip(consumed)
			runtime.Goexit()
			return nil
		}))
		_, err := io.WriteString(peer, "xyz")
		require.NoError(t, err)
		testkit.Receive(t, closed)
		_, err = peer.Read(make([]byte, 1))
		require.Error(t, err)
		require.Equal(t, int32(1), calls.Load())
	}
}

// Behaviour 5.1: every close callback runs, in order, however many end their goroutine: here that of Close itself.
func TestCloseCallbacksThatEndTheirGoroutineAreAllCalled(t *testing.T) {
	testkit.CaptureLog(t, netpoll.SetLoggerOutput)
	conn, _ := testnet.Dialed(t, "tcp")
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
	testkit.Receive(t, ended)
	require.False(t, returned)
	require.Equal(t, []string{"4", "3", "2", "1"}, j.list())
}

// Behaviour 5.2: OnDisconnect has run once, and its connection is released, also if it has ended its goroutine beside a
// handler that still runs.
func TestOnDisconnectThatEndsItsGoroutineLeavesTheHandlerAlone(t *testing.T) {
	testkit.CaptureLog(t, netpoll.SetLoggerOutput)
	handling, left, goOn := make(chan struct{}), make(chan struct{}), make(chan struct{})
	closed := make(chan struct{})
	s := testnet.NewServer(t, "tcp", func(_ context.Context, conn netpoll.Connection) error {
		_ = conn.Reader().Skip(1)
		_ = conn.AddCloseCallback(func(netpoll.Connection) error { close(closed); return nil })
		close(handling)
		<-goOn
		return nil
	}, netpoll.WithOnDisconnect(func(context.Context, netpoll.Connection) {
		defer close(left)
		runtime.Goexit()
	}))
	c := s.Dial()
	_, err := io.WriteString(c, "x")
	require.NoError(t, err)
	testkit.Receive(t, handling)
	require.NoError(t, c.Close())
	testkit.Receive(t, left)
	testkit.Silent(t, testkit.Calm, closed, "close callbacks while the handler runs")
	close(goOn)
	testkit.Receive(t, closed)
}

// Behaviour 6.1: an OnPrepare may end the goroutine of Serve. The listener is then closed, as after a return.
func TestListenerIsClosedWhenTheGoroutineOfServeEnds(t *testing.T) {
	log := testkit.CaptureLog(t, netpoll.SetLoggerOutput)
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
	require.Equal(t, 1, strings.Count(log.String(), "OnPrepare of the connection with "), log.String())
}
