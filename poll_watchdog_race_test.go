//go:build (linux && !netconn) || darwin || dragonfly || freebsd || netbsd || openbsd

package netpoll

import (
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// A batch that begins while the alarm takes its last look is watched all the same: either the alarm rings again, or the
// batch has set it. Which of their steps come first is left to the processors.
func TestBatchThatBeginsDuringTheLastLookIsWatched(t *testing.T) {
	pause := runtime.Gosched
	if runtime.GOMAXPROCS(0) > 1 {
		pause = func() {} // or else the two hardly ever meet
	}
	p, alarm := watchedPoller(t)
	var round, done atomic.Int64
	var again atomic.Bool
	var wg sync.WaitGroup
	wg.Go(func() { // the alarm
		for i := int64(1); ; i++ {
			for round.Load() == i-1 {
				pause()
			}
			if round.Load() < 0 {
				return
			}
			again.Store(p.checkLeader() != 0)
			done.Store(i)
		}
	})
	missed := 0
	for i, start := int64(1), time.Now(); time.Since(start) < 300*time.Millisecond; i++ {
		p.watchdog.set.Store(true)
		p.watchdog.seen = p.leadership.v.Load() // nothing has happened since the look before
		sets := alarm.sets
		round.Store(i)
		for range i % 128 { // begin at another moment each time
			p.leadership.v.Load()
		}
		mark := beginBatchAt(p, -time.Hour) // and so takes no time at all
		for done.Load() < i {
			pause()
		}
		if !again.Load() && alarm.sets == sets {
			missed++
		}
		endBatchAt(t, p, mark)
	}
	round.Store(-1)
	wg.Wait()
	require.Zero(t, missed, "batches that nobody watches")
}
