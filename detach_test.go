//go:build linux

package netpoll_test

// Detach where it is too late, and where others are inside the connection.

import (
	"net"
	"testing"

	"github.com/cloudwego/netpoll"
	"github.com/stretchr/testify/require"
)

// Behaviour 5.11: a connection that is closed, or detached already, has no descriptor to give away.
func TestDetachOfClosedConnectionIsAnError(t *testing.T) {
	overNetworks(t, func(t *testing.T, network string) {
		conn, _ := rawPair(t, network)
		require.NoError(t, conn.Close())
		err := conn.(detacher).Detach()
		require.ErrorIs(t, err, netpoll.ErrConnClosed)
		require.ErrorIs(t, err, net.ErrClosed)

		conn, _ = rawPair(t, network)
		fd := conn.(netpoll.Conn).Fd()
		require.NoError(t, conn.(detacher).Detach())
		require.ErrorIs(t, conn.(detacher).Detach(), netpoll.ErrConnClosed)
		require.NoError(t, closeFd(fd))
	})
}

// Behaviour 5.11: Detach ends the calls that wait in the connection, and the descriptor is the caller's alone when it
// returns.
func TestDetachEndsBlockedReadAndWrite(t *testing.T) {
	overNetworks(t, func(t *testing.T, network string) {
		conn, _ := rawPair(t, network)
		fd, socket := conn.(netpoll.Conn).Fd(), idOf(t, conn)
		read := blocked(t, func() error { return waitForMore(conn) })
		written := blocked(t, func() error { _, err := conn.Write(make([]byte, 64<<20)); return err })
		require.NoError(t, conn.(detacher).Detach())
		require.ErrorIs(t, receive(t, read), netpoll.ErrConnClosed)
		require.ErrorIs(t, receive(t, written), netpoll.ErrConnClosed)
		id, err := socketID(fd)
		require.NoError(t, err)
		require.Equal(t, socket, id)
		require.NoError(t, closeFd(fd))
	})
}
