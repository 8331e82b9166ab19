//go:build linux

package test

// The life of a server as its clients and its program see it: Serve, Shutdown and the listener, in every order.

import (
	"context"
	"errors"
	"io"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cloudwego/netpoll"
	"github.com/cloudwego/netpoll/internal/testkit"
	"github.com/cloudwego/netpoll/internal/testnet"
	"github.com/stretchr/testify/require"
)

// shutdownIn begins a Shutdown that may take as long as a failing test.
func shutdownIn(loop netpoll.EventLoop) <-chan error {
	result := make(chan error, 1)
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), testkit.Timeout)
		defer cancel()
		result <- loop.Shutdown(ctx)
	}()
	return result
}

// holdingServer has a handler that holds each request until the test lets it answer.
type holdingServer struct {
	*testnet.Server
	handling chan netpoll.Connection
	release  chan struct{}
}

func newHoldingServer(t testing.TB, ops ...netpoll.Option) *holdingServer {
	h := &holdingServer{handling: make(chan netpoll.Connection, 100), release: make(chan struct{}, 100)}
	h.Server = testnet.NewServer(t, "tcp", func(ctx context.Context, conn netpoll.Connection) error {
		h.handling <- conn
		<-h.release
		return testnet.Echo(ctx, conn)
	}, ops...)
	return h
}

// hold sends a request and returns when the handler has it.
func (h *holdingServer) hold(request string) net.Conn {
	c := h.Dial()
	_, err := io.WriteString(c, request)
	require.NoError(h.T, err)
	testkit.Receive(h.T, h.handling)
	return c
}

// Behaviour 6.1: Shutdown closes idle connections, waits for busy ones, and then both it and Serve return nil.
func TestShutdownClosesIdleAndWaitsForBusy(t *testing.T) {
	h := newHoldingServer(t)
	idle := h.hold("first")
	h.release <- struct{}{}
	_, err := io.ReadFull(idle, make([]byte, len("first"))) // it has been served before, and is idle now
	require.NoError(t, err)
	busy := h.hold("second")

	done := shutdownIn(h.Loop)
	_, err = idle.Read(make([]byte, 1))
	require.ErrorIs(t, err, io.EOF)
	require.NoError(t, testkit.Receive(t, h.Served))
	h.Served <- nil
	testkit.Silent(t, testkit.Calm, done, "Shutdown with a busy connection")
	h.release <- struct{}{}
	reply, err := io.ReadAll(busy)
	require.NoError(t, err)
	require.Equal(t, "second", string(reply))
	require.NoError(t, testkit.Receive(t, done))
	require.NoError(t, h.Loop.Shutdown(context.Background()), "second Shutdown")
}

// Behaviour 6.1: a connection whose OnConnect still runs is busy.
func TestShutdownWaitsForOnConnect(t *testing.T) {
	connecting, release := make(chan struct{}), make(chan struct{})
	s := testnet.NewServer(t, "tcp", testnet.Echo,
		netpoll.WithOnConnect(func(ctx context.Context, conn netpoll.Connection) context.Context {
			close(connecting)
			<-release
			if _, err := conn.Write([]byte("welcome")); err != nil {
				t.Error(err)
			}
			return ctx
		}))
	c := s.Dial()
	testkit.Receive(t, connecting)
	done := shutdownIn(s.Loop)
	testkit.Silent(t, testkit.Calm, done, "Shutdown while OnConnect runs")
	close(release)
	got, err := io.ReadAll(c)
	require.NoError(t, err)
	require.Equal(t, "welcome", string(got))
	require.NoError(t, testkit.Receive(t, done))
}

// Behaviour 6.1: a connection that a goroutine outside the handlers waits to read from is idle.
func TestShutdownClosesConnectionWithWaitingReader(t *testing.T) {
	conns := make(chan netpoll.Connection, 1)
	s := testnet.NewServer(t, "tcp", nil,
		netpoll.WithOnConnect(func(ctx context.Context, conn netpoll.Connection) context.Context {
			conns <- conn
			return ctx
		}))
	c := s.Dial()
	conn := testkit.Receive(t, conns)
	result := testkit.Blocked(t, func() error { return waitForMore(conn) })
	require.NoError(t, testkit.Receive(t, shutdownIn(s.Loop)))
	require.ErrorIs(t, testkit.Receive(t, result), netpoll.ErrConnClosed)
	_, err := c.Read(make([]byte, 1))
	require.ErrorIs(t, err, io.EOF)
}

