//go:build linux

package test

// The order of a served connection's callbacks: which run when, with which context, and what they may do.

import (
	"context"
	"fmt"
	"io"
	"net"
	"sync/atomic"
	"testing"

	"github.com/cloudwego/netpoll"
	"github.com/cloudwego/netpoll/internal/testkit"
	"github.com/cloudwego/netpoll/internal/testnet"
	"github.com/stretchr/testify/require"
)

type contextKey string

// Behaviour 5.1: OnPrepare, OnConnect, OnRequest repeatedly, OnDisconnect, CloseCallbacks in LIFO order, descriptor.
func TestServerCallbacksRunInOrderAndOnce(t *testing.T) {
	testkit.OverNetworks(t, func(t *testing.T, network string) {
		var j journal
		id := make(chan uint64, 1)
		s := testnet.NewServer(t, network, func(ctx context.Context, conn netpoll.Connection) error {
			j.add("request")
			return testnet.Echo(ctx, conn)
		}, netpoll.WithOnPrepare(func(conn netpoll.Connection) context.Context {
			j.add("prepare")
			id <- idOf(t, conn)
			_ = conn.AddCloseCallback(func(conn netpoll.Connection) error {
				_, err := socketID(conn.(netpoll.Conn).Fd())
				j.add("first close callback, descriptor open: %v", err == nil)
				return nil
			})
			return context.Background()
		}), netpoll.WithOnConnect(func(ctx context.Context, conn netpoll.Connection) context.Context {
			j.add("connect")
			_ = conn.AddCloseCallback(j.noting("second close callback"))
			return ctx
		}), netpoll.WithOnDisconnect(func(context.Context, netpoll.Connection) {
			j.add("disconnect")
		}))
		c := s.Dial()
		for range 3 {
			require.NoError(t, testkit.RoundTrip(c, "x"))
		}
		require.NoError(t, c.Close())
		last := "first close callback, descriptor open: true"
		j.until(t, last)
		socket := testkit.Receive(t, id)
		testkit.Eventually(t, func() bool { return !socketIsOpen(socket) })
		require.Equal(t, []string{"prepare", "connect", "request", "request", "request", "disconnect",
			"second close callback", last}, j.list())
	})
}

// Behaviour 5.1: a request never before OnConnect returned.
func TestRequestWaitsForOnConnect(t *testing.T) {
	requested, proceed := make(chan bool, 1), make(chan struct{})
	var connected atomic.Bool
	s := testnet.NewServer(t, "tcp", func(ctx context.Context, conn netpoll.Connection) error {
		requested <- connected.Load()
		return testnet.Echo(ctx, conn)
	}, netpoll.WithOnConnect(func(ctx context.Context, _ netpoll.Connection) context.Context {
		<-proceed
		connected.Store(true)
		return ctx
	}))
	c := s.Dial()
	_, err := io.WriteString(c, "x")
	require.NoError(t, err)
	testkit.Silent(t, testkit.Calm, requested, "a request before OnConnect returned")
	close(proceed)
	require.True(t, testkit.Receive(t, requested))
}

// Behaviour 5.1: never two requests at a time.
func TestRequestsOfOneConnectionNeverOverlap(t *testing.T) {
	const total = 20_000
	var running, received atomic.Int64
	var overlapped atomic.Bool
	on := func(_ context.Context, conn netpoll.Connection) error {
		if running.Add(1) != 1 {
			overlapped.Store(true)
		}
		defer running.Add(-1)
		_, err := conn.Reader().ReadByte()
		received.Add(1)
		return err
	}
	accepted := make(chan netpoll.Connection, 1)
	s := testnet.NewServer(t, "tcp", on,
		netpoll.WithOnConnect(func(ctx context.Context, conn netpoll.Connection) context.Context {
			accepted <- conn
			return ctx
		}))
	c := s.Dial()
	conn := testkit.Receive(t, accepted)
	stop := testkit.Repeat(t, func(int) bool { // setting the handler anew starts it where there is input
		_ = conn.SetOnRequest(on)
		return true
	})
	for range total / 100 {
		_, err := c.Write(make([]byte, 100))
		require.NoError(t, err)
	}
	testkit.Eventually(t, func() bool { return received.Load() >= total })
	stop()
	require.False(t, overlapped.Load(), "two requests ran at a time")
}

