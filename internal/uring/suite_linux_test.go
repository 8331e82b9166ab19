package uring

// This file runs the tests that all kinds of rings have in common, and holds what those of this one need.

import (
	"testing"

	"github.com/cloudwego/netpoll/internal/iobatch"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/cloudwego/netpoll/internal/testkit/ringtest"
)

func TestRing(t *testing.T) {
	ringtest.Run(t, ringtest.Kind{
		New: func(entries uint32) (ringtest.Ring, error) { return New(entries) },
		Intercept: func(r ringtest.Ring, play ringtest.Play) *int {
			return intercept(r.(*Ring), func(call int, ring *Ring, submit, flags uint32) (int, unix.Errno) {
				return play(call, int(submit), func(n int) (int, unix.Errno) { return enter(ring.fd, uint32(n), flags) })
			})
		},
		Stalls:      iobatch.MaxStalls,
		NotExecuted: iobatch.NotExecuted,
		Pipe:        -int32(unix.ENOTSOCK),
	})
}

// BenchmarkBatch compares batches by the ring with batches by plain system calls.
func BenchmarkBatch(b *testing.B) {
	ringtest.Benchmark(b, ringtest.Kind{New: func(entries uint32) (ringtest.Ring, error) { return New(entries) }})
}

// newRing returns a ring that is closed at the end of the test.
func newRing(t testing.TB, entries uint32) *Ring {
	t.Helper()
	ring, err := New(entries)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, ring.Close()) })
	return ring
}

// intercept lets play stand between the ring and the kernel: it gets the number of the call, from 0, and does what
// io_uring_enter should, or should not. It returns the count of calls.
func intercept(ring *Ring, play func(call int, ring *Ring, submit, flags uint32) (int, unix.Errno)) *int {
	calls := new(int)
	ring.sys.enter = func(_ int, submit, flags uint32) (int, unix.Errno) {
		call := *calls
		*calls++
		return play(call, ring, submit, flags)
	}
	return calls
}

// requireBroken proves that the ring takes nothing more and says why.
func requireBroken(t *testing.T, ring *Ring, why error) {
	t.Helper()
	require.False(t, ring.Send(-1, []byte("x"), 0))
	require.False(t, ring.Recv(-1, make([]byte, 1), 0))
	results, err := ringtest.Submit(t, ring)
	require.ErrorIs(t, err, why)
	require.Empty(t, results)
}
