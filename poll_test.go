//go:build (linux && !netconn) || darwin || dragonfly || freebsd || netbsd || openbsd

package netpoll

import (
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/cloudwego/netpoll/internal/testkit"
)

// recorder is a handler that passes its events on to the test.
type recorder struct {
	watch  watch
	events chan pollEvent
	drain  int       // a descriptor to empty on evRead
	wants  pollEvent // what to watch for after the next updateInterest
}

func newRecorder(fd int) *recorder { return &recorder{events: make(chan pollEvent, 64), drain: fd} }

func (r *recorder) onPoll(ev pollEvent, _ *batch) {
	if ev&evRead != 0 {
		var buf [256]byte
		_, _ = unix.Read(r.drain, buf[:])
	}
	for {
		select {
		case r.events <- ev:
			return
		default:
		}
		select {
		case <-r.events: // the test does not take events that are reported again and again
		default:
		}
	}
}

func (r *recorder) interest() pollEvent { return r.wants }

// set changes what is watched for.
func (r *recorder) set(ev pollEvent) error {
	r.wants = ev
	return r.watch.updateInterest()
}

func (r *recorder) next(t *testing.T) pollEvent {
	t.Helper()
	select {
	case ev := <-r.events:
		return ev
	case <-time.After(10 * time.Second):
		t.Fatal("no event")
		return 0
	}
}

// until returns when an event in ev has been reported. Before it only events in others may be reported.
func (r *recorder) until(t *testing.T, ev, others pollEvent) {
	t.Helper()
	for {
		got := r.next(t)
		require.Zero(t, got&^(ev|others), "not asked for")
		if got&ev != 0 {
			return
		}
	}
}

// socketPair returns two connected descriptors that are closed when the test ends, unless the test closed them.
func socketPair(t *testing.T) (a, b int) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	require.NoError(t, err)
	require.NoError(t, unix.SetNonblock(fds[0], true))
	require.NoError(t, unix.SetNonblock(fds[1], true))
	t.Cleanup(func() { unix.Close(fds[0]); unix.Close(fds[1]) })
	return fds[0], fds[1]
}

func freshPoller(t *testing.T) *poller {
	t.Helper()
	p, err := newPoller(nil)
	require.NoError(t, err)
	t.Cleanup(func() {
		p.retire()
		<-p.done
	})
	return p
}

func TestPollerReportsReadinessAndHangup(t *testing.T) {
	p := freshPoller(t)
	a, b := socketPair(t)
	r := newRecorder(a)
	require.NoError(t, r.watch.open(p, a, r, evRead|evHup))
	defer r.watch.close()

	_, err := unix.Write(b, []byte("x"))
	require.NoError(t, err)
	r.until(t, evRead, 0)

	require.NoError(t, r.set(evRead|evHup|evWrite))
	r.until(t, evWrite, evRead)
	require.NoError(t, r.set(evHup))

	require.NoError(t, unix.Shutdown(b, unix.SHUT_WR))
	r.until(t, evHup, evRead|evWrite)
}

// A token whose slot was freed, or given to another watch since, reaches no handler.
func TestStaleTokenReachesNobody(t *testing.T) {
	var table slotTable
	first, second := new(watch), new(watch)
	require.True(t, table.put(first))
	stale := first.token
	require.Same(t, first, table.lookup(stale))
	table.drop(stale)
	require.Nil(t, table.lookup(stale))

	require.True(t, table.put(second))
	require.Equal(t, uint32(stale), uint32(second.token), "the slot must be used again for this test to mean anything")
	require.Nil(t, table.lookup(stale), "the generation must differ")
	require.Same(t, second, table.lookup(second.token))
	require.Nil(t, table.lookup(makeToken(1<<20, 1)), "a token of no slot at all")
}

func TestSlotIsNotReusedWithinTheBatch(t *testing.T) {
	var table slotTable
	first, second, third := new(watch), new(watch), new(watch)
	require.True(t, table.put(first))
	table.beginBatch()
	table.drop(first.token)
	require.True(t, table.put(second))
	require.NotEqual(t, uint32(first.token), uint32(second.token))
	table.endBatch()
	require.True(t, table.put(third))
	require.Equal(t, uint32(first.token), uint32(third.token))
}

