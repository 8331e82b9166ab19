package test

// Features of listeners on Linux alone, and state that only Linux shows.

import (
	"context"
	"testing"
	"time"

	"github.com/cloudwego/netpoll"
	"github.com/cloudwego/netpoll/internal/testkit"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

func TestListenerInAbstractNameSpace(t *testing.T) {
	name := "@netpoll-test-" + t.Name() + "-" + time.Now().Format(time.RFC3339Nano)
	ln, err := netpoll.CreateListener("unix", name)
	require.NoError(t, err)
	server := acceptOne(t, ln, func() { testkit.Dial(t, ln.Addr()) })
	require.Equal(t, name, server.LocalAddr().String())
	require.NoError(t, ln.Close())
}

func TestListenConfigBacklogReachesTheSystem(t *testing.T) {
	lc := netpoll.ListenConfig{Backlog: 7}
	lc.SetMultipathTCP(false) // TCP_INFO shows the backlog of plain TCP only
	ln, err := lc.Listen(context.Background(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer ln.Close()
	info, err := unix.GetsockoptTCPInfo(ln.Fd(), unix.IPPROTO_TCP, unix.TCP_INFO)
	require.NoError(t, err)
	require.EqualValues(t, 7, info.Sacked) // what TCP_INFO calls it for a listening socket
}
