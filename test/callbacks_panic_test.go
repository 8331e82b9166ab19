//go:build linux

package test

// Callbacks that panic, and callbacks that are nil.

import (
	"context"
	"io"
	"net"
	"strings"
	"testing"

	"github.com/cloudwego/netpoll"
	"github.com/cloudwego/netpoll/internal/testkit"
	"github.com/cloudwego/netpoll/internal/testnet"
	"github.com/stretchr/testify/require"
)

var panickers = []string{"OnPrepare", "OnConnect", "OnRequest", "OnDisconnect", "CloseCallback"}

// Behaviour 5.7: a panic in a callback closes that connection, frees everything, is reported, and the server lives on.
func TestPanicInCallbackEndsOnlyItsConnection(t *testing.T) {
	for _, where := range panickers {
		t.Run(where, func(t *testing.T) { panicIn(t, where) })
	}
}

// Behaviour 5.7: … whatever runs the handlers.
func TestPanicIsContainedWithPlainGoroutines(t *testing.T) {
	if !testkit.InOwnProcess(t) {
		return
	}
	require.NoError(t, netpoll.DisableGopool())
	for _, where := range panickers {
		panicIn(t, where)
	}
	netpoll.SetRunner(func(_ context.Context, f func()) { go f() })
	for _, where := range panickers {
		panicIn(t, where)
	}
}

// requireVictimEnds makes the callback of that name run for victim, which does not return, and requires that its
// connection ends, with its socket, and that its other close callbacks run.
func requireVictimEnds(t *testing.T, where string, victim net.Conn, socket uint64, j *journal) {
	t.Helper()
	if where == "OnDisconnect" || where == "CloseCallback" {
		require.NoError(t, testkit.RoundTrip(victim, "fine so far"))
		require.NoError(t, victim.Close())
	} else {
		_, _ = io.WriteString(victim, "x") // fails if the end was faster
		_, err := victim.Read(make([]byte, 1))
		require.Error(t, err, "the connection is still open")
	}
	testkit.Eventually(t, func() bool { return !socketIsOpen(socket) })
	require.Equal(t, []string{"third", "first"}, j.list())
}

func panicIn(t *testing.T, where string) {
	t.Helper()
	log := testkit.CaptureLog(t, netpoll.SetLoggerOutput)
	var j journal
	value := "value of the panic in " + where
	maybe := func(here string, conn netpoll.Connection) {
		if here == where {
			panic(value)
		}
	}
	id := make(chan uint64, 1)
	s := testnet.NewServer(t, "tcp", func(ctx context.Context, conn netpoll.Connection) error {
		maybe("OnRequest", conn)
		return testnet.Echo(ctx, conn)
	}, netpoll.WithOnPrepare(func(conn netpoll.Connection) context.Context {
		_ = conn.AddCloseCallback(j.noting("first"))
		_ = conn.AddCloseCallback(func(conn netpoll.Connection) error { maybe("CloseCallback", conn); return nil })
		_ = conn.AddCloseCallback(j.noting("third"))
		id <- idOf(t, conn)
		maybe("OnPrepare", conn)
		return context.Background()
	}), netpoll.WithOnConnect(func(ctx context.Context, conn netpoll.Connection) context.Context {
		maybe("OnConnect", conn)
		return ctx
	}), netpoll.WithOnDisconnect(func(_ context.Context, conn netpoll.Connection) {
		maybe("OnDisconnect", conn)
	}))
	victim := s.Dial()
	socket := testkit.Receive(t, id)
	requireVictimEnds(t, where, victim, socket, &j)
	testkit.Eventually(t, func() bool { return strings.Contains(log.String(), value) })
	require.Equal(t, 1, strings.Count(log.String(), value), "reports in\n%s", log)
	require.Contains(t, log.String(), "callbacks_panic_test.go", "the report does not tell where it was")
	s.Dial()
	testkit.Receive(t, id)
	s.Stop()
}

