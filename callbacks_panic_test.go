//go:build linux

package netpoll_test

// Callbacks that panic, and callbacks that are nil.

import (
	"context"
	"io"
	"net"
	"strings"
	"testing"

	"github.com/cloudwego/netpoll"
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
	if !inOwnProcess(t) {
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

func panicIn(t *testing.T, where string) {
	t.Helper()
	log := captureLog(t)
	var j journal
	value := "value of the panic in " + where
	maybe := func(here string, conn netpoll.Connection) {
		if here == where {
			panic(value)
		}
	}
	id := make(chan uint64, 1)
	s := newLifeServer(t, "tcp", func(ctx context.Context, conn netpoll.Connection) error {
		maybe("OnRequest", conn)
		return echo(ctx, conn)
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
	victim := s.dial()
	socket := receive(t, id)
	if where == "OnDisconnect" || where == "CloseCallback" {
		require.NoError(t, roundTrip(victim, "fine so far"))
		require.NoError(t, victim.Close())
	} else {
		_, _ = io.WriteString(victim, "x") // fails if the panic was faster
		_, err := victim.Read(make([]byte, 1))
		require.Error(t, err, "the connection is still open")
	}
	eventually(t, func() bool { return !socketIsOpen(socket) })
	require.Equal(t, []string{"third", "first"}, j.list())
	eventually(t, func() bool { return strings.Contains(log.String(), value) })
	require.Equal(t, 1, strings.Count(log.String(), value), "reports in\n%s", log)
	require.Contains(t, log.String(), "callbacks_panic_test.go", "the report does not tell where it was")
	s.dial()
	receive(t, id)
	s.stop()
}

// Behaviour 5.7: the connections beside it go on.
func TestPanicLeavesOtherConnectionsAlone(t *testing.T) {
	captureLog(t)
	s := newLifeServer(t, "tcp", func(ctx context.Context, conn netpoll.Connection) error {
		if p, _ := conn.Reader().Peek(4); string(p) == "bomb" {
			panic("boom")
		}
		return echo(ctx, conn)
	})
	bystanders := []net.Conn{s.dial(), s.dial(), s.dial()}
	for range 20 {
		victim := s.dial()
		_, err := io.WriteString(victim, "bomb")
		require.NoError(t, err)
		for _, c := range bystanders {
			require.NoError(t, roundTrip(c, "safe"))
		}
		_, err = victim.Read(make([]byte, 1))
		require.Error(t, err)
	}
}

// Behaviour 5.7: a panic in the handler of a dialed connection closes that connection.
func TestPanicInHandlerOfDialedConnectionClosesIt(t *testing.T) {
	log := captureLog(t)
	conn, peer := dialedTo(t, "tcp")
	closed := make(chan struct{})
	require.NoError(t, conn.AddCloseCallback(func(netpoll.Connection) error { close(closed); return nil }))
	require.NoError(t, conn.SetOnRequest(func(context.Context, netpoll.Connection) error { panic("in the client") }))
	_, err := io.WriteString(peer, "x")
	require.NoError(t, err)
	receive(t, closed)
	_, err = peer.Read(make([]byte, 1))
	require.Error(t, err)
	eventually(t, func() bool { return strings.Contains(log.String(), "in the client") })
}

// Behaviour 5.1: nil callbacks are none at all, and a nil context is an empty one.
func TestNilCallbacksAndContextsAreNone(t *testing.T) {
	s := newLifeServer(t, "tcp", echo, netpoll.WithOnPrepare(nil), netpoll.WithOnConnect(nil),
		netpoll.WithOnDisconnect(nil))
	c := s.dial()
	require.NoError(t, roundTrip(c, "hello"))

	contexts := make(chan context.Context, 3)
	s = newLifeServer(t, "tcp", func(ctx context.Context, conn netpoll.Connection) error {
		contexts <- ctx
		_ = conn.SetOnRequest(nil)
		_ = conn.AddCloseCallback(nil)
		_ = conn.(interface {
			SetOnConnect(netpoll.OnConnect) error
		}).SetOnConnect(nil)
		_ = conn.(interface {
			SetOnDisconnect(netpoll.OnDisconnect) error
		}).SetOnDisconnect(nil)
		return echo(ctx, conn)
	}, netpoll.WithOnPrepare(func(netpoll.Connection) context.Context { return nil }),
		netpoll.WithOnConnect(func(ctx context.Context, _ netpoll.Connection) context.Context {
			contexts <- ctx
			return nil
		}), netpoll.WithOnDisconnect(func(ctx context.Context, _ netpoll.Connection) { contexts <- ctx }))
	c = s.dial()
	require.NoError(t, roundTrip(c, "hello"))
	require.NoError(t, c.Close())
	for range 3 {
		require.NotNil(t, receive(t, contexts))
	}
}

// Behaviour 5.8: a server without OnRequest gives its connections to OnConnect, which may keep them.
func TestServerWithoutHandlerLeavesReadingToOnConnect(t *testing.T) {
	ended := make(chan error, 1)
	s := newLifeServer(t, "tcp", nil,
		netpoll.WithOnConnect(func(ctx context.Context, conn netpoll.Connection) context.Context {
			go func() { ended <- echoFrames(conn, 4) }()
			return ctx
		}))
	c := s.dial()
	for range 10 {
		require.NoError(t, roundTrip(c, "ping"))
	}
	require.NoError(t, c.Close())
	require.Error(t, receive(t, ended))
}
