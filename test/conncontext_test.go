//go:build linux

package test

// The context that ends with its connection.

import (
	"context"
	"io"
	"net"
	"syscall"
	"testing"

	"github.com/cloudwego/netpoll"
	"github.com/cloudwego/netpoll/internal/testkit"
	"github.com/cloudwego/netpoll/internal/testnet"
	"github.com/stretchr/testify/require"
)

type contexter interface{ Context() context.Context }

// Behaviour 5.2: with WithConnContext the handler's context ends when its peer is gone, with a cause, while it runs.
func TestHandlersContextEndsWithThePeer(t *testing.T) {
	cases := map[string]struct {
		end  func(t *testing.T, c net.Conn)
		want []error
	}{
		"close": {func(t *testing.T, c net.Conn) { require.NoError(t, c.Close()) },
			[]error{netpoll.ErrEOF, netpoll.ErrConnClosed}},
		"reset": {func(t *testing.T, c net.Conn) { testkit.Reset(t, c) },
			[]error{syscall.ECONNRESET, netpoll.ErrConnClosed}},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			handling, causes := make(chan struct{}), make(chan error, 1)
			s := testnet.NewServer(t, "tcp", func(ctx context.Context, conn netpoll.Connection) error {
				close(handling)
				<-ctx.Done()
				causes <- context.Cause(ctx)
				return testnet.Discard(ctx, conn)
			}, netpoll.WithConnContext())
			client := s.Dial()
			_, err := io.WriteString(client, "request")
			require.NoError(t, err)
			testkit.Receive(t, handling)
			c.end(t, client)
			cause := testkit.Receive(t, causes)
			for _, want := range c.want {
				require.ErrorIs(t, cause, want)
			}
		})
	}
}

// Behaviour 5.2: it keeps the values of OnPrepare and OnConnect, and ends for OnConnect, too.
func TestConnContextKeepsTheValuesOfOtherCallbacks(t *testing.T) {
	type key string
	ended := make(chan error, 2)
	values := make(chan [2]any, 1)
	s := testnet.NewServer(t, "tcp", func(ctx context.Context, conn netpoll.Connection) error {
		values <- [2]any{ctx.Value(key("prepare")), ctx.Value(key("connect"))}
		_ = testnet.Discard(ctx, conn)
		<-ctx.Done()
		ended <- context.Cause(ctx)
		return nil
	}, netpoll.WithConnContext(),
		netpoll.WithOnPrepare(func(netpoll.Connection) context.Context {
			return context.WithValue(context.Background(), key("prepare"), 1)
		}), netpoll.WithOnConnect(func(ctx context.Context, _ netpoll.Connection) context.Context {
			context.AfterFunc(ctx, func() { ended <- context.Cause(ctx) })
			return context.WithValue(ctx, key("connect"), 2)
		}))
	c := s.Dial()
	_, err := io.WriteString(c, "request")
	require.NoError(t, err)
	require.Equal(t, [2]any{1, 2}, testkit.Receive(t, values))
	require.NoError(t, c.Close())
	for range 2 {
		require.ErrorIs(t, testkit.Receive(t, ended), netpoll.ErrEOF)
	}
}

// Behaviour 5.9: it ends with the own Close, whose cause Is net.ErrClosed.
func TestConnContextEndsWithClose(t *testing.T) {
	causes := make(chan error, 1)
	s := testnet.NewServer(t, "tcp", func(ctx context.Context, conn netpoll.Connection) error {
		_ = testnet.Discard(ctx, conn)
		_ = conn.Close()
		<-ctx.Done()
		causes <- context.Cause(ctx)
		return nil
	}, netpoll.WithConnContext())
	c := s.Dial()
	_, err := io.WriteString(c, "x")
	require.NoError(t, err)
	cause := testkit.Receive(t, causes)
	require.ErrorIs(t, cause, net.ErrClosed)
	require.NotErrorIs(t, cause, io.EOF)
}

