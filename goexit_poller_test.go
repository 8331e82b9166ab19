//go:build linux && !netconn

package netpoll_test

// An OnPrepare that ends its goroutine where that is the poller's. Elsewhere it is the one that called Serve.

import (
	"context"
	"io"
	"net"
	"runtime"
	"testing"

	"github.com/cloudwego/netpoll"
	"github.com/stretchr/testify/require"
)

// An OnPrepare that ends the poller's goroutine takes nothing from others of its batch: here the newcomers come all in
// one, behind a handler that was about to run.
func TestOnPrepareThatEndsItsGoroutineTakesNothingFromOthers(t *testing.T) {
	inSubprocess(t, func(t *testing.T) {
		require.NoError(t, netpoll.Configure(netpoll.Config{PollerNum: 1}))
		busy, goOn := make(chan struct{}), make(chan struct{})
		slow := newLifeServer(t, "tcp", echo, netpoll.WithOnPrepare(func(netpoll.Connection) context.Context {
			close(busy)
			<-goOn
			return nil
		}))
		leaving := newLifeServer(t, "tcp", echo, netpoll.WithOnPrepare(func(netpoll.Connection) context.Context {
			runtime.Goexit()
			return nil
		}))
		old := newLifeServer(t, "tcp", echo).dial()
		require.NoError(t, roundTrip(old, "hello"))
		late := slow.dial() // holds up the poller while the next batch gathers
		receive(t, busy)
		_, err := io.WriteString(old, "there?")
		require.NoError(t, err)
		var newcomers []net.Conn
		for range 3 {
			newcomers = append(newcomers, leaving.dial())
		}
		close(goOn)
		got := make([]byte, 6)
		_, err = io.ReadFull(old, got)
		require.NoError(t, err)
		require.Equal(t, "there?", string(got))
		require.NoError(t, roundTrip(late, "hello"))
		for _, c := range newcomers { // each was closed, for want of an OnPrepare that returned
			_, err := c.Read(got)
			require.Error(t, err)
		}
	})
}
