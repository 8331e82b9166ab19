package ringtest

// This file tests that no byte is lost or sent twice when the kernel fails: refused, interrupted and partial submits,
// and a ring that breaks in the middle of a batch.

import (
	"os"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

func (k Kind) submitAccountsForEachOperationWhenCallsFail(t *testing.T) {
	const n = 8
	const always = 1000
	for _, c := range []struct {
		name  string
		play  Play
		sent  int        // operations executed; the others are NotExecuted
		err   unix.Errno // the error that breaks the ring, or 0
		calls int
	}{
		{"EINTR once", failFirst(1, unix.EINTR), n, 0, 2},
		{"EAGAIN, then it works", failFirst(k.Stalls-1, unix.EAGAIN), n, 0, k.Stalls},
		{"EBUSY, then it works", failFirst(k.Stalls-1, unix.EBUSY), n, 0, k.Stalls},
		{"ENOMEM, then it works", failFirst(k.Stalls-1, unix.ENOMEM), n, 0, k.Stalls},
		{"EAGAIN for ever", failFirst(always, unix.EAGAIN), 0, 0, k.Stalls},
		{"success that does nothing", failFirst(always, 0), 0, 0, k.Stalls},
		{"one at a time", func(_, want int, do func(int) (int, unix.Errno)) (int, unix.Errno) {
			return do(min(1, want))
		}, n, 0, n},
		{"one at a time, after stalls each time", func(call, want int, do func(int) (int, unix.Errno)) (int, unix.Errno) {
			if call%k.Stalls != k.Stalls-1 {
				return -1, unix.EAGAIN
			}
			return do(min(1, want))
		}, n, 0, n * k.Stalls},
		{"EINTR after everything was done", failAfter(n, unix.EINTR), n, 0, 1},
		{"ENXIO after everything was done", failAfter(n, unix.ENXIO), n, 0, 1},
		{"EINTR after a part was done, for ever", failAfter(3, unix.EINTR), n, 0, 3},
		{"ENXIO after a part was done", failAfter(3, unix.ENXIO), 3, unix.ENXIO, 1},
		{"EBADFD at once", failFirst(always, unix.EBADFD), 0, unix.EBADFD, 1},
		{"a part, then EAGAIN for ever", thenFail(3, unix.EAGAIN), 3, 0, 1 + k.Stalls},
		{"a part, then ENXIO", thenFail(3, unix.ENXIO), 3, unix.ENXIO, 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			ring := k.ring(t, n)
			a, b := NewPair(t, "unix")
			calls := k.Intercept(ring, c.play)
			for i := range n {
				require.True(t, ring.Send(a, []byte{byte('0' + i)}, uint64(i)))
			}
			results, err := Submit(t, ring)
			require.Len(t, results, n)
			for i, res := range results {
				if i < c.sent {
					require.EqualValues(t, 1, res)
				} else {
					require.Equal(t, k.NotExecuted, res)
				}
			}
			require.Equal(t, "01234567"[:c.sent], string(Drain(t, b)))
			require.Equal(t, c.calls, *calls)

			if c.err != 0 {
				require.ErrorIs(t, err, c.err)
				k.requireBroken(t, ring, c.err)
				return
			}
			require.NoError(t, err)
			k.requireWorking(t, ring, a, b)
		})
	}
}

// failFirst fails the first n calls without calling the kernel.
func failFirst(n int, errno unix.Errno) Play {
	return func(call, want int, do func(int) (int, unix.Errno)) (int, unix.Errno) {
		if call < n {
			return -1, errno
		}
		return do(want)
	}
}

// failAfter fails each call after the kernel has executed up to n operations.
func failAfter(n int, errno unix.Errno) Play {
	return func(_, want int, do func(int) (int, unix.Errno)) (int, unix.Errno) {
		_, _ = do(min(n, want))
		return -1, errno
	}
}

// thenFail executes n operations in the first call, and fails the others.
func thenFail(n int, errno unix.Errno) Play {
	return func(call, want int, do func(int) (int, unix.Errno)) (int, unix.Errno) {
		if call == 0 {
			return do(min(n, want))
		}
		return -1, errno
	}
}

// requireBroken requires that the ring refuses operations, and that its error is why.
func (k Kind) requireBroken(t *testing.T, ring Ring, why error) {
	t.Helper()
	require.False(t, ring.Send(-1, []byte("x"), 0))
	require.False(t, ring.Recv(-1, make([]byte, 1), 0))
	results, err := Submit(t, ring)
	require.ErrorIs(t, err, why)
	require.Empty(t, results)
}

// requireWorking requires that the ring still executes operations, over the pair a, b.
func (k Kind) requireWorking(t *testing.T, ring Ring, a, b int) {
	t.Helper()
	k.Intercept(ring, work)
	require.True(t, ring.Send(a, []byte("again"), 0))
	results, err := Submit(t, ring)
	require.NoError(t, err)
	require.Equal(t, []int32{5}, results)
	require.Equal(t, "again", string(Drain(t, b)))
}

func (k Kind) closedRingReportsWhatWasQueuedAsNotExecuted(t *testing.T) {
	ring := k.ring(t, 4)
	a, b := NewPair(t, "unix")
	require.True(t, ring.Send(a, []byte("x"), 0))
	require.NoError(t, ring.Close())
	require.NoError(t, ring.Close())
	require.False(t, ring.Send(a, []byte("y"), 1))
	results, err := Submit(t, ring)
	require.ErrorIs(t, err, os.ErrClosed)
	require.Equal(t, []int32{k.NotExecuted}, results)
	require.Empty(t, Drain(t, b))
}
