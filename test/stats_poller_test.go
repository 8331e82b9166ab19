//go:build (linux && !netconn) || darwin || dragonfly || freebsd || netbsd || openbsd

package test

// The figures of pollers.

import (
	"context"
	"io"
	"syscall"
	"testing"

	"github.com/cloudwego/netpoll"
	"github.com/cloudwego/netpoll/internal/testkit"
	"github.com/cloudwego/netpoll/internal/testnet"
	"github.com/stretchr/testify/require"
)

func TestStatsCountDetachedConnections(t *testing.T) {
	testkit.OwnProcess(t, func(t *testing.T) {
		client, server := testnet.Pair(t, "tcp")
		fd := client.(netpoll.Conn).Fd()
		require.NoError(t, client.(netpoll.Detacher).Detach())
		require.NoError(t, syscall.Close(fd))
		require.NoError(t, server.Close())
		awaitEnded(t, 2)
		require.EqualValues(t, 1, netpoll.ReadStats().Conns.Ended.Detached)
	})
}

func TestStatsTellOfConnectionsThatWait(t *testing.T) {
	testkit.OwnProcess(t, func(t *testing.T) {
		traffic := func() netpoll.TrafficStats { return netpoll.ReadStats().Pollers[0].Traffic }
		client, server := testnet.Pair(t, "tcp")
		require.NoError(t, server.(netpoll.ReadLimiter).SetReadLimit(1000))
		const size = 64 << 20 // more than the buffers of the kernel hold
		sent := make(chan error, 1)
		go func() { sent <- testkit.ErrorOf(client.Write(make([]byte, size))) }()
		testkit.Eventually(t, func() bool { s := traffic(); return s.InputPaused == 1 && s.OutputBlocked == 1 })

		require.NoError(t, server.(netpoll.ReadLimiter).SetReadLimit(0))
		_, err := io.CopyN(io.Discard, server, size)
		require.NoError(t, err)
		require.NoError(t, testkit.Receive(t, sent))
		testkit.Eventually(t, func() bool { s := traffic(); return s.InputPaused == 0 && s.OutputBlocked == 0 })
		testkit.Eventually(t, func() bool { s := traffic(); return s.BytesIn == size && s.BytesOut == size })
	})
}

func TestStatsOfConnectionsThatWaitEndWithThem(t *testing.T) {
	testkit.OwnProcess(t, func(t *testing.T) {
		traffic := func() netpoll.TrafficStats { return netpoll.ReadStats().Pollers[0].Traffic }
		client, server := testnet.Pair(t, "tcp")
		require.NoError(t, server.(netpoll.ReadLimiter).SetReadLimit(1000))
		testkit.Blocked(t, func() error { return testkit.ErrorOf(client.Write(make([]byte, 64<<20))) })
		testkit.Eventually(t, func() bool { s := traffic(); return s.InputPaused == 1 && s.OutputBlocked == 1 })
		require.NoError(t, client.Close())
		require.NoError(t, server.Close())
		testkit.Eventually(t, func() bool { s := traffic(); return s.InputPaused == 0 && s.OutputBlocked == 0 })
		require.Zero(t, netpoll.ReadStats().Pollers[0].Watched)
	})
}

// A run on a goroutine of the poller is in the histograms, and one that waits there hands the polling over.
func TestStatsTimeHandlers(t *testing.T) {
	testkit.OwnProcess(t, func(t *testing.T) {
		s := testnet.NewServer(t, "tcp", testnet.Echo)
		c := s.Dial()
		handlers := func() netpoll.HandlerStats { return netpoll.ReadStats().Handlers }
		const n = 50
		for range n {
			testkit.ExpectEcho(t, c, "quick")
		}
		testkit.Eventually(t, func() bool { h := handlers(); return h.Times.Count() > 0 })
		h := handlers()
		require.LessOrEqual(t, h.Times.Count()+h.InRunner, uint64(n), "a run may be for several requests")
		require.NotZero(t, h.Times.Sum)
		require.Positive(t, h.Times.Quantile(1))
		require.LessOrEqual(t, h.Batches.Count(), h.Times.Count())
		require.NotZero(t, netpoll.ReadStats().Traffic.Polls)
	})
}

func TestStatsCountHandOvers(t *testing.T) {
	testkit.OwnProcess(t, func(t *testing.T) {
		release := make(chan struct{})
		s := testnet.NewServer(t, "tcp", func(_ context.Context, conn netpoll.Connection) error {
			_, err := conn.Reader().Next(1)
			<-release
			return err
		})
		_, err := io.WriteString(s.Dial(), "x")
		require.NoError(t, err)
		testkit.Eventually(t, func() bool { return netpoll.ReadStats().Handlers.HandedOver == 1 })
		require.Equal(t, 1, netpoll.ReadStats().Handlers.Running)
		close(release)
		testkit.Eventually(t, func() bool { return netpoll.ReadStats().Handlers.Running == 0 })
		require.EqualValues(t, 1, netpoll.ReadStats().Handlers.HandedOver)
	})
}

// The sums of the process never shrink, and a new poller goes on with the counters of one that has ended.
func TestStatsOutliveTheirPoller(t *testing.T) {
	testkit.OwnProcess(t, func(t *testing.T) {
		require.NoError(t, netpoll.Configure(netpoll.Config{PollerNum: 2}))
		s := testnet.NewServer(t, "tcp", testnet.Echo)
		for range 4 {
			c := s.Dial()
			testkit.ExpectEcho(t, c, "hello")
			require.NoError(t, c.Close())
		}
		awaitEnded(t, 4)
		before := netpoll.ReadStats()
		require.Len(t, before.Pollers, 2)
		require.NoError(t, netpoll.Configure(netpoll.Config{PollerNum: 1}))
		require.NoError(t, netpoll.Configure(netpoll.Config{PollerNum: 3}))
		after := netpoll.ReadStats()
		require.GreaterOrEqual(t, len(after.Pollers), 3)
		require.GreaterOrEqual(t, after.Traffic.Polls, before.Traffic.Polls)
		require.EqualValues(t, 4*len("hello"), before.Traffic.BytesIn)
		require.Equal(t, before.Traffic.BytesIn, after.Traffic.BytesIn)
	})
}
