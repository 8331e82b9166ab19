//go:build interleave && linux && !netconn

package netpoll

// The poller under every schedule: slots against stale events, the leadership against those that want it, and the
// watchdog against batches that begin and end beside its look.

import (
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cloudwego/netpoll/internal/alarm"
	"github.com/cloudwego/netpoll/internal/interleave"
	"github.com/cloudwego/netpoll/internal/interleave/clock"
	"github.com/cloudwego/netpoll/internal/interleave/explored"
	"github.com/cloudwego/netpoll/internal/metric"
)

func TestScheduleStaleEventFindsNobody(t *testing.T) {
	explored.Explore(t, 2, func(r *interleave.Run) {
		var slots slotTable
		old, strangers := new(watch), [2]watch{}
		slots.put(old)
		token := old.token
		dropped := false
		r.Go("poller", func() {
			for range 2 {
				slots.beginBatch()
				for range 2 {
					gone := dropped
					if w := slots.lookup(token); w != nil && (w != old || gone) {
						r.Failf("a stale event has found somebody")
					}
				}
				slots.endBatch()
			}
		})
		r.Go("close", func() {
			slots.drop(token)
			dropped = true
		})
		for i := range strangers {
			r.Go("open", func() {
				slots.put(&strangers[i])
				if w := slots.lookup(strangers[i].token); w != &strangers[i] {
					r.Failf("an event does not find its watch")
				}
			})
		}
		r.Check(func() {
			if slots.used != 2 || len(slots.free)+len(slots.retired)+slots.used != slotsPerChunk {
				r.Failf("used %d, free %d, retired %d", slots.used, len(slots.free), len(slots.retired))
			}
			if uint32(strangers[0].token) == uint32(strangers[1].token) {
				r.Failf("two in one slot")
			}
		})
	})
}

// The slot of a watch that is closed in a batch goes to no other watch before the batch ends.
func TestScheduleSlotIsNotReusedInItsBatch(t *testing.T) {
	explored.Explore(t, 3, func(r *interleave.Run) {
		var slots slotTable
		old, next := new(watch), new(watch)
		slots.put(old)
		batch := 0 // odd while one runs
		droppedIn := -1
		r.Go("poller", func() {
			for range 2 {
				slots.beginBatch()
				batch++
				slots.lookup(old.token)
				batch++
				slots.endBatch()
			}
		})
		r.Go("open", func() {
			slots.drop(old.token)
			droppedIn = batch
			slots.put(next)
			if batch == droppedIn && batch%2 == 1 && uint32(next.token) == uint32(old.token) {
				r.Failf("reused in the same batch")
			}
		})
	})
}

// A poller that is retired ends when nothing is watched, and takes nothing afterwards.
func TestScheduleRetiredTableIsEmptyAndShut(t *testing.T) {
	explored.Explore(t, -1, func(r *interleave.Run) {
		var slots slotTable
		old, next := new(watch), new(watch)
		slots.put(old)
		last, shut, put := false, false, false
		r.Go("poller", func() { shut = slots.shutIfEmpty() })
		r.Go("close", func() { last = slots.drop(old.token) })
		r.Go("open", func() { put = slots.put(next) })
		r.Check(func() {
			if shut && put || !put && !shut || shut && !last {
				r.Failf("shut %v, put %v, last %v", shut, put, last)
			}
		})
	})
}

// madeUpPoller is a poller whose batches are made up. It counts who leads.
type madeUpPoller struct {
	r       *interleave.Run
	p       *poller
	batches [][]task      // to come
	polling int           // goroutines that poll at the moment
	done    bool          // all batches came, and somebody polls
	workers []*worker     // that have led
	senders []*fakeSender // that were left to a worker
}

// followers lets the poller call a follower for each batch.
func (c *madeUpPoller) followers() { c.p.maxWorkers, c.p.worthCall, c.p.worthFull = 2, -1, -1 }

