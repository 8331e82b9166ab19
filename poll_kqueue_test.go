//go:build darwin || dragonfly || freebsd || netbsd || openbsd || (linux && kqsim)

package netpoll

// The kqueue selector from inside: moments that neither a kernel nor its model can be made to show, because they depend
// on the events of one batch.

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/cloudwego/netpoll/internal/kqueue"
	"github.com/cloudwego/netpoll/internal/metric"
	"github.com/cloudwego/netpoll/internal/testkit"
)

// handlerFunc is a pollHandler that watches nothing by itself.
type handlerFunc func(ev pollEvent)

func (f handlerFunc) onPoll(ev pollEvent, _ *batch) { f(ev) }

func (f handlerFunc) interest() pollEvent { return 0 }

// stillPoller is a poller without its goroutine: the test is the goroutine.
func stillPoller(t *testing.T) *poller {
	t.Helper()
	sel, err := newSelector()
	require.NoError(t, err)
	t.Cleanup(sel.close)
	return makePoller(sel, nil, new(metric.Set))
}

// readable is the event of a descriptor that has something to read.
func readable(t *testing.T, w *watch) (e kqueue.Change) {
	t.Helper()
	udata, err := packToken(w.token, false)
	require.NoError(t, err)
	return kqueue.Change{Ident: int(w.fd), Filter: kqueue.Read, Udata: udata}
}

// raise dispatches a batch of events as if the kernel had given it.
func raise(p *poller, events ...kqueue.Change) {
	for i, e := range events {
		p.sel.events[i].Set(e)
	}
	p.dispatch(p.leader, len(events))
}

// openWatch watches a new descriptor of p.
func openWatch(t *testing.T, p *poller, f handlerFunc) *watch {
	t.Helper()
	fd, _ := socketPair(t)
	w := new(watch)
	require.NoError(t, w.open(p, fd, f, evRead|evHup))
	t.Cleanup(w.close)
	return w
}

// An event of a descriptor that was closed before the batch was fetched, whose slot another descriptor has now.
func TestStaleEventReachesNobodyThoughItsSlotIsUsedAgain(t *testing.T) {
	p := stillPoller(t)
	old := openWatch(t, p, func(pollEvent) { t.Error("the closed watch was told") })
	stale := readable(t, old)
	old.close()
	told := 0
	next := openWatch(t, p, func(pollEvent) { told++ })
	require.Equal(t, uint32(stale.Udata>>1)&0xff, uint32(readable(t, next).Udata>>1)&0xff,
		"the slot must be used again for this test to mean anything")
	raise(p, stale)
	require.Zero(t, told, "an event for the slot's former owner")
	raise(p, readable(t, next))
	require.Equal(t, 1, told)
}

// The first event's handler closes the second descriptor and opens a third. That must not have the slot which the
// second event, fetched before, still names: with few bits for the generation, that would be all that stands between
// them.
func TestSlotFreedInABatchIsNotUsedUntilItsEnd(t *testing.T) {
	p := stillPoller(t)
	var second, third *watch
	first := openWatch(t, p, func(pollEvent) {
		second.close()
		third = openWatch(t, p, func(pollEvent) { t.Error("told of a stranger's event") })
	})
	second = openWatch(t, p, func(pollEvent) { t.Error("told after it was closed") })
	stale := readable(t, second)
	raise(p, readable(t, first), stale)
	require.NotEqual(t, uint32(second.token), uint32(third.token), "the slot was used again within the batch")
}

// retire comes after the leader has looked whether the poller shall end, and before it takes the wake-up from the
// queue: both are in one batch.
func TestWakeUpInTheMiddleOfABatchIsNotLost(t *testing.T) {
	for _, kind := range []string{"as it is", "pipe"} {
		t.Run(kind, func(t *testing.T) {
			p := stillPoller(t)
			if kind == "pipe" {
				usePipe(t, p.sel)
			}
			a, b := socketPair(t)
			var w watch
			h := handlerFunc(func(pollEvent) {
				var buf [1]byte
				_, _ = unix.Read(a, buf[:])
				w.close()
				p.retire()
			})
			require.NoError(t, w.open(p, a, h, evRead))
			_, err := unix.Write(b, []byte("x"))
			require.NoError(t, err)
			p.sel.interrupt() // so that a wake-up is taken in the same batch
			go p.run(p.leader)
			testkit.Receive(t, p.done, "the poller's end")
			require.NoError(t, p.failure)
		})
	}
}

// usePipe gives a selector, at which no goroutine waits, the wake-up of systems without a user filter.
func usePipe(t *testing.T, s *selector) {
	t.Helper()
	r, w, err := wakePipe()
	require.NoError(t, err)
	require.NoError(t, s.change(kqueue.Change{Ident: r, Filter: kqueue.Read, Flags: kqueue.Add}))
	t.Cleanup(wakeup{pipe: true, r: r, w: w}.close)
	old := s.wake
	t.Cleanup(old.close)
	s.wake = wakeup{pipe: true, r: r, w: w}
	s.release.Stop()
}

