//go:build linux || darwin || dragonfly || freebsd || netbsd || openbsd

package test

// This file holds the tests of EventLoop for accepting, limits and shutdown. The life of one connection under it has
// tests of its own.

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/cloudwego/netpoll"
	"github.com/cloudwego/netpoll/internal/testkit"
	"github.com/cloudwego/netpoll/internal/testnet"
)

// busyHandler returns an OnRequest that reports each call and then waits for release.
func busyHandler() (on netpoll.OnRequest, entered chan netpoll.Connection, release chan struct{}) {
	entered, release = make(chan netpoll.Connection, 16), make(chan struct{})
	return func(_ context.Context, c netpoll.Connection) error {
		_ = c.Reader().Skip(c.Reader().Len())
		entered <- c
		<-release
		return c.Reader().Release()
	}, entered, release
}

// Behaviour 6.1: Serve blocks and returns nil after Shutdown, idle connections are closed, the port is free.
func TestShutdownEndsServeAndIdleConnections(t *testing.T) {
	testkit.OverNetworks(t, func(t *testing.T, network string) {
		ln := testnet.Listen(t, network)
		r := testnet.ServeOn(t, ln, testnet.Echo)
		conns := []net.Conn{testkit.Dial(t, ln.Addr()), testkit.Dial(t, ln.Addr())}
		for _, conn := range conns {
			testkit.ExpectEcho(t, conn, "hello")
		}
		testnet.Shutdown(t, r.Loop)
		require.NoError(t, testkit.Receive(t, r.Served))
		for _, conn := range conns {
			testkit.ExpectEnd(t, conn, "")
		}
		again, err := net.Listen(network, ln.Addr().String())
		require.NoError(t, err)
		require.NoError(t, again.Close())
	})
}

// Behaviour 6.1: Shutdown waits for busy connections, woken by the end of the last one.
func TestShutdownWaitsForBusyConnections(t *testing.T) {
	on, entered, release := busyHandler()
	ln := testnet.Listen(t, "tcp")
	r := testnet.ServeOn(t, ln, on)
	conn := testkit.Dial(t, ln.Addr())
	testkit.Send(t, conn, "work")
	testkit.Receive(t, entered)

	done := testkit.Blocked(t, func() error { return r.Loop.Shutdown(context.Background()) })
	require.NoError(t, testkit.Receive(t, r.Served), "Serve does not wait")
	again, err := net.Listen("tcp", ln.Addr().String())
	require.NoError(t, err, "the port is free while Shutdown waits")
	require.NoError(t, again.Close())

	close(release)
	require.NoError(t, testkit.Receive(t, done))
	testkit.ExpectEnd(t, conn, "")
}

// Behaviour 6.1: ctx ends first: its error, with the busy connections; a second call returns nil.
func TestShutdownTellsWhichConnectionsAreBusy(t *testing.T) {
	on, entered, release := busyHandler()
	ln := testnet.Listen(t, "tcp")
	closed := make(chan struct{}, 2)
	r := testnet.ServeOn(t, ln, on, netpoll.WithOnPrepare(func(c netpoll.Connection) context.Context {
		_ = c.AddCloseCallback(func(netpoll.Connection) error { closed <- struct{}{}; return nil })
		return context.Background()
	}))
	idle := testkit.Dial(t, ln.Addr())
	busy := testkit.Dial(t, ln.Addr())
	testkit.Send(t, busy, "work")
	connection := testkit.Receive(t, entered)

	cause, cancel := context.WithTimeout(context.Background(), testkit.Short)
	defer cancel()
	err := r.Loop.Shutdown(cause)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	var shutdownError *netpoll.ShutdownError
	require.ErrorAs(t, err, &shutdownError)
	require.Equal(t, []netpoll.Connection{connection}, shutdownError.Busy)
	require.Contains(t, err.Error(), "1 ")
	testkit.Receive(t, closed)
	testkit.ExpectEnd(t, idle, "")
	require.True(t, connection.IsActive(), "a busy connection is left alone")

	require.NoError(t, r.Loop.Shutdown(context.Background()))
	close(release)
	testkit.Receive(t, closed) // it closes itself when it becomes idle
	testkit.ExpectEnd(t, busy, "")
}

