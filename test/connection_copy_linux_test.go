//go:build !netconn && !kqsim

package test

import (
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/cloudwego/netpoll"
	"github.com/cloudwego/netpoll/internal/testkit"
	"github.com/stretchr/testify/require"
)

// sendsFiles says that the kernel moves the bytes of a copy.
const sendsFiles = true

// Behaviour 9.8: somebody who has a duplicate of the descriptor may have made the socket blocking. A copy does not wait
// in the kernel even then: deadlines end it.
func TestCopyDoesNotWaitInTheKernel(t *testing.T) {
	t.Parallel()
	t.Run("for room", func(t *testing.T) {
		src, dst := makeEnd(t, "netpoll tcp"), makeEnd(t, "netpoll tcp")
		makeBlocking(t, dst.conn)
		flood(src.peer)
		require.NoError(t, dst.conn.(netpoll.Connection).SetWriteTimeout(testkit.Short))
		require.ErrorIs(t, testkit.Receive(t, copying(dst.conn, src.conn)).err, netpoll.ErrWriteTimeout)
	})
	t.Run("for room, from a file", func(t *testing.T) {
		dst := makeEnd(t, "netpoll tcp")
		makeBlocking(t, dst.conn)
		require.NoError(t, dst.conn.(netpoll.Connection).SetWriteTimeout(testkit.Short))
		file := tempFile(t, testkit.Pattern(64<<20))
		require.ErrorIs(t, testkit.Receive(t, copying(dst.conn, file)).err, netpoll.ErrWriteTimeout)
	})
	t.Run("for input", func(t *testing.T) {
		src, dst := makeEnd(t, "netpoll tcp"), makeEnd(t, "netpoll tcp")
		passed := countInput(dst.peer)
		makeBlocking(t, src.conn)
		done := copying(dst.conn, src.conn)
		const size = 4 << 20 // enough to be spliced
		_, err := src.peer.Write(testkit.Pattern(size))
		require.NoError(t, err)
		testkit.Eventually(t, func() bool { return passed.Load() == size })
		require.NoError(t, src.conn.SetReadDeadline(time.Now()))
		require.ErrorIs(t, testkit.Receive(t, done).err, os.ErrDeadlineExceeded)
	})
}

func makeBlocking(t *testing.T, conn any) {
	t.Helper()
	raw, err := conn.(syscall.Conn).SyscallConn()
	require.NoError(t, err)
	require.NoError(t, raw.Control(func(fd uintptr) { err = syscall.SetNonblock(int(fd), false) }))
	require.NoError(t, err)
}

// Behaviour 6.5, 9.8: without a descriptor for a pipe a copy goes on, and leaves none open.
func TestCopySurvivesRunningOutOfDescriptors(t *testing.T) {
	if !testkit.InOwnProcess(t) {
		return
	}
	src, dst := makeEnd(t, "netpoll tcp"), makeEnd(t, "netpoll tcp")
	passed := countInput(dst.peer)
	done := copying(dst.conn, src.conn)
	files := exhaust(t)
	const size = 4 << 20
	for range 2 {
		_, err := src.peer.Write(testkit.Pattern(size))
		require.NoError(t, err)
	}
	require.NoError(t, src.peer.(halfCloser).CloseWrite())
	result := testkit.Receive(t, done)
	require.NoError(t, result.err)
	require.EqualValues(t, 2*size, result.n)
	testkit.Eventually(t, func() bool { return passed.Load() == 2*size })
	files.free(t, len(files))
}