// send leaves something to be sent to the worker that runs the batch of h, as a handler does, or sends it itself.
func (h *hand) send() {
	s := new(fakeSender)
	h.madeUpPoller.senders = append(h.madeUpPoller.senders, s)
	if !h.worker.sends.add(s) {
		s.sendPending()
	}
}

// hand is a task of a batch.
type hand struct {
	madeUpPoller *madeUpPoller
	worker       *worker // that has got it
	work         func()
	ran, given   int
}

func (h *hand) runTask() {
	h.ran++
	interleave.Step("work", h)
	if h.work != nil {
		h.work()
	}
}

func (h *hand) dispatch() {
	h.given++
	h.madeUpPoller.r.Go("runner", func() {
		if h.work != nil {
			h.work()
		}
	})
}

// bell is the alarm of a watchdog: it rings a period after it was set, and time goes on when it rings.
type bell struct {
	r   *interleave.Run
	p   *poller
	due bool
}

func (b *bell) Set(time.Duration) {
	interleave.Step("set alarm", b)
	b.due = true
}

func (b *bell) Close() { b.due = false }

func (b *bell) serve() {
	due := func() bool { return b.due }
	b.r.Daemon("alarm", due, func() {
		for {
			interleave.Await("ring", b, due)
			b.due = false
			b.r.Advance(watchdogPeriod)
			if again := b.p.checkWorkers(); again > 0 {
				b.Set(again)
			}
		}
	})
}

// newMadeUpPoller makes a poller that goes through batches, and ends.
func newMadeUpPoller(t *testing.T, r *interleave.Run, batches ...[]*hand) *madeUpPoller {
	sel, err := newSelector()
	require.NoError(t, err)
	p := &poller{sel: sel, done: make(chan struct{}), counts: new(metric.Set), maxWorkers: 1}
	first := newWorker(p)
	first.io.policy = plainCalls()
	p.workers.init(first)
	p.workers.newTimer = func(func() time.Duration) alarm.Alarm { return noAlarm{} }
	p.workers.procs.Store(2)
	p.lead(first)
	policy := &p.inlinePolicy
	r.Quiet(&p.workers.procs, &policy.each, &policy.suspected, &policy.slowUntil, &policy.mu)
	c := &madeUpPoller{r: r, p: p}
	for _, hands := range batches {
		var tasks []task
		for _, h := range hands {
			h.madeUpPoller = c
			tasks = append(tasks, h)
		}
		c.batches = append(c.batches, tasks)
	}
	b := &bell{r: r, p: p}
	p.watchdog.alarm = b
	p.turnFunc = c.turn
	pollers.current.Store(&[]*poller{p})
	offers.Store(0)
	b.serve()
	r.Go("poll", func() { p.run(p.leader) })
	r.Check(func() {
		for _, hands := range batches {
			for i, h := range hands {
				if h.ran+h.given != 1 {
					r.Failf("task %d ran %d times and was dispatched %d times", i, h.ran, h.given)
				}
			}
		}
		if n := offers.Load(); n != 0 || !c.done || p.leader.handOff.v.Load()&(offersTasks|offersLead) != 0 {
			r.Failf("workers that offer tasks: %d, ended: %v", n, c.done)
		}
		if ws := &p.workers; len(ws.idle) > 0 || int(ws.awake.Load()) != len(*ws.list.Load()) {
			r.Failf("%d workers sleep, %d of %d are awake", len(ws.idle), ws.awake.Load(), len(*ws.list.Load()))
		}
		for _, w := range c.workers {
			if w.sends.open || len(w.sends.list) > 0 {
				r.Failf("a worker has ended with %d left to send, open: %v", len(w.sends.list), w.sends.open)
			}
		}
		for i, s := range c.senders {
			if s.sent != 1 {
				r.Failf("sender %d was asked to send %d times", i, s.sent)
			}
		}
	})
	return c
}