func TestShutdownIsBoundedThoughACloseCallbackBlocks(t *testing.T) {
	entered, release := make(chan struct{}, 2), make(chan struct{})
	ln := testnet.Listen(t, "tcp")
	r := testnet.ServeOn(t, ln, testnet.Echo, netpoll.WithOnPrepare(func(c netpoll.Connection) context.Context {
		_ = c.AddCloseCallback(func(netpoll.Connection) error {
			entered <- struct{}{}
			<-release
			return nil
		})
		return context.Background()
	}))
	for range 2 {
		testkit.ExpectEcho(t, testkit.Dial(t, ln.Addr()), "hello")
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := testkit.Blocked(t, func() error { return r.Loop.Shutdown(ctx) })
	testkit.Receive(t, entered)
	testkit.Receive(t, entered) // one does not wait for the other
	cancel()
	var busy *netpoll.ShutdownError
	require.ErrorAs(t, testkit.Receive(t, done), &busy)
	require.Len(t, busy.Busy, 2)
	close(release)
}

func TestShutdownWithAnEndedContextStillClosesIdleConnections(t *testing.T) {
	ln := testnet.Listen(t, "tcp")
	r := testnet.ServeOn(t, ln, testnet.Echo)
	conn := testkit.Dial(t, ln.Addr())
	testkit.ExpectEcho(t, conn, "hello")
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := r.Loop.Shutdown(ctx); err != nil {
		require.ErrorIs(t, err, context.Canceled)
	}
	require.NoError(t, testkit.Receive(t, r.Served))
	testkit.ExpectEnd(t, conn, "")
}

// Behaviour 6.1: Shutdown before Serve makes Serve return at once.
func TestServeAfterShutdownReturnsAtOnceAndClosesTheListener(t *testing.T) {
	for name, ln := range map[string]net.Listener{
		"created": testnet.Listen(t, "tcp"), "converted": convertedOn(t, "tcp"), "plain": testkit.Listen(t, "tcp"),
	} {
		t.Run(name, func(t *testing.T) {
			loop, err := netpoll.NewEventLoop(testnet.Echo)
			require.NoError(t, err)
			testnet.Shutdown(t, loop)
			require.NoError(t, loop.Serve(ln))
			requireRefused(t, ln.Addr())
		})
	}
}

func TestShutdownRacesServe(t *testing.T) {
	for range 100 {
		ln := testnet.Listen(t, "tcp")
		r := testnet.ServeOn(t, ln, testnet.Echo)
		dialed := make(chan struct{})
		go func() {
			defer close(dialed)
			if conn, err := net.Dial("tcp", ln.Addr().String()); err == nil {
				conn.Close()
			}
		}()
		testnet.Shutdown(t, r.Loop)
		require.NoError(t, testkit.Receive(t, r.Served))
		testkit.Receive(t, dialed)
	}
}

// Behaviour 6.1: one EventLoop can serve several listeners and Shutdown ends all.
func TestOneLoopServesSeveralListeners(t *testing.T) {
	loop, err := netpoll.NewEventLoop(testnet.Echo)
	require.NoError(t, err)
	served := make(chan error, 4)
	var conns []net.Conn
	for _, ln := range []net.Listener{
		testnet.Listen(t, "tcp"), testnet.Listen(t, "unix"), convertedOn(t, "tcp"), testkit.Listen(t, "unix"),
	} {
		go func() { served <- loop.Serve(ln) }()
		conns = append(conns, testkit.Dial(t, ln.Addr()))
	}
	for _, conn := range conns {
		testkit.ExpectEcho(t, conn, "hello")
	}
	testnet.Shutdown(t, loop)
	for _, conn := range conns {
		require.NoError(t, testkit.Receive(t, served))
		testkit.ExpectEnd(t, conn, "")
	}
}

// Behaviour 6.1: the end of the listener ends Serve with an error that Is net.ErrClosed.
func TestListenerClosedUnderServeEndsServe(t *testing.T) {
	ln := testnet.Listen(t, "tcp")
	r := testnet.ServeOn(t, ln, testnet.Echo)
	conn := testkit.Dial(t, ln.Addr())
	testkit.ExpectEcho(t, conn, "before")
	require.NoError(t, ln.Close())
	require.ErrorIs(t, testkit.Receive(t, r.Served), net.ErrClosed)
	testkit.ExpectEcho(t, conn, "connections live on")
	testnet.Shutdown(t, r.Loop)
	testkit.ExpectEnd(t, conn, "")
}

// Behaviour 6.2: kitex closes the converted listener and shuts down later; Serve must not fail.
func TestConvertedListenerClosedUnderServeStopsAcceptingOnly(t *testing.T) {
	ln := convertedOn(t, "tcp")
	r := testnet.ServeOn(t, ln, testnet.Echo)
	conn := testkit.Dial(t, ln.Addr())
	testkit.ExpectEcho(t, conn, "before")
	require.NoError(t, ln.Close())
	requireRefused(t, ln.Addr())
	testkit.ExpectEcho(t, conn, "after")
	select {
	case err := <-r.Served:
		t.Fatalf("Serve returned %v before Shutdown", err)
	default:
	}
	testnet.Shutdown(t, r.Loop)
	require.NoError(t, testkit.Receive(t, r.Served))
}

func TestServeRefusesWhatItCannotServe(t *testing.T) {
	loop, err := netpoll.NewEventLoop(testnet.Echo)
	require.NoError(t, err)
	require.Error(t, loop.Serve(nil))
	closed := testnet.Listen(t, "tcp")
	require.NoError(t, closed.Close())
	require.ErrorIs(t, loop.Serve(closed), net.ErrClosed)

	wrapped := wrappedListener{testkit.Listen(t, "tcp").(*net.TCPListener)}
	require.ErrorIs(t, loop.Serve(wrapped), errNobody)
	requireRefused(t, wrapped.Addr())

	ln := testnet.Listen(t, "tcp")
	r := testnet.ServeOn(t, ln, testnet.Echo)
	testkit.ExpectEcho(t, testkit.Dial(t, ln.Addr()), "served")
	testnet.Shutdown(t, r.Loop)
	testnet.Shutdown(t, loop)
}

// A listener that the program shuts down by shutdown(2) can accept no more.
func TestListenerThatFailsEndsServe(t *testing.T) {
	ln := testnet.Listen(t, "tcp")
	r := testnet.ServeOn(t, ln, testnet.Echo)
	testkit.ExpectEcho(t, testkit.Dial(t, ln.Addr()), "before")
	require.NoError(t, unix.Shutdown(ln.Fd(), unix.SHUT_RDWR))
	err := testkit.Receive(t, r.Served)
	require.ErrorIs(t, err, syscall.EINVAL)
	var op *net.OpError
	require.ErrorAs(t, err, &op)
	require.Equal(t, -1, ln.Fd(), "Serve closes the listener it gave up")
}

// At the limit new connections wait in the backlog, and get in when others leave.
func TestMaxConnectionsMakesNewConnectionsWait(t *testing.T) {
	const limit, clients = 3, 10
	var now, most atomic.Int64
	ln := testnet.Listen(t, "tcp")
	prepare := netpoll.WithOnPrepare(func(c netpoll.Connection) context.Context {
		n := now.Add(1)
		for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
		}
		_ = c.AddCloseCallback(func(netpoll.Connection) error { now.Add(-1); return nil })
		return context.Background()
	})
	r := testnet.ServeOn(t, ln, testnet.Echo, netpoll.WithMaxConnections(limit), prepare)
	second := testnet.Listen(t, "unix") // the limit is that of the loop, not of a listener
	served := make(chan error, 1)
	go func() { served <- r.Loop.Serve(second) }()

	failed := make(chan error, clients)
	for i := range clients {
		addr := ln.Addr()
		if i%2 == 1 {
			addr = second.Addr()
		}
		go func() { failed <- dialEchoClose(addr) }()
	}
	for range clients {
		require.NoError(t, testkit.Receive(t, failed))
	}
	require.LessOrEqual(t, most.Load(), int64(limit))
	testnet.Shutdown(t, r.Loop)
	require.NoError(t, testkit.Receive(t, served))
}

