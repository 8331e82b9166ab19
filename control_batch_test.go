//go:build (linux && !netconn) || darwin || dragonfly || freebsd || netbsd || openbsd

package netpoll

// How batches treat a connection that keeps control data.

import (
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/cloudwego/netpoll/internal/sock"
)

// The receives of a batch ask for no control data, so a connection that keeps it has no part in them.
func TestConnectionThatKeepsDescriptorsReceivesByItself(t *testing.T) {
	ends, err := sock.Pair()
	require.NoError(t, err)
	defer unix.Close(ends[1])
	c := newSocketConnection(socketInfo{fd: ends[0], network: "unix"})
	defer c.Close()
	_, _, ok := c.transport.(batchReceiver).beginReceive(evRead)
	require.False(t, ok)
	require.NoError(t, c.self.(*UnixConnection).KeepDescriptors(false))
	_, _, ok = c.transport.(batchReceiver).beginReceive(evRead)
	require.True(t, ok)
	c.transport.(batchReceiver).endReceive(-int32(unix.EAGAIN), false, nil)
}
