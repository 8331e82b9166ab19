//go:build !netconn

package netpoll_test

import (
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/cloudwego/netpoll"
)

// A receive does not wait in the kernel, whatever mode others have given to the socket. The scheduler does not know of
// the call, so that the whole process would stop with it: the first thing to wait for it is the garbage collector.
func TestReceiveOnBlockingSocketDoesNotWait(t *testing.T) {
	const wait = 5 // seconds; how long the kernel would let a receive wait
	fd, peer := netpoll.GetSysFdPairs()
	defer unix.Close(peer)
	conn, err := netpoll.NewFDConnection(fd)
	require.NoError(t, err)
	defer conn.Close()
	require.NoError(t, unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: wait}))
	require.NoError(t, unix.SetNonblock(fd, false))

	_, err = unix.Write(peer, pattern(4096)) // fills the first receive, so that a second one finds nothing
	require.NoError(t, err)
	buffered(t, conn, 4096)
	for range 10 { // the second one has begun at one of them
		start := time.Now()
		runtime.GC()
		require.Less(t, time.Since(start), wait*time.Second/2, "the world could not be stopped")
	}
}