// Many wake-ups are one, and are all taken at once: bytes left in the pipe would be reported for ever.
func TestWakeUpsThatNobodyTookBecomeOne(t *testing.T) {
	for _, kind := range []string{"as it is", "pipe"} {
		t.Run(kind, func(t *testing.T) {
			s := stillPoller(t).sel
			if kind == "pipe" {
				usePipe(t, s)
			}
			for range 100_000 { // more than a pipe holds
				s.interrupt()
			}
			fetch(t, s, 1)
			token, ev := s.event(0)
			require.Zero(t, token)
			require.Zero(t, ev)
			fetch(t, s, 0)
		})
	}
}

// fetch looks at the queue without waiting, until it has seen n events or nothing is there.
func fetch(t *testing.T, s *selector, n int) {
	t.Helper()
	for range 8 { // a model in chaos gives errors and events for nothing
		got, err := kqueue.Wait(s.kq, s.events, new(time.Duration))
		if err == nil && got == n {
			return
		}
	}
	t.Fatalf("never saw %d events", n)
}

// The number of a closed queue may belong to another file by now.
func TestInterruptAfterCloseTouchesNothing(t *testing.T) {
	s := stillPoller(t).sel
	usePipe(t, s)
	wake := s.wake
	s.close()
	r, w, err := wakePipe()
	require.NoError(t, err)
	defer wakeup{pipe: true, r: r, w: w}.close()
	require.NoError(t, unix.Dup2(w, wake.w), "somebody else has the number now")
	defer unix.Close(wake.w)
	s.interrupt()
	s.close()
	var buf [1]byte
	_, err = unix.Read(r, buf[:])
	require.ErrorIs(t, err, unix.EAGAIN, "written to a stranger's pipe")
}

// asker watches for the events in wants, and passes on new ones.
type asker struct {
	watch  watch
	wants  atomic.Uint32
	events chan pollEvent
}

func (a *asker) interest() pollEvent { return pollEvent(a.wants.Load()) }

func (a *asker) onPoll(ev pollEvent, _ *batch) {
	select {
	case a.events <- ev:
	default: // the end is reported for ever
	}
}

// The poller reports only the end for a connection that does not read; for one that reads again, data and the end.
func TestWatchForTheEndAloneDropsWhatIsReported(t *testing.T) {
	p := freshPoller(t)
	a, b := socketPair(t)
	w := &asker{events: make(chan pollEvent, 1)}
	require.NoError(t, w.watch.open(p, a, w, evHup))
	defer w.watch.close()
	_, err := unix.Write(b, []byte("x"))
	require.NoError(t, err)
	other := newRecorder(-1) // its event says that the one for the data has been fetched too
	c, d := socketPair(t)
	require.NoError(t, other.watch.open(p, c, other, evHup))
	defer other.watch.close()
	require.NoError(t, unix.Shutdown(d, unix.SHUT_WR))
	other.until(t, evHup, evRead)
	require.Empty(t, w.events, "data nobody asked for")

	require.NoError(t, unix.Shutdown(b, unix.SHUT_WR))
	require.NotZero(t, testkit.Receive(t, w.events, "the end")&evHup)
	w.wants.Store(uint32(evRead | evHup))
	require.NoError(t, w.watch.updateInterest())
	require.NotZero(t, testkit.Receive(t, w.events, "data and the end")&evRead)
	w.wants.Store(0)
	require.NoError(t, w.watch.updateInterest())
}

// What is watched after a failed change is not known. The next change starts from nothing.
func TestChangeAfterAFailedOneAsksForEverythingAnew(t *testing.T) {
	p := freshPoller(t)
	a, b := socketPair(t)
	r := newRecorder(a)
	require.NoError(t, r.watch.open(p, a, r, evHup))
	defer r.watch.close()

	r.watch.fd = -1 // stands for any reason that a change may fail for
	require.Error(t, r.set(evRead|evHup))
	r.until(t, evDetached, evErr) // a connection would end for this
	r.watch.fd = int32(a)
	require.NoError(t, r.set(evRead|evHup))
	_, err := unix.Write(b, []byte("x"))
	require.NoError(t, err)
	r.until(t, evRead, 0)
}

func TestDescriptorThatCannotBeWatchedIsAnError(t *testing.T) {
	p := freshPoller(t)
	r := newRecorder(-1)
	require.ErrorIs(t, r.watch.open(p, 1<<20, r, evRead|evWrite), unix.EBADF)
	r.watch.close()
}

func TestTokenFitsBesideTheMark(t *testing.T) {
	for _, index := range []uint32{0, 1, 255, 1<<indexBits - 1} {
		for _, gen := range []uint32{1, 2, maxGen} {
			for _, endOnly := range []bool{false, true} {
				udata, err := packToken(makeToken(index, gen), endOnly)
				require.NoError(t, err)
				token, mark := unpackToken(udata)
				require.Equal(t, makeToken(index, gen), token)
				require.Equal(t, endOnly, mark)
			}
		}
	}
	_, err := packToken(makeToken(1<<indexBits, 1), false)
	require.ErrorIs(t, err, errTooMany)
}

// Generations come round, but never to 0, and a slot's token is never that of the use before.
func TestGenerationsComeRound(t *testing.T) {
	var table slotTable
	w := new(watch)
	require.True(t, table.put(w))
	table.drop(w.token)
	table.at(0).gen = maxGen - 1
	for _, want := range []uint32{maxGen, 1, 2} {
		require.True(t, table.put(w))
		require.Equal(t, makeToken(0, want), w.token)
		table.drop(w.token)
	}
}
