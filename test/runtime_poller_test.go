//go:build linux && !netconn

package test

// When pollers begin and end.

import (
	"net"
	"strings"
	"testing"

	"github.com/cloudwego/netpoll"
	"github.com/cloudwego/netpoll/internal/testkit"
	"github.com/cloudwego/netpoll/internal/testnet"
	"github.com/stretchr/testify/require"
)

// Behaviour 6.7: importing the package starts no goroutine and opens no descriptor; Initialize does it early.
func TestImportStartsNothing(t *testing.T) {
	if !testkit.InOwnProcess(t) {
		return
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0") // makes the Go runtime open its own poller
	require.NoError(t, err)
	require.NoError(t, ln.Close())
	before := countFiles("anon_inode:")
	require.LessOrEqual(t, before, 2, "epoll and event descriptors; the Go runtime has one of each: %v", openFiles())
	require.Zero(t, libraryGoroutines(), "%s", testkit.Stacks())

	netpoll.Initialize()
	require.Greater(t, countFiles("anon_inode:"), before, "no poller was opened")
	testkit.Eventually(t, func() bool { return libraryGoroutines() > 0 })
	pollers := countFiles("anon_inode:")
	netpoll.Initialize()
	require.Equal(t, pollers, countFiles("anon_inode:"), "Initialize opened another set of pollers")
}

// Behaviour 6.6: pollers that are too many end with their last connection: no goroutine and no descriptor stays.
func TestSurplusPollersEndWithTheirConnections(t *testing.T) {
	if !testkit.InOwnProcess(t) {
		return
	}
	require.NoError(t, netpoll.SetNumLoops(1))
	netpoll.Initialize()
	testkit.Eventually(t, func() bool { return libraryGoroutines() > 0 })
	files, goroutines := countFiles("anon_inode:"), libraryGoroutines()
	require.NoError(t, netpoll.SetNumLoops(5))
	conns := make([]netpoll.Connection, 20)
	for i := range conns {
		conns[i], _ = testnet.Dialed(t, "tcp")
	}
	require.NoError(t, netpoll.SetNumLoops(1))
	for _, conn := range conns {
		require.NoError(t, conn.Close())
	}
	testkit.Eventually(t, func() bool { return countFiles("anon_inode:") <= files && libraryGoroutines() <= goroutines })
}

// libraryGoroutines counts the goroutines that are inside this package and not inside its tests.
func libraryGoroutines() (n int) {
	for stack := range strings.SplitSeq(testkit.Stacks(), "\n\n") {
		if strings.Contains(stack, "cloudwego/netpoll.") {
			n++
		}
	}
	return n
}
