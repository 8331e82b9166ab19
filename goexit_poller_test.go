//go:build linux && !netconn

package netpoll_test

// A callback on the poller that ends the poll goroutine.

import (
	"context"
	"io"
	"net"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/cloudwego/netpoll"
	"github.com/stretchr/testify/require"
)

// Behaviour 5.3, 5.7: an OnPrepare that ends its goroutine, which is the poller's, ends its connection and nothing else.
func TestPollingGoesOnThoughOnPrepareCalledGoexit(t *testing.T) {
	log := captureLog(t)
	var seen atomic.Int32
	closed := make(chan struct{})
	s := newLifeServer(t, "tcp", discard, netpoll.WithOnPrepare(func(conn netpoll.Connection) context.Context {
		if seen.Add(1) == 1 {
			_ = conn.AddCloseCallback(func(netpoll.Connection) error { close(closed); return nil })
			runtime.Goexit()
		}
		return context.Background()
	}), netpoll.WithMaxConnections(1))
	first := s.dial()
	requireEnd(t, first)
	receive(t, closed)
	require.Equal(t, 1, strings.Count(log.String(), "OnPrepare of the connection with "), log.String())
	second := s.dial()
	_, err := io.WriteString(second, "x")
	require.NoError(t, err)
	eventually(t, func() bool { return seen.Load() == 2 })
}

// An OnPrepare that ends the poller's goroutine takes nothing from others of its batch: here the new connections come
// all in one, behind a handler that was about to run.
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
		var fresh []net.Conn
		for range 3 {
			fresh = append(fresh, leaving.dial())
		}
		close(goOn)
		got := make([]byte, 6)
		_, err = io.ReadFull(old, got)
		require.NoError(t, err)
		require.Equal(t, "there?", string(got))
		require.NoError(t, roundTrip(late, "hello"))
		for _, c := range fresh { // each was closed, for want of an OnPrepare that returned
			_, err := c.Read(got)
			require.Error(t, err)
		}
	})
}
