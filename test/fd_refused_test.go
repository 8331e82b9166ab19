//go:build linux

package test

// Descriptors from outside that turn out to be of no use: whose they are, and what their errors are called.

import (
	"os"
	"syscall"
	"testing"

	"github.com/cloudwego/netpoll"
	"github.com/cloudwego/netpoll/internal/testkit"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// Behaviour 5.13: a descriptor that looks like a stream but cannot be watched is refused, and still belongs to the
// caller.
func TestRefusedDescriptorStillBelongsToTheCaller(t *testing.T) {
	fd, err := unix.Open(os.DevNull, unix.O_RDWR|unix.O_CLOEXEC, 0)
	require.NoError(t, err)
	before, err := socketID(fd)
	require.NoError(t, err)
	conn, err := netpoll.NewFDConnection(fd)
	require.Error(t, err)
	require.True(t, conn == nil, "a failed NewFDConnection returned %#v", conn)
	after, err := socketID(fd)
	require.NoError(t, err, "the descriptor was closed")
	require.Equal(t, before, after)
	require.NoError(t, closeFd(fd))
}

// Behaviour 2.2: the errno of a pipe that nobody reads any more stays visible: it is EPIPE, before the poller has
// noticed and after.
func TestWriteToPipeWithoutReaderSaysEPIPE(t *testing.T) {
	for name, noticed := range map[string]bool{"at once": false, "when the connection knows": true} {
		t.Run(name, func(t *testing.T) {
			var ends [2]int
			require.NoError(t, unix.Pipe2(ends[:], unix.O_CLOEXEC))
			conn, err := netpoll.NewFDConnection(ends[1])
			require.NoError(t, err)
			defer conn.Close()
			require.NoError(t, closeFd(ends[0]))
			if noticed {
				testkit.Eventually(t, func() bool { return !conn.IsActive() })
			}
			_, err = conn.Write([]byte("x"))
			require.ErrorIs(t, err, syscall.EPIPE)
		})
	}
}