// Behaviour 6.1: Shutdown closes a connection that has just answered, whatever its goroutines still have to finish.
func TestShutdownRightAfterAnAnswerDoesNotWait(t *testing.T) {
	t.Parallel()
	for range rounds(2000, 500) {
		s := testnet.NewServer(t, "tcp", testnet.Echo)
		c, err := net.Dial("tcp", s.Listener.Addr().String())
		require.NoError(t, err)
		require.NoError(t, testkit.RoundTrip(c, "hello"))
		require.NoError(t, testkit.Receive(t, shutdownIn(s.Loop)))
		require.NoError(t, c.Close())
	}
}

// Behaviour 6.1: Shutdown returns ctx.Err() when ctx ends first. The busy connection still sends its reply, and then
// ends, because its server is shut down.
func TestShutdownReturnsContextErrorAndLeavesBusyConnection(t *testing.T) {
	h := newHoldingServer(t)
	c := h.hold("request")
	ctx, cancel := context.WithCancel(context.Background())
	result := make(chan error, 1)
	go func() { result <- h.Loop.Shutdown(ctx) }()
	testkit.Silent(t, testkit.Calm, result, "Shutdown with a busy connection")
	cancel()
	require.ErrorIs(t, testkit.Receive(t, result), context.Canceled)
	require.NoError(t, h.Loop.Shutdown(context.Background()), "second Shutdown")
	h.release <- struct{}{}
	reply, err := io.ReadAll(c)
	require.NoError(t, err)
	require.Equal(t, "request", string(reply))
}

// Behaviour 6.1: the port is free for a new listener as soon as Shutdown has begun, busy connections or not.
func TestShutdownFreesThePortAtOnce(t *testing.T) {
	h := newHoldingServer(t)
	h.hold("request")
	address := h.Listener.Addr().String()
	done := shutdownIn(h.Loop)
	require.NoError(t, testkit.Receive(t, h.Served))
	h.Served <- nil
	var next netpoll.Listener
	testkit.Eventually(t, func() (ok bool) {
		var err error
		next, err = netpoll.CreateListener("tcp", address)
		return err == nil
	})
	require.NoError(t, next.Close())
	testkit.Silent(t, testkit.Calm, done, "Shutdown")
	h.release <- struct{}{}
	require.NoError(t, testkit.Receive(t, done))
}

// Behaviour 6.1: a waiting Shutdown is woken by the end of the last connection, not by polling.
func TestShutdownIsWokenByTheLastConnection(t *testing.T) {
	t.Parallel()
	const runs = 9
	var delays []time.Duration
	for range runs {
		h := newHoldingServer(t)
		c := h.hold("request")
		done := shutdownIn(h.Loop)
		require.NoError(t, testkit.Receive(t, h.Served))
		h.Served <- nil
		testkit.Silent(t, testkit.Calm, done, "Shutdown")
		start := time.Now()
		h.release <- struct{}{} // the handler returns, and with it the connection ends
		require.NoError(t, testkit.Receive(t, done))
		delays = append(delays, time.Since(start))
		_, err := io.ReadAll(c)
		require.NoError(t, err)
	}
	slices.Sort(delays)
	require.Less(t, delays[runs/2], 10*time.Millisecond, "median of the delays %v", delays)
}

// Behaviour 6.1: Shutdown before Serve makes Serve return at once, and frees the listener's port.
func TestShutdownBeforeServeEndsServeAtOnce(t *testing.T) {
	ln, err := netpoll.CreateListener("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	loop, err := netpoll.NewEventLoop(testnet.Echo)
	require.NoError(t, err)
	require.NoError(t, loop.Shutdown(context.Background()))
	served := make(chan error, 1)
	go func() { served <- loop.Serve(ln) }()
	require.NoError(t, testkit.Receive(t, served))
	again, err := netpoll.CreateListener("tcp", ln.Addr().String())
	require.NoError(t, err)
	require.NoError(t, again.Close())
}

// Behaviour 6.1: the same when the listener has been closed too, as hertz does: it takes anything but nil for a failure.
func TestServeAfterShutdownOfAClosedListenerReturnsNil(t *testing.T) {
	loop, err := netpoll.NewEventLoop(testnet.Echo)
	require.NoError(t, err)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, loop.Shutdown(context.Background()))
	require.NoError(t, ln.Close())
	require.NoError(t, loop.Serve(ln))
}