// Behaviour 5.2: every connection has one on demand, before or after its end.
func TestContextOfDialedConnection(t *testing.T) {
	conn, peer := testnet.Dialed(t, "tcp")
	ctx := conn.(contexter).Context()
	require.NoError(t, ctx.Err())
	require.Equal(t, ctx, conn.(contexter).Context())
	require.NoError(t, peer.Close())
	testkit.Receive(t, ctx.Done())
	require.ErrorIs(t, context.Cause(ctx), netpoll.ErrEOF)
	require.ErrorIs(t, ctx.Err(), context.Canceled)

	conn, _ = testnet.Dialed(t, "tcp")
	require.NoError(t, conn.Close())
	late := conn.(contexter).Context()
	testkit.Receive(t, late.Done())
	require.ErrorIs(t, context.Cause(late), net.ErrClosed)
}

// Behaviour 6.1: the error of Shutdown says what it leaves behind: the busy connections, and why it gave up.
func TestShutdownErrorNamesTheBusyConnections(t *testing.T) {
	h := newHoldingServer(t)
	h.Dial() // an idle one is not among them; it is accepted before the next
	c := h.Dial()
	_, err := io.WriteString(c, "request")
	require.NoError(t, err)
	busy := testkit.Receive(t, h.handling)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	err = h.Loop.Shutdown(ctx)
	require.ErrorIs(t, err, context.Canceled)
	var shutdown *netpoll.ShutdownError
	require.ErrorAs(t, err, &shutdown)
	require.Len(t, shutdown.Busy, 1)
	require.True(t, busy == shutdown.Busy[0])
	require.Equal(t, context.Canceled, shutdown.Err)
	h.release <- struct{}{}
	reply, err := io.ReadAll(c)
	require.NoError(t, err)
	require.Equal(t, "request", string(reply))
}

type preparedKey struct{}

// WithConnContext holds also if OnPrepare has asked for Context and returned another one; the returned one is kept. It
// may ask in a goroutine of its own.
func TestConnContextEndsThoughOnPrepareAskedForContext(t *testing.T) {
	for name, ask := range map[string]func(netpoll.Connection){
		"at once":      func(conn netpoll.Connection) { _ = conn.(contexter).Context() },
		"by and by":    func(conn netpoll.Connection) { go func() { <-conn.(contexter).Context().Done() }() },
		"not, anybody": func(netpoll.Connection) {},
	} {
		t.Run(name, func(t *testing.T) {
			handled := make(chan context.Context, 1)
			s := testnet.NewServer(t, "tcp", func(ctx context.Context, conn netpoll.Connection) error {
				err := testnet.Echo(ctx, conn)
				handled <- ctx
				return err
			}, netpoll.WithConnContext(), netpoll.WithOnPrepare(func(conn netpoll.Connection) context.Context {
				ask(conn)
				return context.WithValue(context.Background(), preparedKey{}, "prepared")
			}))
			client := s.Dial()
			require.NoError(t, testkit.RoundTrip(client, "hello"))
			ctx := testkit.Receive(t, handled)
			require.Equal(t, "prepared", ctx.Value(preparedKey{}))
			require.NoError(t, ctx.Err())
			require.NoError(t, client.Close())
			testkit.Receive(t, ctx.Done())
			require.ErrorIs(t, context.Cause(ctx), netpoll.ErrEOF)
		})
	}
}

// Behaviour 5.2: an OnPrepare that asks for the connection's context does not fix it: what it returns still is the
// context of the later callbacks, and still ends with the connection.
func TestConnContextKeepsTheValuesOfAnOnPrepareThatAskedForIt(t *testing.T) {
	type key struct{}
	values, ended := make(chan any, 1), make(chan error, 1)
	s := testnet.NewServer(t, "tcp", func(ctx context.Context, conn netpoll.Connection) error {
		_ = testnet.Discard(ctx, conn)
		values <- ctx.Value(key{})
		<-ctx.Done()
		ended <- context.Cause(ctx)
		return nil
	}, netpoll.WithConnContext(), netpoll.WithOnPrepare(func(conn netpoll.Connection) context.Context {
		return context.WithValue(conn.(contexter).Context(), key{}, "of OnPrepare")
	}))
	c := s.Dial()
	_, err := io.WriteString(c, "x")
	require.NoError(t, err)
	require.Equal(t, "of OnPrepare", testkit.Receive(t, values))
	require.NoError(t, c.Close())
	require.ErrorIs(t, testkit.Receive(t, ended), netpoll.ErrEOF)
}