// At the limit a new connection is connected by the system but gets no answer until another one has ended.
func TestMaxConnectionsHoldsBackTheNextOne(t *testing.T) {
	prepared := make(chan string, 4)
	ln := testnet.Listen(t, "tcp")
	testnet.ServeOn(t, ln, testnet.Echo, netpoll.WithMaxConnections(1),
		netpoll.WithOnPrepare(func(c netpoll.Connection) context.Context {
			prepared <- c.RemoteAddr().String()
			return context.Background()
		}))
	first, second := testkit.Dial(t, ln.Addr()), testkit.Dial(t, ln.Addr())
	testkit.ExpectEcho(t, first, "hello")
	require.Equal(t, first.LocalAddr().String(), testkit.Receive(t, prepared))
	testkit.Send(t, second, "hello")
	require.NoError(t, second.SetReadDeadline(time.Now().Add(testkit.Calm)))
	_, err := second.Read(make([]byte, 1))
	require.ErrorIs(t, err, os.ErrDeadlineExceeded)
	require.Empty(t, prepared)

	require.NoError(t, first.Close())
	require.Equal(t, second.LocalAddr().String(), testkit.Receive(t, prepared))
	require.NoError(t, second.SetReadDeadline(time.Now().Add(testkit.Timeout)))
	_, err = io.ReadFull(second, make([]byte, 5))
	require.NoError(t, err)
}

