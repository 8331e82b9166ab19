//go:build linux

package netpoll_test

// Callbacks in unusual company: set by one another, run in place by the runner.

import (
	"context"
	"io"
	"testing"

	"github.com/cloudwego/netpoll"
	"github.com/stretchr/testify/require"
)

// Behaviour 5.2: an OnPrepare that asks for the connection's context does not fix it: what it returns still is the
// context of the later callbacks, and still ends with the connection.
func TestConnContextKeepsTheValuesOfAnOnPrepareThatAskedForIt(t *testing.T) {
	type key struct{}
	values, ended := make(chan any, 1), make(chan error, 1)
	s := newLifeServer(t, "tcp", func(ctx context.Context, conn netpoll.Connection) error {
		_ = discard(ctx, conn)
		values <- ctx.Value(key{})
		<-ctx.Done()
		ended <- context.Cause(ctx)
		return nil
	}, netpoll.WithConnContext(), netpoll.WithOnPrepare(func(conn netpoll.Connection) context.Context {
		return context.WithValue(conn.(contexter).Context(), key{}, "of OnPrepare")
	}))
	c := s.dial()
	_, err := io.WriteString(c, "x")
	require.NoError(t, err)
	require.Equal(t, "of OnPrepare", receive(t, values))
	require.NoError(t, c.Close())
	require.ErrorIs(t, receive(t, ended), netpoll.ErrEOF)
}

// Behaviour 5.8: SetOnConnect inside a handler is called before any further OnRequest.
func TestOnConnectSetInsideRequestComesBeforeTheNextRequest(t *testing.T) {
	var j journal
	first := true // one handler at a time
	s := newLifeServer(t, "tcp", func(_ context.Context, conn netpoll.Connection) error {
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
	_, err := io.WriteString(s.dial(), "xxx")
	require.NoError(t, err)
	eventually(t, func() bool { return j.count("request") == 3 })
	require.Equal(t, []string{"request", "connect", "request", "request"}, j.list())
}
