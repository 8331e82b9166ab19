//go:build (linux && !netconn) || darwin || dragonfly || freebsd || netbsd || openbsd

package test

// The memory of a connection that a poller watches.

import (
	"runtime"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cloudwego/netpoll/internal/testkit"
	"github.com/cloudwego/netpoll/internal/testnet"
)

// Behaviour 8.1: an idle connection holds no input or output block and no goroutine, also after it was in use.
func TestIdleConnectionHoldsNoBlockAndNoGoroutine(t *testing.T) {
	const (
		connections = 5000
		budget      = 2 << 10 // bytes of heap for each
	)
	addr := testnet.NewServer(t, "tcp", testnet.Echo).Addr().String()
	clients := make([]testkit.BareClient, 0, connections)
	t.Cleanup(func() {
		for _, c := range clients {
			_ = syscall.Close(int(c))
		}
	})
	connect := func(n int, p []byte) {
		for range n {
			c, err := testkit.NewBareClient(addr)
			require.NoError(t, err)
			clients = append(clients, c)
			require.NoError(t, c.RoundTrip(p))
		}
	}
	p := make([]byte, 1024)
	connect(100, p) // makes pollers, pools and tables once
	heap, goroutines := testkit.HeapInUse(), runtime.NumGoroutine()
	connect(connections-100, p)
	testkit.Eventually(t, func() bool { return runtime.NumGoroutine() <= goroutines+10 })
	each := (testkit.HeapInUse() - heap) / (connections - 100)
	t.Logf("%d bytes of heap for each of %d idle connections that had served a request", each, connections)
	require.Less(t, each, int64(budget))
}
