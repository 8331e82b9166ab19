//go:build linux && !netconn

package netpoll_test

// A descriptor whose mode somebody else has changed.

import (
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/cloudwego/netpoll"
)

// The mode of a descriptor is shared with all its duplicates, also in child processes. One that makes it blocking must
// not stop this process.
func TestSocketMadeBlockingByAnotherStopsNothing(t *testing.T) {
	inSubprocess(t, func(t *testing.T) {
		fd, peer := netpoll.GetSysFdPairs()
		defer unix.Close(peer)
		conn, err := netpoll.NewFDConnection(fd)
		require.NoError(t, err)
		defer conn.Close()
		require.NoError(t, unix.SetNonblock(fd, false))
		require.NoError(t, conn.SetWriteTimeout(shortTimeout))
		for err == nil {
			_, err = conn.Write(make([]byte, 1024))
		}
		require.ErrorIs(t, err, netpoll.ErrWriteTimeout)

		_, err = unix.Write(peer, pattern(4096)) // fills the first receive, so that a second one finds nothing
		require.NoError(t, err)
		buffered(t, conn, 4096)
		_, err = unix.Write(peer, []byte("x"))
		require.NoError(t, err)
		buffered(t, conn, 4097)
	})
}