// Behaviour 5.3: OnPrepare may Close; nothing else runs then, and the place is free again.
func TestPrepareMayTurnConnectionsAway(t *testing.T) {
	var called atomic.Int64
	ended := make(chan struct{}, 8)
	ln := testnet.Listen(t, "tcp")
	r := testnet.ServeOn(t, ln,
		func(context.Context, netpoll.Connection) error { called.Add(1); return nil },
		netpoll.WithMaxConnections(1),
		netpoll.WithOnConnect(func(ctx context.Context, _ netpoll.Connection) context.Context {
			called.Add(1)
			return ctx
		}),
		netpoll.WithOnPrepare(func(c netpoll.Connection) context.Context {
			_ = c.AddCloseCallback(func(netpoll.Connection) error { ended <- struct{}{}; return nil })
			_ = c.Close()
			return nil
		}))
	for range 8 {
		conn := testkit.Dial(t, ln.Addr())
		require.NoError(t, conn.SetReadDeadline(time.Now().Add(testkit.Timeout)))
		_, err := conn.Read(make([]byte, 1))
		require.Error(t, err)
		require.NotErrorIs(t, err, context.DeadlineExceeded)
		testkit.Receive(t, ended)
	}
	testnet.Shutdown(t, r.Loop)
	require.Zero(t, called.Load())
}

// Behaviour 5.7: a panic in OnPrepare closes that connection, and accepting goes on.
func TestPanicInPrepareDoesNotStopAccepting(t *testing.T) {
	log := new(testkit.Log)
	netpoll.SetLoggerOutput(log)
	defer netpoll.SetLoggerOutput(os.Stderr)
	first := true // OnPrepare runs on the one poller of the listener
	ln := testnet.Listen(t, "tcp")
	testnet.ServeOn(t, ln, testnet.Echo, netpoll.WithOnPrepare(func(netpoll.Connection) context.Context {
		if first {
			first = false
			panic("first one")
		}
		return context.Background()
	}))
	testkit.ExpectEnd(t, testkit.Dial(t, ln.Addr()), "")
	testkit.ExpectEcho(t, testkit.Dial(t, ln.Addr()), "hello")
	require.Contains(t, log.String(), "first one")
}

