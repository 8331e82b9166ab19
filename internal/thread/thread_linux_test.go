//go:build !interleave

package thread

import (
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cloudwego/netpoll/internal/testkit"
)

// busy keeps the processor for d of the thread's own time.
func busy(d time.Duration) {
	for before := Now(); Now().cpu-before.cpu < int64(d); {
	}
}

// A thread that works is known to have worked for so long, though the system may have stopped it now and then.
func TestWorkIsMeasuredInProcessorTime(t *testing.T) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	testkit.Eventually(t, func() bool {
		before := Now()
		busy(time.Millisecond)
		worked, known := Now().Since(before)
		return known && worked >= int64(time.Millisecond)
	}, "a measure without a garbage collection in between")
}

// A goroutine that waits, and its thread with it, is not taken for one that works.
func TestWaitingIsNoWork(t *testing.T) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	for range 20 {
		before := Now()
		<-time.After(time.Millisecond)
		_, known := Now().Since(before)
		require.False(t, known)
	}
}

func TestNothingIsKnownWithoutAMeasure(t *testing.T) {
	_, known := Usage{}.Since(Now())
	require.False(t, known)
}
