//go:build linux

package test

// Callbacks in unusual company: set by one another, ended by Goexit, run in place by the runner.

import (
	"context"
	"io"
	"runtime"
	"testing"

	"github.com/cloudwego/netpoll"
	"github.com/cloudwego/netpoll/internal/testkit"
	"github.com/cloudwego/netpoll/internal/testnet"
	"github.com/stretchr/testify/require"
)

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

// Behaviour 5.7: a handler that ends its goroutine, as t.FailNow does, is no reason to keep the connection for ever.
func TestConnectionEndsThoughItsHandlerCalledGoexit(t *testing.T) {
	handled, closed := make(chan struct{}), make(chan struct{})
	s := testnet.NewServer(t, "tcp", func(ctx context.Context, conn netpoll.Connection) error {
		_ = testnet.Discard(ctx, conn)
		close(handled)
		runtime.Goexit()
		return nil
	}, netpoll.WithOnPrepare(func(conn netpoll.Connection) context.Context {
		_ = conn.AddCloseCallback(func(netpoll.Connection) error { close(closed); return nil })
		return context.Background()
	}))
	c := s.Dial()
	_, err := io.WriteString(c, "x")
	require.NoError(t, err)
	testkit.Receive(t, handled)
	require.NoError(t, c.Close())
	testkit.Receive(t, closed)
}
