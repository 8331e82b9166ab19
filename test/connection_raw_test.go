//go:build (linux && !netconn) || darwin || dragonfly || freebsd || netbsd || openbsd

package test

import (
	"io"
	"net"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cloudwego/netpoll"
	"github.com/cloudwego/netpoll/internal/testkit"
	"github.com/cloudwego/netpoll/internal/testnet"
)

func rawOf(t *testing.T, conn netpoll.Connection) syscall.RawConn {
	t.Helper()
	raw, err := conn.(syscall.Conn).SyscallConn()
	require.NoError(t, err)
	return raw
}

// A function of RawConn.Read gets the bytes that arrive while it waits, and the connection those that come after.
func TestRawReadWaitsForInput(t *testing.T) {
	testkit.OverNetworks(t, func(t *testing.T, network string) {
		conn, peer := testnet.Dialed(t, network)
		buf := make([]byte, 16)
		var n int
		var failure error
		done := testkit.Blocked(t, func() error {
			return rawOf(t, conn).Read(func(fd uintptr) bool {
				n, failure = syscall.Read(int(fd), buf)
				return failure != syscall.EAGAIN
			})
		})
		testkit.Send(t, peer, "first")
		require.NoError(t, testkit.Receive(t, done))
		require.NoError(t, failure)
		require.Equal(t, "first", string(buf[:n]))
		testkit.Send(t, peer, "second")
		got, err := conn.Reader().ReadString(6)
		require.NoError(t, err)
		require.Equal(t, "second", got)
	})
}

func TestRawReadEndsWithDeadlineAndClose(t *testing.T) {
	conn, _ := testnet.Dialed(t, "tcp")
	never := func(uintptr) bool { return false }
	require.NoError(t, conn.SetReadDeadline(time.Now().Add(20*time.Millisecond)))
	require.ErrorIs(t, rawOf(t, conn).Read(never), os.ErrDeadlineExceeded)
	require.NoError(t, conn.SetReadDeadline(time.Time{}))
	done := testkit.Blocked(t, func() error { return rawOf(t, conn).Read(never) })
	require.NoError(t, conn.Close())
	require.ErrorIs(t, testkit.Receive(t, done), net.ErrClosed)
	require.ErrorIs(t, rawOf(t, conn).Read(never), net.ErrClosed)
	require.ErrorIs(t, rawOf(t, conn).Write(never), net.ErrClosed)
	require.ErrorIs(t, rawOf(t, conn).Control(func(uintptr) {}), net.ErrClosed)
}

func TestRawReadSeesTheEnd(t *testing.T) {
	conn, peer := testnet.Dialed(t, "tcp")
	n := -1
	done := testkit.Blocked(t, func() error {
		return rawOf(t, conn).Read(func(fd uintptr) bool {
			var err error
			n, err = syscall.Read(int(fd), make([]byte, 1))
			return err != syscall.EAGAIN
		})
	})
	require.NoError(t, peer.Close())
	require.NoError(t, testkit.Receive(t, done))
	require.Zero(t, n)
	_, err := conn.Read(make([]byte, 1))
	require.ErrorIs(t, err, io.EOF)
}

func TestRawWriteWaitsForRoom(t *testing.T) {
	conn, peer := testnet.Dialed(t, "unix")
	const total = 4 << 20
	left := total
	done := testkit.Blocked(t, func() error {
		return rawOf(t, conn).Write(func(fd uintptr) bool {
			for left > 0 {
				n, err := syscall.Write(int(fd), make([]byte, min(left, 64<<10)))
				if err != nil {
					return err != syscall.EAGAIN
				}
				left -= n
			}
			return true
		})
	})
	_, err := io.CopyN(io.Discard, peer, total)
	require.NoError(t, err)
	require.NoError(t, testkit.Receive(t, done))
	require.Zero(t, left)
}
