package uring

// This file proves that no byte is lost or sent twice when the kernel misbehaves: completions that do not fit or come
// twice, and operations that it keeps. Calls that fail are in package ringtest, for every kind of ring.

import (
	"testing"
	"time"

	"github.com/cloudwego/netpoll/internal/iobatch"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/cloudwego/netpoll/internal/testkit/ringtest"
)

func TestCompletionsThatDoNotFitAreFetched(t *testing.T) {
	ring := newRing(t, 4)
	a, b := ringtest.NewPair(t, "unix")
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
	results, err := ringtest.Submit(t, ring)
	require.NoError(t, err)
	require.Equal(t, []int32{1, 1, 1, 1}, results)
	require.Greater(t, *calls, 1, "the completions did fit: the test proves nothing")
	require.Equal(t, "0123", string(ringtest.Drain(t, b)))
}

func TestSecondCompletionOfAnOperationIsIgnored(t *testing.T) {
	ring := newRing(t, 4)
	a, b := ringtest.NewPair(t, "unix")
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
	results, err := ringtest.Submit(t, ring)
	require.NoError(t, err)
	require.Equal(t, []int32{3, 5}, results)
	require.Equal(t, "onethree", string(ringtest.Drain(t, b)))
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
	a, b := ringtest.NewPair(t, "tcp")
	full, fullPeer := ringtest.NewPair(t, "unix")
	ringtest.FillSocket(t, full)
	intercept(ring, func(_ int, r *Ring, submit, flags uint32) (int, unix.Errno) {
		ignoreDontwait(r, true)
		return enter(r.fd, submit, flags)
	})
	buf := make([]byte, 8)
	ring.Send(a, []byte("x"), 0)
	ring.Recv(a, buf, 1)
	ring.Send(full, []byte("y"), 2)
	results, err := ringtest.Submit(t, ring)
	require.ErrorIs(t, err, ErrMisbehaves)
	require.Equal(t, []int32{1, iobatch.NotExecuted, iobatch.NotExecuted}, results)
	requireBroken(t, ring, ErrMisbehaves)

	// The kernel has let go: a plain receive gets the bytes, and nothing was sent late.
	_, err = unix.Write(b, []byte("for the plain call"))
	require.NoError(t, err)
	ringtest.WaitReadable(t, a)
	require.Equal(t, "for the plain call", string(ringtest.Drain(t, a)))
	require.Equal(t, make([]byte, 8), buf)
	require.NotContains(t, string(ringtest.Drain(t, fullPeer)), "y")
}

func TestOperationThatEndsWhileRecalledKeepsItsResult(t *testing.T) {
	ring := newRing(t, 4)
	a, b := ringtest.NewPair(t, "unix")
	intercept(ring, func(call int, r *Ring, submit, flags uint32) (int, unix.Errno) {
		ignoreDontwait(r, false)
		if call == iobatch.MaxStalls+1 { // the first enter of the recall
			_, err := unix.Write(b, []byte("late"))
			require.NoError(t, err)
		}
		return enter(r.fd, submit, flags)
	})
	buf := make([]byte, 8)
	ring.Recv(a, buf, 0)
	results, err := ringtest.Submit(t, ring)
	require.ErrorIs(t, err, ErrMisbehaves)
	require.Equal(t, []int32{4}, results)
	require.Equal(t, "late", string(buf[:4]))
}

func TestOperationThatNeverComesBackIsLostAndItsMemoryKept(t *testing.T) {
	setPatience(t, 20*time.Millisecond)
	before := len(iobatch.Lost())
	ring := newRing(t, 4)
	a, _ := ringtest.NewPair(t, "unix")
	intercept(ring, func(_ int, r *Ring, submit, flags uint32) (int, unix.Errno) {
		ignoreDontwait(r, false)
		return enter(r.fd, submit, flags)
	})
	buf := make([]byte, 8)
	ring.Recv(a, buf, 0)
	results, err := ringtest.Submit(t, ring)
	require.ErrorIs(t, err, ErrMisbehaves)
	require.Equal(t, []int32{iobatch.InDoubt}, results)
	require.Len(t, iobatch.Lost(), before+1)
	require.Same(t, &buf[0], &iobatch.Lost()[before][0])
}

func TestRingThatFailsWithOperationsInsideNamesBothReasons(t *testing.T) {
	ring := newRing(t, 4)
	a, _ := ringtest.NewPair(t, "unix")
	intercept(ring, func(call int, r *Ring, submit, flags uint32) (int, unix.Errno) {
		if call > 0 {
			return -1, unix.ENXIO
		}
		ignoreDontwait(r, false)
		return enter(r.fd, submit, flags)
	})
	ring.Recv(a, make([]byte, 8), 0)
	results, err := ringtest.Submit(t, ring)
	require.ErrorIs(t, err, ErrMisbehaves)
	require.ErrorIs(t, err, unix.ENXIO)
	require.Equal(t, []int32{iobatch.InDoubt}, results)
}

func setPatience(t *testing.T, d time.Duration) {
	old := iobatch.RecallPatience
	iobatch.RecallPatience = d
	t.Cleanup(func() { iobatch.RecallPatience = old })
}