// Behaviour 5.7: the connections beside it go on.
func TestPanicLeavesOtherConnectionsAlone(t *testing.T) {
	testkit.CaptureLog(t, netpoll.SetLoggerOutput)
	s := testnet.NewServer(t, "tcp", func(ctx context.Context, conn netpoll.Connection) error {
		if p, _ := conn.Reader().Peek(4); string(p) == "bomb" {
			panic("boom")
		}
		return testnet.Echo(ctx, conn)
	})
	bystanders := []net.Conn{s.Dial(), s.Dial(), s.Dial()}
	for range 20 {
		victim := s.Dial()
		_, err := io.WriteString(victim, "bomb")
		require.NoError(t, err)
		for _, c := range bystanders {
			require.NoError(t, testkit.RoundTrip(c, "safe"))
		}
		_, err = victim.Read(make([]byte, 1))
		require.Error(t, err)
	}
}

// Behaviour 5.7: a panic in the handler of a dialed connection closes that connection.
func TestPanicInHandlerOfDialedConnectionClosesIt(t *testing.T) {
	log := testkit.CaptureLog(t, netpoll.SetLoggerOutput)
	conn, peer := testnet.Dialed(t, "tcp")
	closed := make(chan struct{})
	require.NoError(t, conn.AddCloseCallback(func(netpoll.Connection) error { close(closed); return nil }))
	require.NoError(t, conn.SetOnRequest(func(context.Context, netpoll.Connection) error { panic("in the client") }))
	_, err := io.WriteString(peer, "x")
	require.NoError(t, err)
	testkit.Receive(t, closed)
	_, err = peer.Read(make([]byte, 1))
	require.Error(t, err)
	testkit.Eventually(t, func() bool { return strings.Contains(log.String(), "in the client") })
}

// Behaviour 5.1: nil callbacks are none at all, and a nil context is an empty one.
func TestNilCallbacksAndContextsAreNone(t *testing.T) {
	s := testnet.NewServer(t, "tcp", testnet.Echo, netpoll.WithOnPrepare(nil), netpoll.WithOnConnect(nil),
		netpoll.WithOnDisconnect(nil))
	c := s.Dial()
	require.NoError(t, testkit.RoundTrip(c, "hello"))

	contexts := make(chan context.Context, 3)
	s = testnet.NewServer(t, "tcp", func(ctx context.Context, conn netpoll.Connection) error {
		contexts <- ctx
		_ = conn.SetOnRequest(nil)
		_ = conn.AddCloseCallback(nil)
		_ = conn.(interface {
			SetOnConnect(netpoll.OnConnect) error
		}).SetOnConnect(nil)
		_ = conn.(interface {
			SetOnDisconnect(netpoll.OnDisconnect) error
		}).SetOnDisconnect(nil)
		return testnet.Echo(ctx, conn)
	}, netpoll.WithOnPrepare(func(netpoll.Connection) context.Context { return nil }),
		netpoll.WithOnConnect(func(ctx context.Context, _ netpoll.Connection) context.Context {
			contexts <- ctx
			return nil
		}), netpoll.WithOnDisconnect(func(ctx context.Context, _ netpoll.Connection) { contexts <- ctx }))
	c = s.Dial()
	require.NoError(t, testkit.RoundTrip(c, "hello"))
	require.NoError(t, c.Close())
	for range 3 {
		require.NotNil(t, testkit.Receive(t, contexts))
	}
}

// Behaviour 5.8: a server without OnRequest gives its connections to OnConnect, which may keep them.
func TestServerWithoutHandlerLeavesReadingToOnConnect(t *testing.T) {
	ended := make(chan error, 1)
	s := testnet.NewServer(t, "tcp", nil,
		netpoll.WithOnConnect(func(ctx context.Context, conn netpoll.Connection) context.Context {
			go func() { ended <- echoFrames(conn, 4) }()
			return ctx
		}))
	c := s.Dial()
	for range 10 {
		require.NoError(t, testkit.RoundTrip(c, "ping"))
	}
	require.NoError(t, c.Close())
	require.Error(t, testkit.Receive(t, ended))
}