// Behaviour 5.1: CloseCallbacks never while OnRequest runs, whichever side closes.
func TestCloseCallbacksWaitForRunningRequest(t *testing.T) {
	t.Parallel()
	closers := map[string]func(t *testing.T, conn netpoll.Connection, peer net.Conn){
		"peer": func(t *testing.T, conn netpoll.Connection, peer net.Conn) {
			require.NoError(t, peer.Close())
			testkit.Eventually(t, func() bool { return !conn.IsActive() })
		},
		"peer reset": func(t *testing.T, conn netpoll.Connection, peer net.Conn) {
			testkit.Reset(t, peer)
			testkit.Eventually(t, func() bool { return !conn.IsActive() })
		},
		"user":   func(_ *testing.T, conn netpoll.Connection, _ net.Conn) { conn.Close() },
		"detach": func(_ *testing.T, conn netpoll.Connection, _ net.Conn) { conn.(detacher).Detach() },
		"both": func(t *testing.T, conn netpoll.Connection, peer net.Conn) {
			require.NoError(t, peer.Close())
			conn.Close()
		},
	}
	for name, closeIt := range closers {
		t.Run(name, func(t *testing.T) {
			entered, leave := make(chan netpoll.Connection, 1), make(chan struct{})
			closed := make(chan struct{}, 2)
			s := testnet.NewServer(t, "tcp", func(_ context.Context, conn netpoll.Connection) error {
				_ = conn.AddCloseCallback(func(netpoll.Connection) error { closed <- struct{}{}; return nil })
				entered <- conn
				<-leave
				return testnet.Discard(context.Background(), conn)
			})
			c := s.Dial()
			_, err := io.WriteString(c, "request")
			require.NoError(t, err)
			conn := testkit.Receive(t, entered)
			fd := conn.(netpoll.Conn).Fd()
			socket := idOf(t, conn)
			closeIt(t, conn, c)
			testkit.Silent(t, testkit.Calm, closed, "close callback while the request runs")
			require.True(t, socketIsOpen(socket), "the descriptor was closed while the request runs")
			close(leave)
			testkit.Receive(t, closed)
			testkit.Silent(t, testkit.Calm, closed, "second close callback")
			closeDetached(t, conn, fd, socket, name == "detach")
		})
	}
}

type detacher interface{ Detach() error }

// closeDetached closes the descriptor that Detach left to the caller, if it did.
func closeDetached(t *testing.T, conn netpoll.Connection, fd int, socket uint64, detached bool) {
	t.Helper()
	if detached {
		id, err := socketID(fd)
		require.NoError(t, err)
		require.Equal(t, socket, id)
		require.NoError(t, closeGivenBack(conn, fd))
		return
	}
	testkit.Eventually(t, func() bool { return !socketIsOpen(socket) })
}

// Behaviour 5.2: OnDisconnect as soon as the peer is gone, also while OnRequest runs, with the context of OnConnect.
func TestOnDisconnectRunsWhileRequestWaitsForIt(t *testing.T) {
	testkit.OverNetworks(t, func(t *testing.T, network string) {
		gone, values := make(chan struct{}), make(chan any, 2)
		entered := make(chan struct{})
		s := testnet.NewServer(t, network, func(_ context.Context, conn netpoll.Connection) error {
			close(entered)
			<-gone
			return testnet.Discard(context.Background(), conn)
		}, netpoll.WithOnConnect(func(ctx context.Context, _ netpoll.Connection) context.Context {
			return context.WithValue(ctx, contextKey("k"), "from OnConnect")
		}), netpoll.WithOnDisconnect(func(ctx context.Context, conn netpoll.Connection) {
			values <- fmt.Sprint(ctx.Value(contextKey("k")), ", active: ", conn.IsActive())
			close(gone)
		}))
		c := s.Dial()
		_, err := io.WriteString(c, "request")
		require.NoError(t, err)
		testkit.Receive(t, entered)
		require.NoError(t, c.Close())
		require.Equal(t, "from OnConnect, active: false", testkit.Receive(t, values))
	})
}

