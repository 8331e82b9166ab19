//go:build linux

package test

// A peer that resets the connection, in every state the connection can be in: callbacks once, errors that say what
// happened, nothing left, and a server that lives on.

import (
	"context"
	"io"
	"net"
	"slices"
	"syscall"
	"testing"

	"github.com/cloudwego/netpoll"
	"github.com/cloudwego/netpoll/internal/testkit"
	"github.com/cloudwego/netpoll/internal/testnet"
	"github.com/stretchr/testify/require"
)

// watchedServer serves one client after the other and notes its callbacks.
type watchedServer struct {
	*testnet.Server
	journal
	ids chan uint64 // identities of the sockets, from OnPrepare
}

// newWatchedServer calls prepare and connect inside OnPrepare and OnConnect; both may be nil.
func newWatchedServer(t testing.TB, prepare, connect func(netpoll.Connection), on netpoll.OnRequest) *watchedServer {
	w := &watchedServer{ids: make(chan uint64, 100)}
	w.Server = testnet.NewServer(t, "tcp", func(ctx context.Context, conn netpoll.Connection) error {
		w.add("request")
		return on(ctx, conn)
	}, netpoll.WithOnPrepare(func(conn netpoll.Connection) context.Context {
		_ = conn.AddCloseCallback(w.noting("closed"))
		w.ids <- idOf(t, conn)
		if prepare != nil {
			prepare(conn)
		}
		return context.Background()
	}), netpoll.WithOnConnect(func(ctx context.Context, conn netpoll.Connection) context.Context {
		if connect != nil {
			connect(conn)
		}
		w.add("connect")
		return ctx
	}), netpoll.WithOnDisconnect(func(context.Context, netpoll.Connection) {
		w.add("disconnect")
	}))
	return w
}

// requireEnded checks that the connection has gone, its callbacks ran as expected, and the server still serves.
func (w *watchedServer) requireEnded(want ...string) {
	w.T.Helper()
	socket := testkit.Receive(w.T, w.ids)
	testkit.Eventually(w.T, func() bool { return !socketIsOpen(socket) })
	got := w.list()
	if !slices.Equal(want, got) { // OnDisconnect and OnRequest may run side by side
		swapped := slices.Clone(got)
		for i := range swapped[1:] {
			if swapped[i] == "disconnect" && swapped[i+1] == "request" {
				swapped[i], swapped[i+1] = swapped[i+1], swapped[i]
			}
		}
		require.Equal(w.T, want, swapped)
	}
	c := w.Dial() // a new client
	require.NoError(w.T, c.Close())
	next := testkit.Receive(w.T, w.ids)
	testkit.Eventually(w.T, func() bool { return !socketIsOpen(next) })
}

// Behaviour 5.1, 5.4: reset while OnPrepare runs: the connection still has its whole, short life, and its one request.
func TestResetWhileOpening(t *testing.T) {
	preparing, release := make(chan struct{}, 1), make(chan struct{}, 2)
	w := newWatchedServer(t, func(netpoll.Connection) {
		preparing <- struct{}{}
		<-release
	}, nil, testnet.Discard)
	c := w.Dial()
	testkit.Receive(t, preparing)
	testkit.Reset(t, c)
	release <- struct{}{}
	release <- struct{}{}
	w.requireEnded("connect", "request", "disconnect", "closed")
}

// Behaviour 5.2: reset while OnConnect runs: OnDisconnect when it has returned.
func TestResetDuringOnConnect(t *testing.T) {
	connecting, release := make(chan netpoll.Connection, 2), make(chan struct{}, 2)
	w := newWatchedServer(t, nil, func(conn netpoll.Connection) {
		connecting <- conn
		<-release
	}, testnet.Discard)
	c := w.Dial()
	conn := testkit.Receive(t, connecting)
	testkit.Reset(t, c)
	testkit.Eventually(t, func() bool { return !conn.IsActive() })
	release <- struct{}{}
	release <- struct{}{}
	w.requireEnded("connect", "request", "disconnect", "closed")
}

// Behaviour 5.1: reset of an idle served connection.
func TestResetWhileIdle(t *testing.T) {
	w := newWatchedServer(t, nil, nil, testnet.Echo)
	c := w.Dial()
	require.NoError(t, testkit.RoundTrip(c, "x"))
	testkit.Reset(t, c)
	w.requireEnded("connect", "request", "disconnect", "closed")
}

