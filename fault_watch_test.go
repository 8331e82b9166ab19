//go:build faults && linux && !netconn && !kqsim

package netpoll

// A connection whose interest the kernel refuses to change: it would wait for ever for an event that is never reported.

import (
	"io"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cloudwego/netpoll/internal/fault"
	"github.com/cloudwego/netpoll/internal/testkit"
)

func TestReaderDoesNotWaitForWhatIsNotWatched(t *testing.T) {
	conn, peer := fdConnection(t)
	inner(conn).SetReadLimit(4)
	writeAll(t, peer, "four")
	testkit.Eventually(t, func() bool { return inner(conn).window.paused.Load() }, "the input is at its bound")
	var refused atomic.Int32
	fault.SetHook(func(op fault.Op, size int) (int, syscall.Errno) {
		if op == fault.EpollCtlMod && refused.Add(1) == 1 {
			return size, syscall.ENOMEM
		}
		return size, 0
	})
	defer fault.SetHook(nil)
	got, err := conn.Reader().ReadString(4)
	require.NoError(t, err)
	require.Equal(t, "four", got)
	if _, err = syscall.Write(peer, []byte("more")); err != nil {
		require.ErrorIs(t, err, syscall.EPIPE, "the poller may have closed the connection by now")
	}
	_, err = conn.Reader().ReadString(4)
	require.ErrorIs(t, err, ErrConnClosed)
	require.NotErrorIs(t, err, ErrReadTimeout)
	require.NotErrorIs(t, err, io.EOF)
	require.Positive(t, refused.Load())
	released(t, inner(conn))
}

func writeAll(t *testing.T, fd int, s string) {
	t.Helper()
	_, err := syscall.Write(fd, []byte(s))
	require.NoError(t, err)
}
