//go:build linux && !netconn

package test

// Detach where it is too late, and where others are inside the connection.

import (
	"context"
	"io"
	"net"
	"os"
	"syscall"
	"testing"
	"time"

	"github.com/cloudwego/netpoll"
	"github.com/cloudwego/netpoll/internal/testkit"
	"github.com/cloudwego/netpoll/internal/testnet"
	"github.com/stretchr/testify/require"
)

// Behaviour 5.11: a connection that is closed, or detached already, has no descriptor to give away.
func TestDetachOfClosedConnectionIsAnError(t *testing.T) {
	testkit.OverNetworks(t, func(t *testing.T, network string) {
		conn, _ := testnet.Dialed(t, network)
		require.NoError(t, conn.Close())
		err := conn.(detacher).Detach()
		require.ErrorIs(t, err, netpoll.ErrConnClosed)
		require.ErrorIs(t, err, net.ErrClosed)

		conn, _ = testnet.Dialed(t, network)
		fd := conn.(netpoll.Conn).Fd()
		require.NoError(t, conn.(detacher).Detach())
		require.ErrorIs(t, conn.(detacher).Detach(), netpoll.ErrConnClosed)
		require.NoError(t, closeFd(fd))
	})
}

// Behaviour 5.11: Detach ends the calls that wait in the connection, and the descriptor is the caller's alone when it
// returns.
func TestDetachEndsBlockedReadAndWrite(t *testing.T) {
	t.Parallel()
	testkit.OverNetworks(t, func(t *testing.T, network string) {
		conn, _ := testnet.Dialed(t, network)
		fd, socket := conn.(netpoll.Conn).Fd(), idOf(t, conn)
		read := testkit.Blocked(t, func() error { return waitForMore(conn) })
		written := testkit.Blocked(t, func() error { _, err := conn.Write(make([]byte, 64<<20)); return err })
		require.NoError(t, conn.(detacher).Detach())
		require.ErrorIs(t, testkit.Receive(t, read), netpoll.ErrConnClosed)
		require.ErrorIs(t, testkit.Receive(t, written), netpoll.ErrConnClosed)
		id, err := socketID(fd)
		require.NoError(t, err)
		require.Equal(t, socket, id)
		require.NoError(t, closeFd(fd))
	})
}

// Behaviour 5.11: Detach frees the descriptor from the poller without closing it.
func TestDetachLeavesDescriptorOpenAndUnread(t *testing.T) {
	testkit.OverNetworks(t, func(t *testing.T, network string) {
		conn, peer := testnet.Dialed(t, network)
		fd, socket := conn.(netpoll.Conn).Fd(), idOf(t, conn)
		closed := make(chan struct{})
		require.NoError(t, conn.AddCloseCallback(func(netpoll.Connection) error { close(closed); return nil }))
		require.NoError(t, conn.(detacher).Detach())
		testkit.Receive(t, closed)
		id, err := socketID(fd)
		require.NoError(t, err)
		require.Equal(t, socket, id)
		require.NoError(t, conn.Close())
		require.True(t, socketIsOpen(socket), "Close after Detach closed the descriptor")
		_, err = conn.Write([]byte("x"))
		require.ErrorIs(t, err, netpoll.ErrConnClosed)

		file := asFile(t, fd)
		defer file.Close()
		_, err = io.WriteString(peer, "to the new owner")
		require.NoError(t, err)
		require.NoError(t, file.SetDeadline(time.Now().Add(testkit.Timeout)))
		buf := make([]byte, len("to the new owner"))
		_, err = io.ReadFull(file, buf)
		require.NoError(t, err)
		require.Equal(t, "to the new owner", string(buf))
		_, err = file.WriteString("and back")
		require.NoError(t, err)
		buf = buf[:len("and back")]
		_, err = io.ReadFull(peer, buf)
		require.NoError(t, err)
		require.Equal(t, "and back", string(buf))
	})
}

// Behaviour 5.11: a server's handler may detach, too, and the server forgets the connection.
func TestDetachInsideRequestHandsTheSocketOver(t *testing.T) {
	detached := make(chan int, 1)
	s := testnet.NewServer(t, "tcp", func(ctx context.Context, conn netpoll.Connection) error {
		_ = testnet.Discard(ctx, conn)
		fd := conn.(netpoll.Conn).Fd()
		_ = conn.AddCloseCallback(func(netpoll.Connection) error { detached <- fd; return nil })
		return conn.(detacher).Detach()
	})
	c := s.Dial()
	_, err := io.WriteString(c, "upgrade")
	require.NoError(t, err)
	file := asFile(t, testkit.Receive(t, detached))
	defer file.Close()
	s.Stop() // it does not wait for, nor close, what is no longer its own
	_, err = file.WriteString("upgraded")
	require.NoError(t, err)
	buf := make([]byte, len("upgraded"))
	_, err = io.ReadFull(c, buf)
	require.NoError(t, err)
	require.Equal(t, "upgraded", string(buf))
}

// Behaviour 5.13: NewFDConnection of a TCP socket knows its addresses.
func TestFDConnectionOfTCPSocketKnowsItsAddresses(t *testing.T) {
	dialed, peer := testnet.Dialed(t, "tcp")
	fd := dialed.(netpoll.Conn).Fd()
	require.NoError(t, dialed.(detacher).Detach())
	conn, err := netpoll.NewFDConnection(fd)
	require.NoError(t, err)
	defer conn.Close()
	require.Equal(t, peer.LocalAddr().String(), conn.RemoteAddr().String())
	require.Equal(t, peer.RemoteAddr().String(), conn.LocalAddr().String())
	_, err = io.WriteString(peer, "hi")
	require.NoError(t, err)
	p, err := conn.Reader().Next(2)
	require.NoError(t, err)
	require.Equal(t, "hi", string(p))
}

// asFile makes a file of a non-blocking descriptor that is the caller's own.
func asFile(t testing.TB, fd int) *os.File {
	t.Helper()
	require.NoError(t, syscall.SetNonblock(fd, true))
	return os.NewFile(uintptr(fd), "descriptor")
}