// Behaviour 6.8: running out of descriptors backs off without spinning or flooding the log, as often as it happens, and
// goes on when there are some again. Connections that are open already are not harmed.
func TestAcceptingGoesOnAfterLackOfDescriptors(t *testing.T) {
	testkit.OwnProcess(t, func(t *testing.T) {
		log := new(testkit.Log)
		netpoll.SetLoggerOutput(log)
		ln := testnet.Listen(t, "tcp")
		testnet.ServeOn(t, ln, testnet.Echo)
		old := testkit.Dial(t, ln.Addr())
		testkit.ExpectEcho(t, old, "before")

		hog := limitDescriptors(t, 64)
		for round := range 3 {
			hog.takeAll(t)
			hog.free(1)
			cpu, start := testkit.ProcessorTime(), time.Now()
			client := testkit.Dial(t, ln.Addr()) // takes the last one: none is left for the server
			if round == 0 {
				testkit.Receive(t, log.Wrote())
			}
			testkit.ExpectEcho(t, old, "meanwhile")
			time.Sleep(300 * time.Millisecond) // the time that must not be spent on trying
			spent, passed := testkit.ProcessorTime()-cpu, time.Since(start)
			require.Less(t, spent, passed/3, "spins")
			hog.free(2)
			testkit.ExpectEcho(t, client, "afterwards")
			require.NoError(t, client.Close())
		}
		require.Positive(t, log.Lines())
		require.LessOrEqual(t, log.Lines(), 3, "one line for each time:\n%s", log)
		require.Contains(t, log.String(), "too many open files")
	})
}

// The end of one of the server's own connections is reason enough to try again at once.
func TestAcceptingGoesOnWhenAConnectionEnds(t *testing.T) {
	testkit.OwnProcess(t, func(t *testing.T) {
		log := new(testkit.Log)
		netpoll.SetLoggerOutput(log)
		ln := testnet.Listen(t, "tcp")
		testnet.ServeOn(t, ln, testnet.Echo)
		hog := limitDescriptors(t, 64)
		var open []net.Conn
		for range 4 {
			conn := testkit.Dial(t, ln.Addr())
			testkit.ExpectEcho(t, conn, "before")
			open = append(open, conn)
		}
		hog.takeAll(t)
		hog.free(1)
		waiting := testkit.Dial(t, ln.Addr())
		testkit.Receive(t, log.Wrote())
		for _, conn := range open {
			require.NoError(t, conn.Close())
		}
		testkit.ExpectEcho(t, waiting, "my turn")
	})
}

// Many connections come and go while the limit is reached over and over, and none gets lost.
func TestMaxConnectionsUnderChurn(t *testing.T) {
	ln := testnet.Listen(t, "tcp")
	r := testnet.ServeOn(t, ln, testnet.Echo, netpoll.WithMaxConnections(2))
	failed := make(chan error, 8)
	for range 8 {
		go func() {
			for range 50 {
				if err := dialEchoClose(ln.Addr()); err != nil {
					failed <- err
					return
				}
			}
			failed <- nil
		}()
	}
	for range 8 {
		require.NoError(t, testkit.Receive(t, failed))
	}
	testnet.Shutdown(t, r.Loop)
}

func dialEchoClose(addr net.Addr) error {
	conn, err := net.Dial(addr.Network(), addr.String())
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(testkit.Timeout)); err != nil {
		return err
	}
	if _, err := conn.Write([]byte("x")); err != nil {
		return err
	}
	if _, err := io.ReadFull(conn, make([]byte, 1)); err != nil {
		return errors.Join(errors.New("echo"), err)
	}
	return nil
}