func (c *madeUpPoller) turn() (stop bool) {
	if c.polling++; c.polling > 1 {
		c.r.Failf("two poll at a time")
	}
	interleave.Step("poll", c)
	c.polling--
	if w := c.p.leader; len(c.batches) == 0 {
		w.sendAll(w.sends.shut())
		c.p.empty, c.done = true, true
		return true
	}
	w := c.p.leader
	c.workers = append(c.workers, w)
	for _, t := range c.batches[0] {
		t.(*hand).worker = w
	}
	w.sends.setOpen()
	w.batch.ready = append(w.batch.ready, c.batches[0]...)
	c.batches = c.batches[1:]
	return true
}

// keepPollers restores what these scenarios change.
func keepPollers(t *testing.T) {
	list := pollers.current.Load()
	t.Cleanup(func() { pollers.current.Store(list) })
}

// Each task is run or handed on, once, and one goroutine polls at a time, while others want the leadership.
func TestScheduleLeadershipHasOneHolder(t *testing.T) {
	keepPollers(t)
	explored.Explore(t, 2, func(r *interleave.Run) {
		newMadeUpPoller(t, r, []*hand{{}, {}}, []*hand{{}})
		r.Go("wants", beforeBlock)
	})
}

// A handler that waits for its own poller, which it says, is not alone.
func TestScheduleHandlerThatWaitsLetsAnotherPoll(t *testing.T) {
	keepPollers(t)
	explored.Explore(t, 1, func(r *interleave.Run) {
		came := false
		waits := &hand{work: func() {
			beforeBlock()
			interleave.Await("wait", &came, func() bool { return came })
		}}
		newMadeUpPoller(t, r, []*hand{{}, waits, {}}, []*hand{{work: func() { came = true }}})
		r.Go("wants", beforeBlock)
	})
}

// A handler that blocks and does not say so is found by the watchdog, in whatever state that is.
func TestScheduleNoBatchIsLeftUnwatched(t *testing.T) {
	keepPollers(t)
	for _, tc := range []struct {
		name   string
		before int // quick batches that come first
		bound  int
	}{{"first", 0, 3}, {"second", 1, 3}, {"third", 2, 2}} {
		t.Run(tc.name, func(t *testing.T) {
			explored.Explore(t, tc.bound, func(r *interleave.Run) {
				came := false
				blocks := &hand{work: func() { interleave.Await("block", &came, func() bool { return came }) }}
				batches := make([][]*hand, tc.before, tc.before+2)
				for i := range batches {
					batches[i] = []*hand{{}}
				}
				batches = append(batches, []*hand{blocks}, []*hand{{work: func() { came = true }}})
				newMadeUpPoller(t, r, batches...)
			})
		})
	}
}

// While one worker runs handlers a follower polls; each task runs once, and all that handlers leave is sent once.
func TestScheduleFollowersTakeTurns(t *testing.T) {
	keepPollers(t)
	explored.Explore(t, 2, func(r *interleave.Run) {
		sends := func() *hand {
			h := new(hand)
			h.work = h.send
			return h
		}
		newMadeUpPoller(t, r, []*hand{sends()}, []*hand{sends(), {}}, []*hand{{}}).followers()
	})
}

// The same while somebody waits for a connection, and all that may be taken is.
func TestScheduleWorkersLoseTheirTasksAndGoOn(t *testing.T) {
	keepPollers(t)
	explored.Explore(t, 1, func(r *interleave.Run) {
		last := new(hand)
		last.work = last.send
		newMadeUpPoller(t, r, []*hand{{}, last}, []*hand{{}, {}}, []*hand{{}}).followers()
		r.Go("wants", beforeBlock)
	})
}

