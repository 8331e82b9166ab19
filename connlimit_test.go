package netpoll

// The connection limit by itself.

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// countingWaiter counts the calls of released.
type countingWaiter struct{ releases int }

func (w *countingWaiter) released() { w.releases++ }

func TestLimiterAcquiresUpToItsLimit(t *testing.T) {
	l, w := newLimiter(2), new(countingWaiter)
	require.True(t, l.acquire(w))
	require.True(t, l.hasRoom(w), "which does not count")
	require.True(t, l.acquire(w))
	require.False(t, l.acquire(w))
	require.False(t, l.hasRoom(w))
	l.release()
	require.True(t, l.acquire(w))
	require.False(t, l.acquire(w))
}

func TestLimiterWithoutLimitRefusesNobody(t *testing.T) {
	for _, limit := range []int{0, -1} {
		l := newLimiter(limit)
		for range 1000 {
			require.True(t, l.acquire(nil))
		}
	}
}

// All that were refused are called by the next release, once: each may have something to accept, or not.
func TestReleaseCallsAllThatWereRefused(t *testing.T) {
	l, admitted := newLimiter(2), new(countingWaiter)
	require.True(t, l.acquire(admitted))
	require.True(t, l.acquire(admitted))
	acquiring, asking, forgotten := new(countingWaiter), new(countingWaiter), new(countingWaiter)
	require.False(t, l.acquire(acquiring))
	require.False(t, l.hasRoom(asking))
	require.False(t, l.acquire(forgotten))
	l.forget(forgotten)
	l.release()
	l.release()
	require.Equal(t, 1, acquiring.releases)
	require.Equal(t, 1, asking.releases)
	require.Zero(t, forgotten.releases)
	require.Zero(t, admitted.releases)
}

func TestClosedLimiterIsEmptyWithItsLastRelease(t *testing.T) {
	for _, held := range []int{0, 1, 3} {
		l := newLimiter(3)
		for range held {
			require.True(t, l.acquire(nil))
		}
		l.close()
		require.False(t, l.acquire(new(countingWaiter)))
		require.False(t, l.hasRoom(new(countingWaiter)))
		for range held {
			require.False(t, isClosed(l.empty))
			l.release()
		}
		require.True(t, isClosed(l.empty), "%d were held", held)
	}
}

func TestLimiterThatIsOpenIsNeverDone(t *testing.T) {
	l := newLimiter(0)
	require.True(t, l.acquire(nil))
	l.release()
	require.False(t, isClosed(l.empty))
}

func isClosed(ch <-chan struct{}) bool {
	select {
	case <-ch:
		return true
	default:
		return false
	}
}
