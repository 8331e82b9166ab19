//go:build linux

package netpoll_test

// The context of a connection that OnPrepare asks for.

import (
	"context"
	"testing"

	"github.com/cloudwego/netpoll"
	"github.com/stretchr/testify/require"
)

type contexter interface{ Context() context.Context }

type preparedKey struct{}

// WithConnContext holds also if OnPrepare has asked for Context and returned another one; what it returned is kept. It
// may ask in a goroutine of its own.
func TestConnContextEndsThoughOnPrepareAskedForContext(t *testing.T) {
	for name, ask := range map[string]func(netpoll.Connection){
		"at once":      func(conn netpoll.Connection) { _ = conn.(contexter).Context() },
		"by and by":    func(conn netpoll.Connection) { go func() { <-conn.(contexter).Context().Done() }() },
		"not, anybody": func(netpoll.Connection) {},
	} {
		t.Run(name, func(t *testing.T) {
			handled := make(chan context.Context, 1)
			s := newLifeServer(t, "tcp", func(ctx context.Context, conn netpoll.Connection) error {
				err := echo(ctx, conn)
				handled <- ctx
				return err
			}, netpoll.WithConnContext(), netpoll.WithOnPrepare(func(conn netpoll.Connection) context.Context {
				ask(conn)
				return context.WithValue(context.Background(), preparedKey{}, "prepared")
			}))
			client := s.dial()
			require.NoError(t, roundTrip(client, "hello"))
			ctx := receive(t, handled)
			require.Equal(t, "prepared", ctx.Value(preparedKey{}))
			require.NoError(t, ctx.Err())
			require.NoError(t, client.Close())
			receive(t, ctx.Done())
			require.ErrorIs(t, context.Cause(ctx), netpoll.ErrEOF)
		})
	}
}
