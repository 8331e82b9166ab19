package uring

// This file proves that no byte is lost or sent twice when the kernel fails: refused, interrupted and partial
// submits, completions that do not fit, a ring that breaks midway, and a kernel that keeps what it was given.

import (
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// atMost lets the kernel do at most n operations for each call.
func atMost(ring *Ring, n, submit, flags uint32) (int, unix.Errno) {
	return enter(ring.fd, min(n, submit), flags)
}

func TestSubmitAccountsForEachOperationWhenEntersFail(t *testing.T) {
	const n = 8
	const always = 1000
	for _, c := range []struct {
		name  string
		play  func(call int, ring *Ring, submit, flags uint32) (int, unix.Errno)
		sent  int        // operations executed; the others are NotExecuted
		err   unix.Errno // the errno that breaks the ring, or 0
		calls int
	}{
		{"EINTR once", failFirst(1, unix.EINTR), n, 0, 2},
		{"EAGAIN, then it works", failFirst(maxStalls-1, unix.EAGAIN), n, 0, maxStalls},
		{"EBUSY, then it works", failFirst(maxStalls-1, unix.EBUSY), n, 0, maxStalls},
		{"ENOMEM, then it works", failFirst(maxStalls-1, unix.ENOMEM), n, 0, maxStalls},
		{"EAGAIN for ever", failFirst(always, unix.EAGAIN), 0, 0, maxStalls},
		{"success that does nothing", failFirst(always, 0), 0, 0, maxStalls},
		{"one at a time", func(_ int, r *Ring, submit, flags uint32) (int, unix.Errno) {
			return atMost(r, 1, submit, flags)
		}, n, 0, n},
		{"one at a time, after stalls each time", func(call int, r *Ring, submit, flags uint32) (int, unix.Errno) {
			if call%maxStalls != maxStalls-1 {
				return -1, unix.EAGAIN
			}
			return atMost(r, 1, submit, flags)
		}, n, 0, n * maxStalls},
		{"EINTR after everything was done", failAfter(n, unix.EINTR), n, 0, 1},
		{"ENXIO after everything was done", failAfter(n, unix.ENXIO), n, 0, 1},
		{"EINTR after a part was done, for ever", failAfter(3, unix.EINTR), n, 0, 3},
		{"ENXIO after a part was done", failAfter(3, unix.ENXIO), 3, unix.ENXIO, 1},
		{"EBADFD at once", failFirst(always, unix.EBADFD), 0, unix.EBADFD, 1},
		{"a part, then EAGAIN for ever", thenFail(3, unix.EAGAIN), 3, 0, 1 + maxStalls},
		{"a part, then ENXIO", thenFail(3, unix.ENXIO), 3, unix.ENXIO, 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			ring := newRing(t, n)
			a, b := newPair(t, "unix")
			calls := intercept(ring, c.play)
			for i := range n {
				require.True(t, ring.Send(a, []byte{byte('0' + i)}, uint64(i)))
			}
			results, err := submit(t, ring)
			require.Len(t, results, n)
			for i, res := range results {
				if i < c.sent {
					require.EqualValues(t, 1, res)
				} else {
					require.Equal(t, NotExecuted, res)
				}
			}
			require.Equal(t, "01234567"[:c.sent], string(drain(t, b)))
			require.Equal(t, c.calls, *calls)

			if c.err != 0 {
				require.ErrorIs(t, err, c.err)
				requireBroken(t, ring, c.err)
				return
			}
			require.NoError(t, err)
			requireWorking(t, ring, a, b)
		})
	}
}

// failFirst fails the first n calls before the kernel sees anything.
func failFirst(n int, errno unix.Errno) func(int, *Ring, uint32, uint32) (int, unix.Errno) {
	return func(call int, r *Ring, submit, flags uint32) (int, unix.Errno) {
		if call < n {
			return -1, errno
		}
		return enter(r.fd, submit, flags)
	}
}

// failAfter fails each call after the kernel did up to n operations.
func failAfter(n uint32, errno unix.Errno) func(int, *Ring, uint32, uint32) (int, unix.Errno) {
	return func(_ int, r *Ring, submit, flags uint32) (int, unix.Errno) {
		_, _ = atMost(r, n, submit, flags)
		return -1, errno
	}
}

