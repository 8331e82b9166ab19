//go:build (linux && !netconn) || darwin || dragonfly || freebsd || netbsd || openbsd

package test

// Settings that concern pollers.

import (
	"context"
	"os"
	"runtime"
	"sync/atomic"
	"testing"

	"github.com/cloudwego/netpoll"
	"github.com/cloudwego/netpoll/internal/testkit"
	"github.com/cloudwego/netpoll/internal/testnet"
	"github.com/stretchr/testify/require"
)

// Behaviour 6.6: Configure changes only what is set.
func TestConfigureChangesOnlyWhatIsSet(t *testing.T) {
	testkit.OwnProcess(t, func(t *testing.T) {
		var ran atomic.Int64
		log := new(testkit.Log)
		require.NoError(t, netpoll.Configure(netpoll.Config{
			PollerNum:    3,
			LoggerOutput: log,
			LoadBalance:  netpoll.Random,
			Runner:       func(_ context.Context, f func()) { ran.Add(1); go f() },
		}))
		require.NoError(t, netpoll.Configure(netpoll.Config{}))
		require.NoError(t, netpoll.Configure(netpoll.Config{Feature: netpoll.Feature{AlwaysNoCopyRead: true}}))

		addr := testnet.NewServer(t, "tcp", func(context.Context, netpoll.Connection) error { panic("on purpose") }).Addr()
		conn := testkit.Dial(t, addr)
		testkit.Send(t, conn, "x")
		testkit.ExpectEnd(t, conn, "")
		require.Positive(t, ran.Load(), "the runner was forgotten")
		require.Contains(t, log.String(), "on purpose", "the logger was forgotten")
		testkit.Eventually(t, func() bool { return pollersRunning() == 3 }) // one may not have had its first turn yet
	})
}

// Behaviour 6.7: importing the package starts no goroutine and opens no descriptor; Initialize does it early.
func TestImportStartsNothingAndInitializeDoes(t *testing.T) {
	testkit.OwnProcess(t, func(t *testing.T) {
		require.Zero(t, pollersRunning())
		require.LessOrEqual(t, runtime.NumGoroutine(), 3, "%s", testkit.Stacks()) // main, this test, its deadline
		before := openDescriptors(t)
		netpoll.Initialize()
		netpoll.Initialize()
		testkit.Eventually(t, func() bool { return pollersRunning() > 0 })
		require.Greater(t, openDescriptors(t), before)
	})
}

// pollersRunning is the number of pollers that run.
func pollersRunning() (n int) {
	records := make([]runtime.StackRecord, 4096)
	count, _ := runtime.GoroutineProfile(records)
	for _, r := range records[:count] {
		frames := runtime.CallersFrames(r.Stack())
		for {
			frame, more := frames.Next()
			if frame.Function == "github.com/cloudwego/netpoll.(*poller).run" {
				n++
			}
			if !more {
				break
			}
		}
	}
	return n
}

func openDescriptors(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	require.NoError(t, err)
	return len(entries)
}
