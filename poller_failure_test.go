//go:build (linux && !netconn) || darwin || dragonfly || freebsd || netbsd || openbsd

package netpoll

// A poller that fails, its successor, and two moments that only a test inside the package can hold still: the poller in
// the middle of a receive, and a connection in the middle of being admitted.

import (
	"context"
	"net"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/cloudwego/netpoll/internal/testkit"
)

// withFailingPoller makes a fresh poller the only one of the process until the test ends, and returns a function that
// makes it fail. Its successors are retired then.
func withFailingPoller(t *testing.T) (fail func()) {
	t.Helper()
	p, err := newPoller(pollers.drop)
	require.NoError(t, err)
	old := pollers.current.Swap(&[]*poller{p})
	t.Cleanup(func() {
		list := pollers.current.Swap(old)
		if list == nil {
			return
		}
		for _, p := range *list {
			p.retire()
			testkit.Receive(t, p.done, "the poller's end")
		}
	})
	return func() {
		t.Helper()
		breakQueue(t, p)
		testkit.Receive(t, p.done, "the poller's failure")
		require.Error(t, p.failure)
	}
}

// Behaviour 6.5: when a poller has failed its connections end, and new ones do not try for ever to use it: they work, on
// another one.
func TestConnectionsGoOnAfterAPollerFailed(t *testing.T) {
	var log testkit.Log
	SetLoggerOutput(&log)
	defer SetLoggerOutput(os.Stderr)
	fail := withFailingPoller(t)
	lost, _ := fdConnection(t)
	ctx := inner(lost).Context()
	fail()
	_, err := lost.Reader().Next(1)
	require.ErrorIs(t, err, ErrConnClosed)
	require.ErrorIs(t, err, ErrPollerFailed) // Behaviour 9.9: the error has the reason
	testkit.Receive(t, ctx.Done(), "the end of the context")
	require.ErrorIs(t, context.Cause(ctx), ErrPollerFailed)

	conn, peer := fdConnection(t)
	_, err = unix.Write(peer, []byte("hello"))
	require.NoError(t, err)
	s, err := conn.Reader().ReadString(5)
	require.NoError(t, err)
	require.Equal(t, "hello", s)
	require.NoError(t, conn.Close())
}

// fdConnection returns a connection of a descriptor, and the other end. It fails the test if that takes for ever.
func fdConnection(t *testing.T) (conn Connection, peer int) {
	t.Helper()
	fd, peer := GetSysFdPairs()
	require.GreaterOrEqual(t, fd, 0)
	t.Cleanup(func() { unix.Close(peer) })
	made := make(chan error, 1)
	go func() {
		var err error
		conn, err = NewFDConnection(fd)
		made <- err
	}()
	require.NoError(t, testkit.Receive(t, made, "NewFDConnection"))
	t.Cleanup(func() { conn.Close() })
	require.NoError(t, conn.SetReadTimeout(20*time.Second))
	return conn, peer
}

// Behaviour 5.11: when Detach returns, the poller does not use the descriptor any more, nor will it.
func TestDetachWaitsForThePollerThatReceives(t *testing.T) {
	conns := make(chan *connection, 1)
	receiving, goOn := make(chan struct{}, 100), make(chan struct{}) // a mark for each receive that begins, and waits
	addr := serveOn(t, nil, WithOnPrepare(func(conn Connection) context.Context {
		c := inner(conn)
		c.common.up = &hookedInput{c, func() {
			receiving <- struct{}{}
			<-goOn
		}}
		conns <- c
		return context.Background()
	}))
	peer, err := net.Dial("tcp", addr.String())
	require.NoError(t, err)
	defer peer.Close()
	c := testkit.Receive(t, conns, "the connection")
	fd := c.Fd()
	_, err = peer.Write([]byte("x"))
	require.NoError(t, err)
	testkit.Receive(t, receiving, "the poller's receive")

	detached := make(chan error, 1)
	go func() { detached <- c.Detach() }()
	select {
	case err := <-detached:
		t.Errorf("Detach returned while the poller was about to read from the descriptor, with error %v", err)
		detached <- err
	case <-time.After(50 * time.Millisecond):
	}
	close(goOn)
	require.NoError(t, testkit.Receive(t, detached, "Detach"))
	require.NoError(t, unix.Close(fd), "the descriptor was closed by Detach")
}

// Behaviour 6.1: a connection that a Shutdown reports as busy may be closed at once, even in the middle of being
// admitted: it is counted no more, and the rest of its admission is harmless.
func TestBusyConnectionMayBeClosedWhileItIsAdmitted(t *testing.T) {
	s := newServer(newOptions(nil, nil))
	fd, peer := GetSysFdPairs()
	require.GreaterOrEqual(t, fd, 0)
	defer unix.Close(peer)
	require.True(t, s.limit.acquire(nil)) // as the acceptor does before it accepts
	c := newSocketConnection(socketInfo{fd: fd, network: "unix"})
	require.True(t, s.register(c))

	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	var shutdown *ShutdownError
	require.ErrorAs(t, s.Shutdown(ctx), &shutdown)
	require.Equal(t, []Connection{c.self}, shutdown.Busy)
	require.NoError(t, shutdown.Busy[0].Close())

	require.NotPanics(t, func() {
		c.prepare(s.opts)
		require.NoError(t, c.start(causePoller))
	})
	testkit.Receive(t, s.limit.empty, "the release of the last connection")
}
