//go:build !interleave

package thread

import (
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cloudwego/netpoll/internal/testkit"
)

// busy keeps the processor for d of the goroutine's own time.
func busy(m *Measure, d time.Duration) {
	for {
		if cpu, _ := usage(); cpu-m.cpu >= int64(d) {
			return
		}
	}
}

// crowd keeps all processors busy until the test ends, with goroutines that make way for each other all the time.
func crowd(t *testing.T) {
	var stop atomic.Bool
	var all sync.WaitGroup
	for range 2 * runtime.GOMAXPROCS(0) {
		all.Go(func() {
			for !stop.Load() {
				runtime.Gosched()
			}
		})
	}
	t.Cleanup(func() {
		stop.Store(true)
		all.Wait()
	})
}

// A goroutine that works is known to have worked for so long, though the system may have stopped it now and then.
func TestWorkIsMeasuredInProcessorTime(t *testing.T) {
	testkit.Eventually(t, func() bool {
		m := Begin()
		defer m.Stop()
		busy(&m, time.Millisecond)
		waitsNot := m.WaitsNot()
		worked, known := m.Worked()
		return waitsNot && known && worked >= int64(time.Millisecond)
	}, "a measure without a garbage collection in between")
}

// A goroutine that waits is not taken for one that works, also where its processor has been busy with others meanwhile.
// Now and then it is: where the system lets no thread run that could notice that it waits.
func TestWaitingIsNoWork(t *testing.T) {
	const rounds = 40
	for _, procs := range []int{1, runtime.GOMAXPROCS(0)} {
		for _, crowded := range []bool{false, true} {
			t.Run(fmt.Sprintf("%d processors, crowded: %v", procs, crowded), func(t *testing.T) {
				defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(procs))
				if crowded {
					crowd(t)
				}
				seen := 0
				for range rounds {
					m := Begin()
					<-time.After(time.Millisecond)
					waitsNot := m.WaitsNot()
					if _, known := m.Worked(); !known && !waitsNot {
						seen++
					}
					m.Stop()
				}
				require.Greater(t, seen, rounds/2)
			})
		}
	}
}

// Another goroutine sees that one waits.
func TestWaitingIsSeenFromOutside(t *testing.T) {
	begun, goOn := make(chan Measure), make(chan struct{})
	go func() {
		m := Begin()
		defer m.Stop()
		begun <- m
		<-goOn
	}()
	m := <-begun
	testkit.Eventually(t, func() bool { return !m.WaitsNot() }, "it waits")
	close(goOn)
	testkit.Eventually(t, func() bool { return measured.Load() == 0 }, "the end of the measure")
}

func TestNothingIsKnownWithoutAMeasure(t *testing.T) {
	var m Measure
	_, known := m.Worked()
	require.False(t, known)
	require.False(t, m.WaitsNot())
	m.Stop()
	require.Zero(t, measured.Load())
}

// Goroutines that wait for long, and keep their threads, are limited in number.
func TestMeasuresAreLimited(t *testing.T) {
	list := make([]Measure, maxMeasured+1)
	for i := range list {
		list[i] = Begin()
	}
	require.NotZero(t, list[maxMeasured-1].id)
	require.Zero(t, list[maxMeasured].id, "not measured")
	for i := range list {
		list[i].Stop()
	}
	m := Begin()
	require.NotZero(t, m.id)
	m.Stop()
	require.Zero(t, measured.Load())
}