func TestSlotTableGrowsUnderLookups(t *testing.T) {
	var table slotTable
	var stop atomic.Bool
	var seen sync.WaitGroup
	first := new(watch)
	table.put(first)
	seen.Go(func() {
		for !stop.Load() {
			if table.lookup(first.token) != first {
				t.Error("lost a slot while the table grew")
				return
			}
		}
	})
	for range 4 * slotsPerChunk {
		require.True(t, table.put(new(watch)))
	}
	stop.Store(true)
	seen.Wait()
	require.Len(t, table.closeAll(), 4*slotsPerChunk+1)
	require.False(t, table.put(new(watch)))
}

// A duplicate keeps the socket, and what it is registered for, alive past close. Its events must reach no handler, and
// must not be reported for ever.
func TestClosedWatchIsSilentThoughADuplicateLives(t *testing.T) {
	p := freshPoller(t)
	a, b := socketPair(t)
	dup, err := unix.Dup(a)
	require.NoError(t, err)
	defer unix.Close(dup)
	r := newRecorder(a)
	require.NoError(t, r.watch.open(p, a, r, evRead|evHup))
	r.watch.close()
	_, err = unix.Write(b, []byte("x"))
	require.NoError(t, err)

	// A second watch on the same poller proves that the event, had there been one, would have been delivered by now.
	c, d := socketPair(t)
	other := newRecorder(c)
	require.NoError(t, other.watch.open(p, c, other, evRead))
	defer other.watch.close()
	_, err = unix.Write(d, []byte("y"))
	require.NoError(t, err)
	require.Equal(t, evRead, other.next(t))
	require.Empty(t, r.events)
}

func TestRetiredPollerServesWhatItHasAndEndsWithIt(t *testing.T) {
	p, err := newPoller(nil)
	require.NoError(t, err)
	a, b := socketPair(t)
	r := newRecorder(a)
	require.NoError(t, r.watch.open(p, a, r, evRead))
	p.retire()
	_, err = unix.Write(b, []byte("x"))
	require.NoError(t, err)
	require.Equal(t, evRead, r.next(t), "it must go on for what it watches")
	r.watch.close()
	<-p.done
	require.NoError(t, p.failure)
	require.ErrorIs(t, newRecorder(a).watch.open(p, a, r, evRead), errPollerEnded)
}

// The poller's queue is closed under it: it reports that to all handlers, and nothing hangs.
func TestFailedPollerTellsAllItWatches(t *testing.T) {
	var log testkit.Log
	SetLoggerOutput(&log)
	defer SetLoggerOutput(os.Stderr)
	p, err := newPoller(nil)
	require.NoError(t, err)
	a, b := socketPair(t)
	r := newRecorder(a)
	require.NoError(t, r.watch.open(p, a, r, evRead))
	_, err = unix.Write(b, []byte("x"))
	require.NoError(t, err)
	require.Equal(t, evRead, r.next(t))
	breakQueue(t, p)
	r.until(t, evDetached, evRead|evErr)
	<-p.done
	require.Error(t, p.failure)
	require.Contains(t, log.String(), "poller failed")
}

func TestWatchIsUsedOnce(t *testing.T) {
	p := freshPoller(t)
	a, _ := socketPair(t)
	r := newRecorder(a)
	r.watch.close()
	require.NoError(t, r.watch.open(p, a, r, evRead), "closed before it was opened: nothing to watch, no error")
	require.NoError(t, r.set(evWrite))
	require.Empty(t, r.events)
}

func TestPollerSetSpreadsAndResizes(t *testing.T) {
	var s pollerSet
	require.Error(t, s.resize(0))
	require.Error(t, s.setBalance(LoadBalance(7)))
	require.NoError(t, s.resize(3))
	require.Nil(t, s.current.Load(), "nothing starts before it is needed")
	counts := map[*poller]int{}
	for range 30 {
		p, err := s.pick()
		require.NoError(t, err)
		counts[p]++
	}
	require.Len(t, counts, 3)
	for _, n := range counts {
		require.Equal(t, 10, n, "round robin is even")
	}
	require.NoError(t, s.setBalance(Random))
	for range 200 {
		p, err := s.pick()
		require.NoError(t, err)
		delete(counts, p)
	}
	require.Empty(t, counts, "random reaches all")

	old := *s.current.Load()
	require.NoError(t, s.resize(1))
	for _, p := range old[1:] {
		<-p.done
	}
	require.Len(t, *s.current.Load(), 1)
	require.NoError(t, s.resize(2))
	for _, p := range *s.current.Load() {
		p.retire()
		<-p.done
	}
}