// Behaviour 5.2: SetOnDisconnect inside OnRequest works.
func TestOnDisconnectSetInsideRequestIsCalled(t *testing.T) {
	entered, gone := make(chan struct{}), make(chan struct{})
	s := testnet.NewServer(t, "tcp", func(_ context.Context, conn netpoll.Connection) error {
		setter := conn.(interface {
			SetOnDisconnect(netpoll.OnDisconnect) error
		})
		if err := setter.SetOnDisconnect(func(context.Context, netpoll.Connection) { close(gone) }); err != nil {
			return err
		}
		close(entered)
		<-gone
		return testnet.Discard(context.Background(), conn)
	})
	c := s.Dial()
	_, err := io.WriteString(c, "request")
	require.NoError(t, err)
	testkit.Receive(t, entered)
	require.NoError(t, c.Close())
	testkit.Receive(t, gone)
}

// Behaviour 5.2: OnDisconnect only after OnConnect returned, and then at once.
func TestOnDisconnectWaitsForOnConnect(t *testing.T) {
	t.Parallel()
	for _, handler := range []netpoll.OnRequest{nil, testnet.Discard} {
		t.Run(fmt.Sprintf("handler=%v", handler != nil), func(t *testing.T) {
			entered, proceed, gone := make(chan netpoll.Connection, 1), make(chan struct{}), make(chan any, 2)
			s := testnet.NewServer(t, "tcp", handler,
				netpoll.WithOnConnect(func(ctx context.Context, conn netpoll.Connection) context.Context {
					entered <- conn
					<-proceed
					return context.WithValue(ctx, contextKey("k"), "v")
				}), netpoll.WithOnDisconnect(func(ctx context.Context, _ netpoll.Connection) {
					gone <- ctx.Value(contextKey("k"))
				}))
			c := s.Dial()
			conn := testkit.Receive(t, entered)
			require.NoError(t, c.Close())
			testkit.Eventually(t, func() bool { return !conn.IsActive() })
			testkit.Silent(t, testkit.Calm, gone, "OnDisconnect before OnConnect returned")
			close(proceed)
			require.Equal(t, "v", testkit.Receive(t, gone))
			testkit.Silent(t, testkit.Calm, gone, "second OnDisconnect")
		})
	}
}

// Behaviour 5.2: one slow OnDisconnect does not delay another connection's, nor anything else.
func TestSlowOnDisconnectDelaysNobody(t *testing.T) {
	const n = 8
	release, gone := make(chan struct{}), make(chan struct{}, n)
	preparing, prepare := make(chan struct{}, n+2), make(chan struct{}, n+2)
	s := testnet.NewServer(t, "tcp", testnet.Echo,
		netpoll.WithOnPrepare(func(netpoll.Connection) context.Context {
			preparing <- struct{}{}
			<-prepare
			return context.Background()
		}), netpoll.WithOnDisconnect(func(context.Context, netpoll.Connection) {
			gone <- struct{}{}
			<-release
		}))
	t.Cleanup(func() { close(release) }) // before the server is shut down
	clients := make([]net.Conn, n)
	for i := range clients {
		prepare <- struct{}{}
		clients[i] = s.Dial()
		require.NoError(t, testkit.RoundTrip(clients[i], "hello"))
		<-preparing
	}
	bystander := s.Dial() // its OnPrepare keeps the poller busy, so that all the ends are seen together
	testkit.Receive(t, preparing)
	for _, c := range clients {
		require.NoError(t, c.Close())
	}
	prepare <- struct{}{}
	for range n {
		testkit.Receive(t, gone)
	}
	testkit.Within(t, testkit.Timeout, func() {
		if err := testkit.RoundTrip(bystander, "still served"); err != nil {
			t.Error(err)
		}
	})
}

