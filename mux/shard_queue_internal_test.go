package mux

// Tests of internals: the counter's wrap, the room that stays, the goroutines of an idle queue.

import (
	"context"
	"math"
	"sync/atomic"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/cloudwego/netpoll"
	"github.com/cloudwego/netpoll/internal/runner"
)

// nullConn is a Connection whose writer takes everything.
type nullConn struct{ netpoll.Connection }

func (nullConn) Writer() netpoll.Writer { return nullWriter{} }

type nullWriter struct{ netpoll.Writer }

func (nullWriter) Append(netpoll.Writer) error { return nil }
func (nullWriter) Flush() error                { return nil }

// Behaviour 7.2: the shard counter cannot wrap into a panic.
func TestShardCounterWrapsAround(t *testing.T) {
	for _, start := range []uint32{math.MaxInt32 - 2, math.MaxUint32 - 2} {
		q := NewShardQueue(3, nullConn{})
		q.next.Store(start)
		calls := 0
		for range 10 {
			q.Add(func() (netpoll.Writer, bool) {
				calls++
				return nil, true
			})
		}
		require.NoError(t, q.Close())
		require.Equal(t, 10, calls)
	}
}

func TestBurstLeavesNoRoomBehind(t *testing.T) {
	q := NewShardQueue(1, nullConn{})
	burst := make([]WriterGetter, 2*maxKeptGetters)
	for i := range burst {
		burst[i] = func() (netpoll.Writer, bool) { return nil, true }
	}
	q.Add(burst...)
	require.NoError(t, q.Close())
	require.LessOrEqual(t, cap(q.spare), maxKeptGetters)
	require.LessOrEqual(t, cap(q.shards[0].getters), maxKeptGetters)
}

func TestShardFillsACacheLine(t *testing.T) {
	require.Equal(t, unsafe.Sizeof(cacheLine{}), unsafe.Sizeof(shard{}))
}

func TestUnusedQueueAllocatesNoRoomForGetters(t *testing.T) {
	q := NewShardQueue(8, nullConn{})
	for i := range q.shards {
		require.Zero(t, cap(q.shards[i].getters))
	}
	require.Equal(t, drainIdle, q.state.Load())
}

func TestAddAndDrainAllocateNothingInSteadyState(t *testing.T) {
	// In place of the pool, whose own tasks would be counted.
	runner.Set(func(_ context.Context, f func()) { f() })
	t.Cleanup(func() { runner.Set(nil) })
	q := NewShardQueue(4, nullConn{})
	buf := netpoll.NewLinkBuffer()
	get := func() (netpoll.Writer, bool) { return buf, false }
	for range 2 * len(q.shards) {
		q.Add(get, get)
	}
	require.Zero(t, testing.AllocsPerRun(200, func() { q.Add(get, get) }))
}

// Behaviour 8.1: nothing is running for a queue without work.
func TestIdleQueueHoldsNoGoroutine(t *testing.T) {
	before := goleak.IgnoreCurrent()
	q := NewShardQueue(4, nullConn{})
	called := make(chan struct{})
	q.Add(func() (netpoll.Writer, bool) {
		close(called)
		return nil, true
	})
	<-called
	goleak.VerifyNone(t, before)
	require.NoError(t, q.Close())
}

// A getter that always adds another one must not put the flush off for ever.
func TestFlushIsNotPutOffByGettersThatKeepComing(t *testing.T) {
	conn := flushConn{flushed: new(atomic.Bool)}
	q := NewShardQueue(1, conn)
	buf := netpoll.NewLinkBuffer()
	calls, ended := 0, make(chan struct{})
	var again WriterGetter
	again = func() (netpoll.Writer, bool) {
		if calls++; conn.flushed.Load() || calls == 100*maxScans {
			close(ended)
		} else {
			q.Add(again)
		}
		return buf, false
	}
	q.Add(again)
	<-ended
	require.True(t, conn.flushed.Load(), "%d getters were called before a flush", calls)
	require.NoError(t, q.Close())
}

// flushConn is a nullConn that remembers a flush.
type flushConn struct {
	netpoll.Connection
	flushed *atomic.Bool
}

func (c flushConn) Writer() netpoll.Writer { return flushWriter{flushed: c.flushed} }

type flushWriter struct {
	nullWriter
	flushed *atomic.Bool
}

func (w flushWriter) Flush() error {
	w.flushed.Store(true)
	return nil
}

// A queue holds nothing of what it has sent, also after more getters at once than it keeps room for.
func TestQueueHoldsNoGetterThatWasCalled(t *testing.T) {
	for _, n := range []int{1, maxKeptGetters + 1} {
		q := NewShardQueue(1, nullConn{})
		getters := make([]WriterGetter, n)
		for i := range getters {
			getters[i] = func() (netpoll.Writer, bool) { return nil, true }
		}
		q.Add(getters...)
		require.NoError(t, q.Close())
		require.Nil(t, q.batch)
		for _, get := range q.spare[:cap(q.spare)] {
			require.Nil(t, get)
		}
	}
}
