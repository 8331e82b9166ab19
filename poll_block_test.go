//go:build linux && !netconn

package netpoll

// Who loses tasks when a goroutine waits for a connection.

import (
	"context"
	"runtime"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cloudwego/netpoll/internal/testkit"
	"github.com/cloudwego/netpoll/internal/thread"
)

// notingPoller returns a poller without a watchdog, whose worker notes its thread.
func notingPoller(t *testing.T) *testPoller {
	h := newTestPoller(t)
	h.do(func() {
		h.watchdog.alarm.Close()
		h.watchdog.alarm = noAlarm{}
	})
	waits.Store(true)
	t.Cleanup(func() { waits.Store(false) })
	return h
}

// A goroutine that waits on another thread takes nothing from a worker.
func TestWorkerKeepsItsTasksIfAnotherThreadWaits(t *testing.T) {
	if runtime.GOMAXPROCS(0) == 1 { // a thread for the handler, and one for the test
		defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(2))
	}
	h := notingPoller(t)
	fl := newFleet(t, h, 8, "tcp")
	var inside, goOn atomic.Bool
	var before, after atomic.Uint64
	require.NoError(t, fl.conns[0].SetOnRequest(func(ctx context.Context, conn Connection) error {
		if onPollGoroutine() && !inside.Load() {
			before.Store(h.leader.handOff.v.Load())
			inside.Store(true)
			for !goOn.Load() { // it keeps its thread
			}
			after.Store(h.leader.handOff.v.Load())
		}
		return echoAll(ctx, conn)
	}))
	h.inlinePolicy.slowUntil.Store(0)
	fl.ask(t)
	testkit.Eventually(t, inside.Load, "the handler runs")
	waited := make(chan struct{})
	go func() { // if this has the thread of the worker, which the system has stopped, it may take the tasks
		defer close(waited)
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		if h.leader.thread.id.Load() != thread.ID() {
			beforeBlock()
		}
	}()
	<-waited
	goOn.Store(true)
	fl.answered(t)
	require.NotZero(t, before.Load()&offersTasks)
	require.Equal(t, before.Load(), after.Load(), "the tasks were taken")
}

// A worker is the one that waits if it is on that thread, or if nothing is known of its thread.
func TestWorkerIsKnownByItsThread(t *testing.T) {
	defer waits.Store(waits.Swap(true))
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var here workerThread
	here.note()
	require.True(t, here.mayBe(thread.ID()))
	require.False(t, here.mayBe(thread.ID()+1))
	waits.Store(false)
	here.note()
	require.True(t, here.mayBe(thread.ID()+1), "nothing is known")
}