// thenFail lets the first call do n operations, and fails the others.
func thenFail(n uint32, errno unix.Errno) func(int, *Ring, uint32, uint32) (int, unix.Errno) {
	return func(call int, r *Ring, submit, flags uint32) (int, unix.Errno) {
		if call == 0 {
			return atMost(r, n, submit, flags)
		}
		return -1, errno
	}
}

// requireBroken proves that the ring takes nothing more and says why.
func requireBroken(t *testing.T, ring *Ring, why error) {
	t.Helper()
	require.False(t, ring.Send(-1, []byte("x"), 0))
	require.False(t, ring.Recv(-1, make([]byte, 1), 0))
	results, err := submit(t, ring)
	require.ErrorIs(t, err, why)
	require.Empty(t, results)
}

// requireWorking proves that the ring still executes, over the pair a, b.
func requireWorking(t *testing.T, ring *Ring, a, b int) {
	t.Helper()
	ring.sys.enter = enter
	require.True(t, ring.Send(a, []byte("again"), 0))
	results, err := submit(t, ring)
	require.NoError(t, err)
	require.Equal(t, []int32{5}, results)
	require.Equal(t, "again", string(drain(t, b)))
}

func TestCompletionsThatDoNotFitAreFetched(t *testing.T) {
	ring := newRing(t, 4)
	a, b := newPair(t, "unix")
	// Nothing takes these completions, so the queue is full when the batch comes.
	for range len(ring.cqes) {
		ring.put(sqe{userData: cancelTag})
		*ring.sqTail = ring.tail
		n, errno := enter(ring.fd, 1, 0)
		require.Zero(t, errno)
		require.Equal(t, 1, n)
	}
	calls := intercept(ring, func(_ int, r *Ring, submit, flags uint32) (int, unix.Errno) {
		return enter(r.fd, submit, flags)
	})
	for i := range 4 {
		require.True(t, ring.Send(a, []byte{byte('0' + i)}, uint64(i)))
	}
	results, err := submit(t, ring)
	require.NoError(t, err)
	require.Equal(t, []int32{1, 1, 1, 1}, results)
	require.Greater(t, *calls, 1, "the completions did fit: the test proves nothing")
	require.Equal(t, "0123", string(drain(t, b)))
}

func TestSecondCompletionOfAnOperationIsIgnored(t *testing.T) {
	ring := newRing(t, 4)
	a, b := newPair(t, "unix")
	intercept(ring, func(_ int, r *Ring, submit, flags uint32) (int, unix.Errno) {
		n, errno := enter(r.fd, submit, flags)
		for _, again := range []uint64{0, 1000} { // an operation that has its result, and none at all
			r.cqes[*r.cqTail&r.cqMask] = cqe{userData: again, res: 77}
			*r.cqTail++
		}
		return n, errno
	})
	ring.Send(a, []byte("one"), 0)
	ring.Send(a, []byte("three"), 1)
	results, err := submit(t, ring)
	require.NoError(t, err)
	require.Equal(t, []int32{3, 5}, results)
	require.Equal(t, "onethree", string(drain(t, b)))
}

// ignoreDontwait makes the kernel treat what is queued as operations that may wait, and answers cancellations with
// nothing where cancel is false.
func ignoreDontwait(ring *Ring, cancel bool) {
	for i := *ring.sqHead; i != ring.tail; i++ {
		e := &ring.sqes[i&ring.sqMask]
		switch {
		case e.opcode == opAsyncCancel && !cancel:
			e.opcode = 0 // a no-op
		case e.opcode != opAsyncCancel:
			e.msgFlags &^= unix.MSG_DONTWAIT
		}
	}
}

