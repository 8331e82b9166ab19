//go:build linux

package test

// The library and its process: goroutines and when they start, and settings that change while it works. These tests
// change what belongs to the whole process, so each has a process of its own.

import (
	"context"
	"fmt"
	"io"
	"net"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/cloudwego/netpoll"
	"github.com/cloudwego/netpoll/internal/testkit"
	"github.com/cloudwego/netpoll/internal/testnet"
	"github.com/stretchr/testify/require"
)

// startPingers makes clients that send and expect echoes until stop is closed. Each failure is reported.
func startPingers(t *testing.T, address string, n int) (stop func(), pings *atomic.Int64) {
	t.Helper()
	pings = new(atomic.Int64)
	var stops []func()
	for i := range n {
		conn, err := netpoll.DialConnection("tcp", address, testkit.Timeout)
		require.NoError(t, err)
		require.NoError(t, conn.SetReadTimeout(testkit.Timeout))
		end := testkit.Repeat(t, func(int) bool {
			if err := ping(conn, fmt.Sprintf("from %d", i)); err != nil {
				t.Errorf("client %d: %v", i, err)
				return false
			}
			pings.Add(1)
			return true
		})
		stops = append(stops, func() { end(); conn.Close() })
	}
	return func() {
		for _, stop := range stops {
			stop()
		}
	}, pings
}

// ping is roundTrip by way of Reader and Writer.
func ping(conn netpoll.Connection, msg string) error {
	if _, err := conn.Writer().WriteString(msg); err != nil {
		return err
	}
	if err := conn.Writer().Flush(); err != nil {
		return err
	}
	got, err := conn.Reader().ReadString(len(msg))
	if err != nil {
		return err
	}
	if got != msg {
		return fmt.Errorf("sent %q, received %q", msg, got)
	}
	return conn.Reader().Release()
}

// Behaviour 6.6: shrinking the number of pollers strands no connection, idle or busy, dialed or accepted.
func TestShrinkingPollersStrandsNoConnection(t *testing.T) {
	if !testkit.InOwnProcess(t) {
		return
	}
	require.NoError(t, netpoll.Configure(netpoll.Config{PollerNum: 6}))
	s := testnet.NewServer(t, "tcp", testnet.Echo)
	var idle []netpoll.Connection
	for range 24 {
		conn, err := netpoll.DialConnection("tcp", s.Listener.Addr().String(), testkit.Timeout)
		require.NoError(t, err)
		defer conn.Close()
		require.NoError(t, conn.SetReadTimeout(testkit.Timeout))
		require.NoError(t, ping(conn, "before"))
		idle = append(idle, conn)
	}
	stop, pings := startPingers(t, s.Listener.Addr().String(), 8)
	for i, n := range []int{1, 6, 2, 3, 1} {
		require.NoError(t, netpoll.SetNumLoops(n))
		for _, conn := range idle {
			require.NoError(t, ping(conn, "after"), "with %d pollers", n)
		}
		c, err := net.Dial("tcp", s.Listener.Addr().String())
		require.NoError(t, err)
		require.NoError(t, testkit.RoundTrip(c, "new"), "a new connection with %d pollers", n)
		require.NoError(t, c.Close())
		testkit.Eventually(t, func() bool { return pings.Load() > int64(200*(i+1)) })
	}
	stop()
}

// Behaviour 6.6: every setting may change at any time, from any goroutine, under load.
func TestSettingsMayChangeUnderLoad(t *testing.T) {
	if !testkit.InOwnProcess(t) {
		return
	}
	s := testnet.NewServer(t, "tcp", testnet.Echo)
	stop, pings := startPingers(t, s.Listener.Addr().String(), 8)
	var ran atomic.Int64
	plain := func(_ context.Context, f func()) { ran.Add(1); go f() }
	changes := []func(i int) error{
		func(i int) error { return netpoll.SetNumLoops(1 + i%4) },
		func(i int) error { return netpoll.SetLoadBalance(netpoll.LoadBalance(i % 2)) },
		func(int) error { netpoll.SetRunner(plain); return nil },
		func(int) error { return netpoll.DisableGopool() },
		func(int) error { netpoll.SetLoggerOutput(io.Discard); return nil },
		func(int) error { netpoll.Initialize(); return nil },
		func(i int) error { return netpoll.Configure(netpoll.Config{BufferSize: 1024 << (i % 4)}) },
		func(i int) error {
			return netpoll.Configure(netpoll.Config{PollerNum: 1 + i%3, Runner: plain, LoggerOutput: io.Discard})
		},
	}
	var changers sync.WaitGroup
	for _, change := range changes {
		changers.Go(func() {
			for i := range rounds(100, 30) {
				if err := change(i); err != nil {
					t.Errorf("change %d: %v", i, err)
				}
				runtime.Gosched()
			}
		})
	}
	changers.Wait()
	netpoll.SetRunner(plain)
	reached, used := pings.Load(), ran.Load()
	testkit.Eventually(t, func() bool { return pings.Load() > reached+200 && ran.Load() > used })
	stop()
}
