//go:build linux && !netconn

package netpoll_test

// A callback on the poller that ends the poll goroutine.

import (
	"context"
	"io"
	"runtime"
	"sync/atomic"
	"testing"

	"github.com/cloudwego/netpoll"
	"github.com/stretchr/testify/require"
)

// Behaviour 5.3: an OnPrepare that ends its goroutine, which is the poller's, ends its connection and nothing else.
func TestPollingGoesOnThoughOnPrepareCalledGoexit(t *testing.T) {
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
	second := s.dial()
	_, err := io.WriteString(second, "x")
	require.NoError(t, err)
	eventually(t, func() bool { return seen.Load() == 2 })
}