// Behaviour 5.1: OnDisconnect is for the peer's end; the own Close does not call it.
func TestOnDisconnectIsNotCalledForOwnClose(t *testing.T) {
	gone, closed := make(chan struct{}, 1), make(chan struct{})
	s := testnet.NewServer(t, "tcp", func(_ context.Context, conn netpoll.Connection) error {
		_ = conn.AddCloseCallback(func(netpoll.Connection) error { close(closed); return nil })
		_ = conn.Reader().Skip(conn.Reader().Len())
		return conn.Close()
	}, netpoll.WithOnDisconnect(func(context.Context, netpoll.Connection) { gone <- struct{}{} }))
	c := s.Dial()
	_, err := io.WriteString(c, "x")
	require.NoError(t, err)
	_, err = c.Read(make([]byte, 1))
	require.ErrorIs(t, err, io.EOF)
	require.NoError(t, c.Close())
	testkit.Receive(t, closed)
	testkit.Silent(t, testkit.Calm, gone, "OnDisconnect")
}

// Behaviour 5.3: OnPrepare may Close: OnConnect and OnRequest never run, CloseCallbacks once, and nothing is logged.
func TestOnPrepareRefusesSilently(t *testing.T) {
	for _, sends := range []bool{false, true} {
		t.Run(fmt.Sprintf("client sends=%v", sends), func(t *testing.T) {
			log := testkit.CaptureLog(t, netpoll.SetLoggerOutput)
			var j journal
			id := make(chan uint64, 1)
			s := testnet.NewServer(t, "tcp", func(context.Context, netpoll.Connection) error {
				j.add("request")
				return nil
			}, netpoll.WithOnPrepare(func(conn netpoll.Connection) context.Context {
				id <- idOf(t, conn)
				_ = conn.AddCloseCallback(j.noting("closed"))
				if err := conn.Close(); err != nil {
					j.add("Close: %v", err)
				}
				return nil
			}), netpoll.WithOnConnect(func(ctx context.Context, _ netpoll.Connection) context.Context {
				j.add("connect")
				return ctx
			}), netpoll.WithOnDisconnect(func(context.Context, netpoll.Connection) {
				j.add("disconnect")
			}))
			c := s.Dial()
			if sends {
				_, _ = io.WriteString(c, "let me in") // may fail: the server is free to be faster
			}
			_, err := c.Read(make([]byte, 1))
			require.Error(t, err)
			if !sends {
				require.ErrorIs(t, err, io.EOF)
			}
			socket := testkit.Receive(t, id)
			testkit.Eventually(t, func() bool { return !socketIsOpen(socket) })
			j.until(t, "closed")
			s.Stop()
			require.Equal(t, []string{"closed"}, j.list())
			require.Empty(t, log.String())
		})
	}
}

// Behaviour 5.8: SetOnConnect inside a handler is called before any further OnRequest.
func TestOnConnectSetInsideRequestComesBeforeTheNextRequest(t *testing.T) {
	var j journal
	first := true // one handler at a time
	s := testnet.NewServer(t, "tcp", func(_ context.Context, conn netpoll.Connection) error {
		j.add("request")
		if err := conn.Reader().Skip(1); err != nil || !first {
			return err
		}
		first = false
		return conn.(lifeSetter).SetOnConnect(func(ctx context.Context, _ netpoll.Connection) context.Context {
			j.add("connect")
			return ctx
		})
	})
	_, err := io.WriteString(s.Dial(), "xxx")
	require.NoError(t, err)
	testkit.Eventually(t, func() bool { return j.count("request") == 3 })
	require.Equal(t, []string{"request", "connect", "request", "request"}, j.list())
}
