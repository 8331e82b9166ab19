//go:build linux && !netconn

package netpoll

// Code of the user that ends its goroutine while a worker does something other than to run its handlers.

import (
	"context"
	"io"
	"net"
	"runtime"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cloudwego/netpoll/internal/testkit"
)

// inPlace is a runner that runs everything at once, on the goroutine that hands it over.
func inPlace(_ context.Context, f func()) { f() }

// twoWorkers lets a poller have a follower, which it never calls.
func twoWorkers(p *poller) {
	p.maxWorkers = 2
	p.workers.procs.Store(2)
	p.worthCall, p.worthFull = int64(time.Hour), int64(time.Hour)
}

// The rest of a batch goes to the runner, which runs a handler in place, and that ends its goroutine. It was the worker,
// and what was left to send and to run is not lost with it.
func TestWorkerGoesOnThoughItsRunnerEndsItsGoroutine(t *testing.T) {
	testkit.CaptureLog(t, SetLoggerOutput)
	defer SetRunner(nil)
	h := startTestPoller(t, twoWorkers)
	h.do(func() {
		h.watchdog.alarm.Close()
		h.watchdog.alarm = noAlarm{}
		h.workers.procs.Store(2)
	})
	fl := newFleet(t, h, 8, "tcp")
	var inline atomic.Bool
	require.NoError(t, fl.conns[0].SetOnRequest(func(ctx context.Context, conn Connection) error {
		if onPollGoroutine() && !inline.Swap(true) {
			SetRunner(inPlace)
			for end := time.Now().Add(2 * time.Millisecond); time.Now().Before(end); { // the rest goes to the runner
			}
		}
		return echoAll(ctx, conn)
	}))
	for _, i := range []int{3, 5} {
		require.NoError(t, fl.conns[i].SetOnRequest(func(ctx context.Context, conn Connection) error {
			if !inline.Load() {
				return echoAll(ctx, conn)
			}
			runtime.Goexit()
			return nil
		}))
	}
	testkit.Eventually(t, func() bool {
		fl.ask(t)
		for i, peer := range fl.peers {
			if !inline.Load() || i != 3 && i != 5 {
				testkit.Expect(t, peer, fl.message(i))
			}
		}
		return inline.Load()
	}, "a batch whose first handler runs on the worker")
	SetRunner(nil)
	fl.drop(t, 5)
	fl.drop(t, 3)
	fl.ask(t)
	fl.answered(t)
}

// What a worker sends may end a connection, whose callbacks a runner runs in place. One that ends its goroutine keeps no
// other connection from being sent to.
func TestAllIsSentThoughACloseCallbackEndsItsGoroutine(t *testing.T) {
	for _, mode := range []string{"off", "always"} {
		t.Run("ring "+mode, func(t *testing.T) {
			testkit.CaptureLog(t, SetLoggerOutput)
			defer SetRunner(nil)
			h := newTestPoller(t)
			h.rings(mode, func() (ring, error) { return &fakeRing{size: 64}, nil })
			fl := newFleet(t, h, 8, "tcp")
			require.NoError(t, fl.conns[0].SetOnRequest(func(ctx context.Context, conn Connection) error {
				SetRunner(inPlace)
				return echoAll(ctx, conn)
			}))
			ending := []int{7, 4, 1} // with their peers, when all is sent
			for _, i := range ending {
				require.NoError(t, fl.conns[i].AddCloseCallback(func(Connection) error { runtime.Goexit(); return nil }))
			}
			release := h.hold()
			fl.round++
			for i, peer := range fl.peers {
				_, err := io.WriteString(peer, fl.message(i))
				require.NoError(t, err)
				if slices.Contains(ending, i) {
					require.NoError(t, peer.(*net.TCPConn).CloseWrite())
				}
			}
			release()
			fl.answered(t)
			SetRunner(nil)
			for _, i := range ending {
				released(t, fl.conns[i])
				fl.conns, fl.peers = slices.Delete(fl.conns, i, i+1), slices.Delete(fl.peers, i, i+1)
			}
			fl.ask(t)
			fl.answered(t)
		})
	}
}

// A handler that runs in place as its input arrives, and ends its goroutine, keeps nothing from others of its batch.
func TestBatchIsReceivedThoughAHandlerEndsItsGoroutine(t *testing.T) {
	for _, mode := range []string{"off", "always"} {
		t.Run("ring "+mode, func(t *testing.T) {
			testkit.CaptureLog(t, SetLoggerOutput)
			h := newTestPoller(t)
			h.rings(mode, func() (ring, error) { return &fakeRing{size: 64}, nil })
			SetRunner(inPlace)
			defer SetRunner(nil)
			fl := newFleet(t, h, 8, "tcp")
			for _, i := range []int{3, 5} {
				require.NoError(t, fl.conns[i].SetOnRequest(func(context.Context, Connection) error { runtime.Goexit(); return nil }))
			}
			fl.ask(t)
			for i, peer := range fl.peers {
				if i != 3 && i != 5 {
					testkit.Expect(t, peer, fl.message(i))
				}
			}
			fl.drop(t, 5)
			fl.drop(t, 3)
			fl.ask(t)
			fl.answered(t)
		})
	}
}