// Behaviour 6.1: Serve racing with Shutdown always returns nil, and no connection or socket is left.
func TestServeRacingWithShutdownAlwaysReturns(t *testing.T) {
	noLeak(t)
	for range rounds(300, 100) {
		ln, err := netpoll.CreateListener("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		loop, err := netpoll.NewEventLoop(testnet.Echo)
		require.NoError(t, err)
		served := make(chan error, 1)
		go func() { served <- loop.Serve(ln) }()
		client := make(chan struct{})
		go func() { // it may be served, refused or closed; it must not hang
			defer close(client)
			c, err := net.Dial("tcp", ln.Addr().String())
			if err != nil {
				return
			}
			defer c.Close()
			_ = c.SetDeadline(time.Now().Add(testkit.Timeout))
			if _, err = io.ReadAll(c); errors.Is(err, context.DeadlineExceeded) {
				t.Error("a connection was neither served nor closed")
			}
		}()
		require.NoError(t, testkit.Receive(t, shutdownIn(loop)))
		require.NoError(t, testkit.Receive(t, served))
		testkit.Receive(t, client)
	}
}

// Behaviour 6.1: the end of the listener ends Serve with an error that Is net.ErrClosed; established connections go on.
func TestServeEndsWithItsListenerAndConnectionsGoOn(t *testing.T) {
	ln, err := netpoll.CreateListener("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	loop, err := netpoll.NewEventLoop(testnet.Echo)
	require.NoError(t, err)
	served := make(chan error, 1)
	go func() { served <- loop.Serve(ln) }()
	c, err := net.Dial("tcp", ln.Addr().String())
	require.NoError(t, err)
	defer c.Close()
	require.NoError(t, testkit.RoundTrip(c, "before"))
	require.NoError(t, ln.Close())
	require.ErrorIs(t, testkit.Receive(t, served), net.ErrClosed)
	require.NoError(t, testkit.RoundTrip(c, "after"))
	require.NoError(t, testkit.Receive(t, shutdownIn(loop)))
	_, err = c.Read(make([]byte, 1))
	require.ErrorIs(t, err, io.EOF)
}

// Behaviour 6.1: one EventLoop serves several listeners and Shutdown ends all.
func TestOneEventLoopServesSeveralListeners(t *testing.T) {
	loop, err := netpoll.NewEventLoop(testnet.Echo)
	require.NoError(t, err)
	served := make(chan error, 3)
	var clients []net.Conn
	for _, network := range []string{"tcp", "unix", "tcp"} {
		ln, err := netpoll.CreateListener(network, testkit.LocalAddress(t, network))
		require.NoError(t, err)
		go func() { served <- loop.Serve(ln) }()
		c, err := net.Dial(network, ln.Addr().String())
		require.NoError(t, err)
		defer c.Close()
		require.NoError(t, testkit.RoundTrip(c, network))
		clients = append(clients, c)
	}
	require.NoError(t, testkit.Receive(t, shutdownIn(loop)))
	for _, c := range clients {
		require.NoError(t, testkit.Receive(t, served))
		_, err = c.Read(make([]byte, 1))
		require.ErrorIs(t, err, io.EOF)
	}
}

// Behaviour 6.1: a Shutdown in a storm of new connections returns, and every client is answered in some way.
func TestShutdownInAConnectionStormLeavesNobodyHanging(t *testing.T) {
	const clients = 8
	noLeak(t)
	for range rounds(20, 5) {
		s := testnet.NewServer(t, "tcp", testnet.Echo)
		var wg sync.WaitGroup
		var served atomic.Int64
		for range clients {
			wg.Go(func() {
				for {
					c, err := net.Dial("tcp", s.Listener.Addr().String())
					if err != nil {
						return // refused: the listener is gone
					}
					_ = c.SetDeadline(time.Now().Add(testkit.Timeout))
					err = testkit.RoundTrip(c, "hello")
					c.Close()
					var timeout net.Error
					if errors.As(err, &timeout) && timeout.Timeout() {
						t.Error("a connection was neither served nor closed")
					}
					if err != nil {
						return
					}
					served.Add(1)
				}
			})
		}
		testkit.Eventually(t, func() bool { return served.Load() > 50 })
		require.NoError(t, testkit.Receive(t, shutdownIn(s.Loop)))
		wg.Wait()
	}
}

// Behaviour 6.2: Kitex closes the converted listener and shuts down later, Hertz closes the original: neither makes
// Serve fail.
func TestConvertedListenerMayBeClosedBeforeShutdown(t *testing.T) {
	cases := map[string]func(plain net.Listener, converted netpoll.Listener){
		"converted": func(_ net.Listener, converted netpoll.Listener) { converted.Close() },
		"original":  func(plain net.Listener, _ netpoll.Listener) { plain.Close() },
		"both":      func(plain net.Listener, converted netpoll.Listener) { plain.Close(); converted.Close() },
	}
	for name, closeIt := range cases {
		t.Run(name, func(t *testing.T) {
			testkit.OverNetworks(t, func(t *testing.T, network string) {
				plain, err := net.Listen(network, testkit.LocalAddress(t, network))
				require.NoError(t, err)
				converted, err := netpoll.ConvertListener(plain)
				require.NoError(t, err)
				loop, err := netpoll.NewEventLoop(testnet.Echo)
				require.NoError(t, err)
				served := make(chan error, 1)
				go func() { served <- loop.Serve(converted) }()
				c, err := net.Dial(network, converted.Addr().String())
				require.NoError(t, err)
				defer c.Close()
				require.NoError(t, testkit.RoundTrip(c, "before"))
				closeIt(plain, converted)
				require.NoError(t, testkit.RoundTrip(c, "after"))
				testkit.Silent(t, testkit.Calm, served, "end of Serve")
				require.NoError(t, testkit.Receive(t, shutdownIn(loop)))
				require.NoError(t, testkit.Receive(t, served))
				plain.Close()
				_, err = net.Dial(network, converted.Addr().String())
				require.Error(t, err, "somebody still listens")
			})
		})
	}
}

// Behaviour 6.2: Serve on a plain listener whose original is closed goes on until Shutdown.
func TestPlainListenerMayBeClosedUnderServe(t *testing.T) {
	plain, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	loop, err := netpoll.NewEventLoop(testnet.Echo)
	require.NoError(t, err)
	served := make(chan error, 1)
	go func() { served <- loop.Serve(plain) }()
	c, err := net.Dial("tcp", plain.Addr().String())
	require.NoError(t, err)
	defer c.Close()
	require.NoError(t, testkit.RoundTrip(c, "before"))
	require.NoError(t, plain.Close())
	require.NoError(t, testkit.RoundTrip(c, "after"))
	testkit.Silent(t, testkit.Calm, served, "end of Serve")
	require.NoError(t, testkit.Receive(t, shutdownIn(loop)))
	require.NoError(t, testkit.Receive(t, served))
}

// Behaviour 6.5: a server that closes right after accept still is a successful dial whose bytes can be read.
func TestDialToServerThatClosesAtOnceSucceeds(t *testing.T) {
	testkit.OverNetworks(t, func(t *testing.T, network string) {
		ln, err := net.Listen(network, testkit.LocalAddress(t, network))
		require.NoError(t, err)
		defer ln.Close()
		go func() {
			for {
				c, err := ln.Accept()
				if err != nil {
					return
				}
				_, _ = io.WriteString(c, "goodbye")
				c.Close()
			}
		}()
		for range rounds(1000, 300) {
			conn, err := netpoll.DialConnection(network, ln.Addr().String(), testkit.Timeout)
			require.NoError(t, err)
			p, err := conn.Reader().Next(len("goodbye"))
			require.NoError(t, err)
			require.Equal(t, "goodbye", string(p))
			_, err = conn.Reader().Next(1)
			require.ErrorIs(t, err, netpoll.ErrEOF)
			require.NoError(t, conn.Close())
		}
	})
}

// Behaviour 6.5: a dial that was given up leaves nothing behind.
func TestDialThatWasGivenUpLeavesNothing(t *testing.T) {
	noLeak(t)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer ln.Close()
	for i := range rounds(1000, 300) {
		conn, err := netpoll.DialConnection("tcp", ln.Addr().String(), time.Duration(1+i%100)*time.Microsecond)
		if err == nil {
			require.NoError(t, conn.Close())
			continue
		}
		require.True(t, conn == nil, "a failed dial returned %#v", conn)
	}
	require.NoError(t, ln.Close())
	for range 50 {
		_, err := netpoll.DialConnection("tcp", ln.Addr().String(), testkit.Timeout)
		require.Error(t, err)
	}
}
