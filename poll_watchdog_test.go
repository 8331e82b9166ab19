//go:build (linux && !netconn) || darwin || dragonfly || freebsd || netbsd || openbsd

package netpoll

// The watchdog: a batch that takes long is noticed, and one that does not costs no timer of its own.

import (
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cloudwego/netpoll/internal/interleave/clock"
	"github.com/cloudwego/netpoll/internal/metric"
)

// countingAlarm never rings by itself.
type countingAlarm struct{ sets int }

func (a *countingAlarm) Set(time.Duration) { a.sets++ }
func (a *countingAlarm) Close()            {}

// watchedPoller returns a poller without a goroutine, whose watchdog the test rings.
func watchedPoller(t *testing.T) (*poller, *countingAlarm) {
	sel, err := newSelector()
	require.NoError(t, err)
	p := makePoller(sel, nil, new(metric.Set))
	t.Cleanup(func() {
		select {
		case <-p.done:
		default:
			p.retire()
			p.run(p.leader)
		}
	})
	p.watchdog.alarm.Close()
	a := new(countingAlarm)
	p.watchdog.alarm = a
	return p, a
}

// beginBatchAt begins a batch, as runReady does, that seems to have begun some time ago.
func beginBatchAt(p *poller, ago time.Duration) (mark uint64) {
	p.leader.started.Store(clock.Now() - int64(ago))
	offers.Add(1)
	mark = p.leader.handOff.offer()
	p.watchdog.watch()
	return mark
}

func endBatchAt(t *testing.T, p *poller, mark uint64) {
	_, ok := p.leader.handOff.withdraw(mark)
	require.True(t, ok)
	offers.Add(-1)
}

func TestWatchdogSetsOneAlarmForManyBatches(t *testing.T) {
	p, alarm := watchedPoller(t)
	for range 3 {
		for range 100 {
			endBatchAt(t, p, beginBatchAt(p, 0))
		}
		require.Equal(t, watchdogPeriod, p.checkWorkers(), "there have been batches")
	}
	require.Equal(t, 1, alarm.sets)
	require.Zero(t, p.checkWorkers(), "there were none since")
	endBatchAt(t, p, beginBatchAt(p, 0))
	require.Equal(t, 2, alarm.sets, "the first one after silence")
}

// The alarm's last look and the beginning of a batch may come at the same time, in any order.
func TestWatchdogMissesNoBatchThatBeginsAsItLooks(t *testing.T) {
	p, alarm := watchedPoller(t)
	endBatchAt(t, p, beginBatchAt(p, 0))
	require.NotZero(t, p.checkWorkers())
	p.leader.started.Store(clock.Now())
	offers.Add(1)
	mark := p.leader.handOff.offer() // the alarm looks before the batch does
	require.NotZero(t, p.checkWorkers(), "it finds the batch")
	p.watchdog.watch()
	require.Equal(t, 1, alarm.sets, "set by the alarm itself")
	endBatchAt(t, p, mark)
}

func TestWatchdogTakesTheLeadershipFromALongBatchOnly(t *testing.T) {
	p, alarm := watchedPoller(t)
	mark := beginBatchAt(p, watchdogPeriod/4)
	require.NotZero(t, p.checkWorkers())
	endBatchAt(t, p, mark)

	p.leader.batch.ready = []task{nil} // the one that runs
	mark = beginBatchAt(p, 2*watchdogPeriod)
	require.Equal(t, watchdogPeriod, p.checkWorkers(), "another goroutine goes on, and is watched")
	_, ok := p.leader.handOff.withdraw(mark)
	require.False(t, ok, "the leadership is another's")
	require.Equal(t, 1, alarm.sets)
	p.retire() // ends the goroutine that polls now
	<-p.done
}

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
			again.Store(p.checkWorkers() != 0)
			done.Store(i)
		}
	})
	missed := 0
	for i, start := int64(1), time.Now(); time.Since(start) < 300*time.Millisecond; i++ {
		p.watchdog.set.Store(true)
		p.leader.seen = p.leader.handOff.v.Load() // nothing has happened since the look before
		sets := alarm.sets
		round.Store(i)
		for range i % 128 { // begin at another moment each time
			p.leader.handOff.v.Load()
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
