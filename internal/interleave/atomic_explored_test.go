//go:build interleave

package interleave_test

// The types of atomic and sync, as they are where schedules are explored.

import (
	realsync "sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cloudwego/netpoll/internal/interleave"
	"github.com/cloudwego/netpoll/internal/interleave/atomic"
	"github.com/cloudwego/netpoll/internal/interleave/sync"
)

func TestEveryAtomicOperationIsAStep(t *testing.T) {
	res := explore(0, func(r *interleave.Run) {
		var (
			b   atomic.Bool
			i32 atomic.Int32
			i64 atomic.Int64
			u32 atomic.Uint32
			u64 atomic.Uint64
			p   atomic.Pointer[int]
			one int
		)
		r.Go("all", func() {
			b.Store(true)
			i32.Store(1)
			i64.Store(1)
			u32.Store(1)
			u64.Store(1)
			p.Store(&one)
			ok := b.Swap(false) && i32.Swap(2) == 1 && i64.Swap(2) == 1 && u32.Swap(2) == 1 && u64.Swap(2) == 1 &&
				p.Swap(nil) == &one
			ok = ok && i32.Add(1) == 3 && i64.Add(1) == 3 && u32.Add(1) == 3 && u64.Add(1) == 3
			ok = ok && b.CompareAndSwap(false, true) && i32.CompareAndSwap(3, 4) && i64.CompareAndSwap(3, 4) &&
				u32.CompareAndSwap(3, 4) && u64.CompareAndSwap(3, 4) && p.CompareAndSwap(nil, &one)
			if !ok || !b.Load() || i32.Load()+int32(u32.Load()) != 8 || i64.Load()+int64(u64.Load()) != 8 || p.Load() != &one {
				r.Failf("not what the standard library does")
			}
		})
	})
	require.Nil(t, res.Failure)
	require.Equal(t, 6+6+4+6+6, res.Steps)
}

func TestMutexKeepsOthersOut(t *testing.T) {
	res := explore(unbounded, func(r *interleave.Run) {
		var mu sync.Mutex
		var n atomic.Int64
		for range 2 {
			r.Go("adds", func() {
				mu.Lock()
				defer mu.Unlock()
				n.Store(n.Load() + 1)
			})
		}
		r.Go("tries", func() {
			if mu.TryLock() {
				n.Store(n.Load() + 1)
				mu.Unlock()
			} else {
				n.Add(100)
			}
		})
		r.Check(func() {
			if v := n.Load() % 100; v != 3 && v != 2 && v != 1 {
				r.Failf("%d", v)
			}
		})
	})
	require.Nil(t, res.Failure)
	require.Greater(t, res.Schedules, 10)
}

func TestLockingTwiceIsADeadlock(t *testing.T) {
	res := explore(0, func(r *interleave.Run) {
		var mu sync.Mutex
		r.Go("locks", func() {
			mu.Lock()
			defer mu.Unlock()
			mu.Lock()
		})
	})
	require.Contains(t, res.Failure.Message, "deadlock")
}

func TestCondWaitsForABroadcast(t *testing.T) {
	scenario := func(again bool) func(r *interleave.Run) {
		return func(r *interleave.Run) {
			var mu sync.Mutex
			c := sync.Cond{L: &mu}
			var done atomic.Bool
			r.Go("waits", func() {
				mu.Lock()
				defer mu.Unlock()
				if !done.Load() {
					c.Wait()
				}
			})
			r.Go("tells", func() {
				done.Store(true)
				if again { // so that who looked before waits now
					mu.Lock()
					defer mu.Unlock()
				}
				c.Broadcast()
			})
		}
	}
	require.Nil(t, explore(unbounded, scenario(true)).Failure)
	require.Contains(t, explore(1, scenario(false)).Failure.Message, "deadlock")
}

// Outside of a run the types do what those of the standard library do.
func TestTypesWorkWithoutARun(t *testing.T) {
	var mu sync.Mutex
	c := sync.Cond{L: &mu}
	var group realsync.WaitGroup
	n := 0
	for range 4 {
		group.Add(1)
		sync.Go(func() {
			defer group.Done()
			mu.Lock()
			defer mu.Unlock()
			n++
			c.Broadcast()
			for n < 4 {
				c.Wait()
			}
		})
	}
	group.Wait()
	require.Equal(t, 4, n)
}