func TestOperationsThatWaitAreRecalled(t *testing.T) {
	ring := newRing(t, 4)
	a, b := newPair(t, "tcp")
	full, fullPeer := newPair(t, "unix")
	fillSocket(t, full)
	intercept(ring, func(_ int, r *Ring, submit, flags uint32) (int, unix.Errno) {
		ignoreDontwait(r, true)
		return enter(r.fd, submit, flags)
	})
	buf := make([]byte, 8)
	ring.Send(a, []byte("x"), 0)
	ring.Recv(a, buf, 1)
	ring.Send(full, []byte("y"), 2)
	results, err := submit(t, ring)
	require.ErrorIs(t, err, ErrMisbehaves)
	require.Equal(t, []int32{1, NotExecuted, NotExecuted}, results)
	requireBroken(t, ring, ErrMisbehaves)

	// The kernel has let go: a plain receive gets the bytes, and nothing was sent late.
	_, err = unix.Write(b, []byte("for the plain call"))
	require.NoError(t, err)
	waitReadable(t, a)
	require.Equal(t, "for the plain call", string(drain(t, a)))
	require.Equal(t, make([]byte, 8), buf)
	require.NotContains(t, string(drain(t, fullPeer)), "y")
}

func TestOperationThatEndsWhileRecalledKeepsItsResult(t *testing.T) {
	ring := newRing(t, 4)
	a, b := newPair(t, "unix")
	intercept(ring, func(call int, r *Ring, submit, flags uint32) (int, unix.Errno) {
		ignoreDontwait(r, false)
		if call == maxStalls+1 { // the first enter of the recall
			_, err := unix.Write(b, []byte("late"))
			require.NoError(t, err)
		}
		return enter(r.fd, submit, flags)
	})
	buf := make([]byte, 8)
	ring.Recv(a, buf, 0)
	results, err := submit(t, ring)
	require.ErrorIs(t, err, ErrMisbehaves)
	require.Equal(t, []int32{4}, results)
	require.Equal(t, "late", string(buf[:4]))
}

func TestOperationThatNeverComesBackIsLostAndItsMemoryKept(t *testing.T) {
	setPatience(t, 20*time.Millisecond)
	before := len(lost.bufs)
	ring := newRing(t, 4)
	a, _ := newPair(t, "unix")
	intercept(ring, func(_ int, r *Ring, submit, flags uint32) (int, unix.Errno) {
		ignoreDontwait(r, false)
		return enter(r.fd, submit, flags)
	})
	buf := make([]byte, 8)
	ring.Recv(a, buf, 0)
	results, err := submit(t, ring)
	require.ErrorIs(t, err, ErrMisbehaves)
	require.Equal(t, []int32{InDoubt}, results)
	require.Len(t, lost.bufs, before+1)
	require.Same(t, &buf[0], &lost.bufs[before][0])
}

func TestRingThatFailsWithOperationsInsideNamesBothReasons(t *testing.T) {
	ring := newRing(t, 4)
	a, _ := newPair(t, "unix")
	intercept(ring, func(call int, r *Ring, submit, flags uint32) (int, unix.Errno) {
		if call > 0 {
			return -1, unix.ENXIO
		}
		ignoreDontwait(r, false)
		return enter(r.fd, submit, flags)
	})
	ring.Recv(a, make([]byte, 8), 0)
	results, err := submit(t, ring)
	require.ErrorIs(t, err, ErrMisbehaves)
	require.ErrorIs(t, err, unix.ENXIO)
	require.Equal(t, []int32{InDoubt}, results)
}

func setPatience(t *testing.T, d time.Duration) {
	old := recallPatience
	recallPatience = d
	t.Cleanup(func() { recallPatience = old })
}

// fillSocket sends until the socket takes no more.
func fillSocket(t *testing.T, fd int) {
	t.Helper()
	zeros := make([]byte, 64<<10)
	for {
		_, err := unix.Write(fd, zeros)
		if err == unix.EAGAIN {
			return
		}
		require.NoError(t, err)
	}
}

func TestClosedRingReportsWhatWasQueuedAsNotExecuted(t *testing.T) {
	ring := newRing(t, 4)
	a, b := newPair(t, "unix")
	require.True(t, ring.Send(a, []byte("x"), 0))
	require.NoError(t, ring.Close())
	require.NoError(t, ring.Close())
	require.False(t, ring.Send(a, []byte("y"), 1))
	results, err := submit(t, ring)
	require.ErrorIs(t, err, os.ErrClosed)
	require.Equal(t, []int32{NotExecuted}, results)
	require.Empty(t, drain(t, b))
}