// A handler that blocks, on the first worker or on its follower, keeps neither the tasks behind it nor the poller, and
// what the worker has left to send is sent.
func TestScheduleStuckWorkerIsReplaced(t *testing.T) {
	keepPollers(t)
	for name, batches := range map[string]func(blocks, sends, goOn *hand) [][]*hand{
		"leader":   func(blocks, sends, goOn *hand) [][]*hand { return [][]*hand{{sends, blocks, {}}, {goOn}} },
		"follower": func(blocks, sends, goOn *hand) [][]*hand { return [][]*hand{{{}}, {sends, blocks}, {goOn}} },
	} {
		t.Run(name, func(t *testing.T) {
			explored.Explore(t, 1, func(r *interleave.Run) {
				came := false
				blocks := &hand{work: func() { interleave.Await("block", &came, func() bool { return came }) }}
				sends := new(hand)
				sends.work = sends.send
				goOn := &hand{work: func() { came = true }}
				newMadeUpPoller(t, r, batches(blocks, sends, goOn)...).followers()
			})
		})
	}
}

// A follower that has slept for long ends, also where it is called at that moment.
func TestScheduleFollowerEndsOrComes(t *testing.T) {
	keepPollers(t)
	explored.Explore(t, 1, func(r *interleave.Run) {
		c := newMadeUpPoller(t, r, []*hand{{}}, []*hand{{}}, []*hand{{}})
		c.followers()
		r.Go("timer", func() {
			r.Advance(followerRest)
			c.p.workers.endResting()
		})
	})
}

// settings counts how often an alarm is set.
type settings struct{ n int }

func (s *settings) Set(time.Duration) { s.n++ }
func (s *settings) Close()            {}

// The batch of a worker that is added while the watchdog looks for the last time is watched.
func TestScheduleWorkerThatIsAddedIsWatched(t *testing.T) {
	explored.Explore(t, -1, func(r *interleave.Run) {
		alarm := new(settings)
		p := &poller{counts: new(metric.Set), maxWorkers: 2}
		p.workers.init(newWorker(p))
		p.watchdog.alarm = alarm
		p.watchdog.set.Store(true) // for batches that are over
		again := time.Duration(0)
		r.Go("alarm", func() { again = p.checkWorkers() })
		r.Go("follower", func() {
			w := newWorker(p)
			list := append(slices.Clone(*p.workers.list.Load()), w)
			p.workers.list.Store(&list)
			w.started.Store(clock.Now())
			w.handOff.offer()
			p.watchdog.watch()
		})
		r.Check(func() {
			if again == 0 && alarm.n == 0 {
				r.Failf("nobody watches the batch")
			}
		})
	})
}

// A follower that is woken without a reason sleeps on: it neither ends nor takes a call that was not for it.
func TestScheduleFollowerWokenForNothingSleepsOn(t *testing.T) {
	keepPollers(t)
	explored.Explore(t, 1, func(r *interleave.Run) {
		c := newMadeUpPoller(t, r, []*hand{{}}, []*hand{{}})
		c.followers()
		r.Go("stray", func() {
			ws := &c.p.workers
			ws.mu.Lock()
			defer ws.mu.Unlock()
			for _, w := range ws.idle {
				w.sleeper.wake()
			}
		})
	})
}

// A poller that ends while a handler is stuck leaves no task behind it, though no watchdog looks any more.
func TestScheduleEndedPollerLeavesNoTaskBehindAHandler(t *testing.T) {
	keepPollers(t)
	explored.Explore(t, 1, func(r *interleave.Run) {
		var p *poller
		ended := func() bool { return p.workers.ended }
		blocks := &hand{work: func() { interleave.Await("block", p, ended) }}
		behind := new(hand)
		goesOn := func() bool { return behind.ran+behind.given > 0 }
		waits := &hand{work: func() { interleave.Await("block", behind, goesOn) }}
		c := newMadeUpPoller(t, r, []*hand{blocks, waits, behind})
		c.followers()
		p = c.p
		p.watchdog.alarm = noAlarm{} // it is too late for it
	})
}