// Behaviour 2.3: reset while the handler waits for the rest of a request: ECONNRESET, and the beginning stays readable.
func TestResetInsideRequest(t *testing.T) {
	waiting, result := make(chan netpoll.Connection, 1), make(chan error, 1)
	left := make(chan int, 1)
	w := newWatchedServer(t, nil, nil, func(_ context.Context, conn netpoll.Connection) error {
		waiting <- conn
		_, err := conn.Reader().Next(100)
		left <- conn.Reader().Len()
		result <- err
		return testnet.Discard(context.Background(), conn)
	})
	c := w.Dial()
	_, err := io.WriteString(c, "begin")
	require.NoError(t, err)
	testkit.Receive(t, waiting)
	testkit.Reset(t, c)
	err = testkit.Receive(t, result)
	require.ErrorIs(t, err, syscall.ECONNRESET)
	require.ErrorIs(t, err, netpoll.ErrConnClosed)
	require.Equal(t, len("begin"), testkit.Receive(t, left))
	w.requireEnded("connect", "request", "disconnect", "closed")
}

// Behaviour 4.7: reset while Flush waits for room: it ends with the reason.
func TestResetWhileFlushing(t *testing.T) {
	conn, peer := testnet.Dialed(t, "tcp")
	result := testkit.Blocked(t, func() error { return flushAll(conn, make([]byte, 64<<20)) })
	testkit.Reset(t, peer)
	err := testkit.Receive(t, result)
	require.True(t, testkit.IsReset(err), "%v", err)
	require.Contains(t, err.Error(), "when flush")
	require.False(t, conn.IsActive())
	_, err = conn.Write([]byte("x"))
	require.True(t, testkit.IsReset(err), "%v", err)
	require.NoError(t, conn.Close())
}

// Behaviour 2.3: a dialed connection gives what was buffered, then ECONNRESET, from each way of reading.
func TestResetOfDialedConnectionIsReadAfterTheBufferedBytes(t *testing.T) {
	conn, peer := testnet.Dialed(t, "tcp")
	gone := make(chan struct{})
	require.NoError(t, conn.(lifeSetter).SetOnDisconnect(func(context.Context, netpoll.Connection) { close(gone) }))
	_, err := io.WriteString(peer, "last words")
	require.NoError(t, err)
	testnet.Buffered(t, conn, len("last words"))
	testkit.Reset(t, peer)
	testkit.Receive(t, gone)
	require.False(t, conn.IsActive())
	p, err := conn.Reader().Next(4)
	require.NoError(t, err)
	require.Equal(t, "last", string(p))
	got, err := io.ReadAll(conn)
	require.ErrorIs(t, err, syscall.ECONNRESET)
	require.NotErrorIs(t, err, io.EOF)
	require.Equal(t, " words", string(got))
	_, err = conn.Reader().Next(1)
	require.ErrorIs(t, err, syscall.ECONNRESET)
	require.ErrorIs(t, err, netpoll.ErrConnClosed)
}

// Behaviour 5.10: reset after the peer's half-close: its input was read to the end, writes fail with the reason.
func TestResetAfterPeersHalfClose(t *testing.T) {
	conn, peer := testnet.Dialed(t, "tcp")
	_, err := io.WriteString(peer, "all of it")
	require.NoError(t, err)
	require.NoError(t, peer.(*net.TCPConn).CloseWrite())
	got, err := io.ReadAll(conn)
	require.NoError(t, err)
	require.Equal(t, "all of it", string(got))
	result := testkit.Blocked(t, func() error { return flushAll(conn, make([]byte, 64<<20)) })
	testkit.Reset(t, peer)
	require.True(t, testkit.IsReset(testkit.Receive(t, result)))
	testkit.Idles(t) // a socket with an error pending must not keep the poller busy
	require.NoError(t, conn.Close())
}

// Behaviour 5.10: reset after the own half-close ends a read that waits for the reply.
func TestResetAfterOwnHalfClose(t *testing.T) {
	conn, peer := testnet.Dialed(t, "tcp")
	require.NoError(t, conn.(halfCloser).CloseWrite())
	_, err := peer.Read(make([]byte, 1))
	require.ErrorIs(t, err, io.EOF)
	result := testkit.Blocked(t, func() error { return waitForMore(conn) })
	testkit.Reset(t, peer)
	require.ErrorIs(t, testkit.Receive(t, result), syscall.ECONNRESET)
	require.False(t, conn.IsActive())
	testkit.Idles(t)
}

// Behaviour 5.7: a storm of clients that reset in the middle of things leaves nothing, and logs nothing.
func TestResetStormLeavesNothing(t *testing.T) {
	noLeak(t)
	log := testkit.CaptureLog(t, netpoll.SetLoggerOutput)
	s := testnet.NewServer(t, "tcp", testnet.Echo)
	good := s.Dial()
	for i := range rounds(2000, 500) {
		c, err := net.Dial("tcp", s.Listener.Addr().String())
		require.NoError(t, err)
		if i%2 == 0 {
			_, err = io.WriteString(c, "half a request")
			require.NoError(t, err)
		}
		testkit.Reset(t, c)
		if i%50 == 0 {
			require.NoError(t, testkit.RoundTrip(good, "still served"))
		}
	}
	require.NoError(t, good.Close())
	s.Stop()
	require.Empty(t, log.String())
}
