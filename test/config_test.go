//go:build linux || darwin || dragonfly || freebsd || netbsd || openbsd

package test

// This file holds the tests of what is set for the whole process, and of the options that reach connections. Tests that
// leave something changed run in a process of their own.

import (
	"context"
	"net"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/cloudwego/netpoll"
	"github.com/cloudwego/netpoll/internal/testkit"
	"github.com/cloudwego/netpoll/internal/testnet"
)

func TestConfigureRefusesInvalidValuesAsAWhole(t *testing.T) {
	testkit.OwnProcess(t, func(t *testing.T) {
		called := false
		spoil := func(_ context.Context, f func()) { called = true; go f() }
		for _, config := range []netpoll.Config{
			{PollerNum: -1, Runner: spoil},
			{BufferSize: -1, Runner: spoil},
			{LoadBalance: 7, Runner: spoil},
			{LoadBalance: -1, Runner: spoil},
		} {
			require.Error(t, netpoll.Configure(config))
		}
		require.Error(t, netpoll.SetNumLoops(0))
		require.Error(t, netpoll.SetNumLoops(-1))
		require.Error(t, netpoll.SetLoadBalance(7))
		testkit.ExpectEcho(t, testnet.Dial(t, testnet.NewServer(t, "tcp", testnet.Echo).Addr()), "hello")
		require.False(t, called)
	})
}

// Behaviour 6.6: the setters are safe at any time; shrinking the number of pollers strands no connection.
func TestSettersUnderLoad(t *testing.T) {
	testkit.OwnProcess(t, func(t *testing.T) {
		addr := testnet.NewServer(t, "tcp", testnet.Echo).Addr()
		old := testnet.Dial(t, addr)
		testkit.ExpectEcho(t, old, "before")
		var stops []func()
		for i := range 3 {
			stops = append(stops, testkit.Repeat(t, func(n int) bool {
				changeSomething(t, n+i)
				err := dialAndEcho(addr.String(), byte(n))
				if err != nil {
					t.Error(err)
				}
				return err == nil
			}))
		}
		for range 200 {
			testkit.ExpectEcho(t, old, "meanwhile")
		}
		for _, stop := range stops {
			stop()
		}
		testkit.ExpectEcho(t, old, "after")
		require.NoError(t, netpoll.SetNumLoops(1))
		testkit.ExpectEcho(t, old, "on a poller that takes no new ones")
	})
}

// changeSomething calls one of the setters.
func changeSomething(t *testing.T, n int) {
	var err error
	switch n % 6 {
	case 0:
		err = netpoll.SetNumLoops(1 + n%5)
	case 1:
		err = netpoll.SetLoadBalance(netpoll.LoadBalance(n / 6 % 2))
	case 2:
		netpoll.SetRunner(nil)
	case 3:
		netpoll.SetLoggerOutput(nil)
	case 4:
		err = netpoll.DisableGopool()
	case 5:
		err = netpoll.Configure(netpoll.Config{BufferSize: 1 + n, ReadLimit: 1 << 16})
	}
	if err != nil {
		t.Error(err)
	}
}

// descriptors returns those that the process has.
func descriptors() map[int]unix.Stat_t {
	list := make(map[int]unix.Stat_t)
	for fd := range 4096 {
		var stat unix.Stat_t
		if unix.Fstat(fd, &stat) == nil {
			list[fd] = stat
		}
	}
	return list
}

// Behaviour 5.13: epoll and event descriptors, listeners and accepted sockets are close-on-exec.
func TestEveryDescriptorIsCloseOnExec(t *testing.T) {
	testkit.OwnProcess(t, func(t *testing.T) {
		testkit.ExpectEcho(t, testnet.Dial(t, testnet.NewServer(t, "tcp", testnet.Echo).Addr()), "hello")
		testkit.ExpectEcho(t, testnet.Dial(t, testnet.NewServer(t, "unix", testnet.Echo).Addr()), "hello")
		seen := 0
		for fd, stat := range descriptors() {
			queue := stat.Mode&unix.S_IFMT == 0 // an epoll descriptor
			if runtime.GOOS != "linux" {
				queue = stat.Mode&unix.S_IFMT == unix.S_IFIFO && fd > 2 // a kqueue
			}
			if stat.Mode&unix.S_IFMT != unix.S_IFSOCK && !queue {
				continue
			}
			requireCloseOnExec(t, fd)
			seen++
		}
		require.GreaterOrEqual(t, seen, 7) // an epoll, two listeners, two connections with two ends each
	})
}

func TestOptionsReachAcceptedConnections(t *testing.T) {
	type key struct{}
	connected := make(chan netpoll.Connection, 1)
	withContext := make(chan context.Context, 1)
	ln := testnet.Listen(t, "tcp")
	testnet.ServeOn(t, ln, nil,
		netpoll.Option{}, // does nothing
		netpoll.WithReadTimeout(time.Millisecond),
		netpoll.WithWriteTimeout(time.Minute),
		netpoll.WithIdleTimeout(7*time.Second+time.Nanosecond),
		netpoll.WithConnContext(),
		netpoll.WithOnPrepare(func(netpoll.Connection) context.Context {
			return context.WithValue(context.Background(), key{}, "prepared")
		}),
		netpoll.WithOnConnect(func(ctx context.Context, c netpoll.Connection) context.Context {
			withContext <- ctx
			connected <- c
			return ctx
		}))
	client := testkit.Dial(t, ln.Addr())
	ctx, conn := testkit.Receive(t, withContext), testkit.Receive(t, connected)

	_, err := conn.Reader().Next(1)
	require.ErrorIs(t, err, netpoll.ErrReadTimeout)
	fd := conn.(netpoll.Conn).Fd()
	requireKeepAlive(t, 8, fd, tcpKeepIdle) // rounded up
	require.Equal(t, "prepared", ctx.Value(key{}))
	require.NoError(t, ctx.Err())
	require.NoError(t, client.Close())
	testkit.Receive(t, ctx.Done())
	require.ErrorIs(t, context.Cause(ctx), netpoll.ErrEOF)
}

func TestReadLimitHoldsThePeerBack(t *testing.T) {
	t.Parallel()
	const limit = 64 << 10
	connected := make(chan netpoll.Connection, 1)
	ln := testnet.Listen(t, "unix")
	testnet.ServeOn(t, ln, nil, netpoll.WithReadLimit(limit),
		netpoll.WithOnConnect(func(ctx context.Context, c netpoll.Connection) context.Context {
			connected <- c
			return ctx
		}))
	client := testkit.Dial(t, ln.Addr())
	require.NoError(t, client.SetWriteDeadline(time.Now().Add(10*testkit.Calm)))
	sent, err := client.Write(make([]byte, 64<<20))
	var timeout net.Error
	require.ErrorAs(t, err, &timeout, "the peer was not held back: it sent %d bytes", sent)
	conn := testkit.Receive(t, connected)
	require.LessOrEqual(t, conn.Reader().Len(), 2*limit)
	require.NoError(t, conn.SetReadTimeout(testkit.Timeout))
	require.NoError(t, conn.Reader().Skip(sent), "it goes on when it is read")
}

func TestIdleLimitClosesQuietConnections(t *testing.T) {
	ln := testnet.Listen(t, "tcp")
	testnet.ServeOn(t, ln, testnet.Echo, netpoll.WithIdleLimit(testkit.Short))
	conn := testkit.Dial(t, ln.Addr())
	testkit.ExpectEcho(t, conn, "hello")
	testkit.ExpectEnd(t, conn, "")
}
