//go:build linux && !netconn

package test

// Dialing when descriptors run out: with a poller a dial takes two for a moment.

import (
	"net"
	"syscall"
	"testing"

	"github.com/cloudwego/netpoll"
	"github.com/cloudwego/netpoll/internal/testkit"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// Behaviour 6.5: running out of descriptors is an error, and later dials work.
func TestDialWithoutDescriptorsFailsAndLaterDialsWork(t *testing.T) {
	testkit.OwnProcess(t, func(t *testing.T) {
		addr := testkit.Listen(t, "tcp").Addr().String()
		netpoll.Initialize()
		hog := limitDescriptors(t, 64)
		for range 3 {
			hog.takeAll(t)
			for range 2 { // with no descriptor and with one: a dial takes two for a moment
				conn, err := netpoll.DialConnection("tcp", addr, testkit.Timeout)
				require.ErrorIs(t, err, syscall.EMFILE)
				require.True(t, conn == nil)
				var op *net.OpError
				require.ErrorAs(t, err, &op)
				hog.free(1)
			}
			conn, err := netpoll.DialConnection("tcp", addr, testkit.Timeout)
			require.NoError(t, err)
			require.NoError(t, conn.Close())
		}
	})
}

// Behaviour 6.5: also if the pollers have to be started yet.
func TestPollersThatCannotStartAreAnErrorAndStartLater(t *testing.T) {
	testkit.OwnProcess(t, func(t *testing.T) {
		addr := testkit.Listen(t, "tcp").Addr().String()
		r, w := netpoll.GetSysFdPairs()
		defer unix.Close(w)
		hog := limitDescriptors(t, 64)
		hog.takeAll(t)
		netpoll.Initialize()
		require.Zero(t, pollersRunning())
		_, err := netpoll.NewFDConnection(r)
		require.ErrorIs(t, err, syscall.EMFILE)

		hog.free(8)
		conn, err := netpoll.NewFDConnection(r) // it still belonged to the caller
		require.NoError(t, err)
		require.NoError(t, conn.Close())
		dialed, err := netpoll.DialConnection("tcp", addr, testkit.Timeout)
		require.NoError(t, err)
		require.NoError(t, dialed.Close())
	})
}
