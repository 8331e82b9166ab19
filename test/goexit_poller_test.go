//go:build linux && !netconn

package test

// A callback on the poller that ends the goroutine that polls.

import (
	"context"
	"io"
	"net"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/cloudwego/netpoll"
	"github.com/cloudwego/netpoll/internal/testkit"
	"github.com/cloudwego/netpoll/internal/testnet"
	"github.com/stretchr/testify/require"
)

// Behaviour 5.3, 5.7: an OnPrepare that ends its goroutine, which is the poller's, ends its connection and nothing else.
func TestPollingGoesOnThoughOnPrepareCalledGoexit(t *testing.T) {
	log := testkit.CaptureLog(t, netpoll.SetLoggerOutput)
	var seen atomic.Int32
	closed := make(chan struct{})
	s := testnet.NewServer(t, "tcp", testnet.Discard, netpoll.WithOnPrepare(func(conn netpoll.Connection) context.Context {
		if seen.Add(1) == 1 {
			_ = conn.AddCloseCallback(func(netpoll.Connection) error { close(closed); return nil })
			runtime.Goexit()
		}
		return context.Background()
	}), netpoll.WithMaxConnections(1))
	first := s.Dial()
	testkit.ExpectEnd(t, first, "")
	testkit.Receive(t, closed)
	require.Equal(t, 1, strings.Count(log.String(), "OnPrepare of the connection with "), log.String())
	second := s.Dial()
	_, err := io.WriteString(second, "x")
	require.NoError(t, err)
	testkit.Eventually(t, func() bool { return seen.Load() == 2 })
}

// An OnPrepare that ends the poller's goroutine takes nothing from others of its batch: here the new connections come
// all in one, behind a handler that was about to run.
func TestOnPrepareThatEndsItsGoroutineTakesNothingFromOthers(t *testing.T) {
	testkit.OwnProcess(t, func(t *testing.T) {
		require.NoError(t, netpoll.Configure(netpoll.Config{PollerNum: 1}))
		busy, goOn := make(chan struct{}), make(chan struct{})
		slow := testnet.NewServer(t, "tcp", testnet.Echo, netpoll.WithOnPrepare(func(netpoll.Connection) context.Context {
			close(busy)
			<-goOn
			return nil
		}))
		leaving := testnet.NewServer(t, "tcp", testnet.Echo, netpoll.WithOnPrepare(func(netpoll.Connection) context.Context {
			runtime.Goexit()
			return nil
		}))
		old := testnet.NewServer(t, "tcp", testnet.Echo).Dial()
		require.NoError(t, testkit.RoundTrip(old, "hello"))
		late := slow.Dial() // holds up the poller while the next batch gathers
		testkit.Receive(t, busy)
		_, err := io.WriteString(old, "there?")
		require.NoError(t, err)
		var fresh []net.Conn
		for range 3 {
			fresh = append(fresh, leaving.Dial())
		}
		close(goOn)
		got := make([]byte, 6)
		_, err = io.ReadFull(old, got)
		require.NoError(t, err)
		require.Equal(t, "there?", string(got))
		require.NoError(t, testkit.RoundTrip(late, "hello"))
		for _, c := range fresh { // each was closed, because no OnPrepare returned
			_, err := c.Read(got)
			require.Error(t, err)
		}
	})
}
