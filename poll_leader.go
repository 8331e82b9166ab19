//go:build (linux && !netconn) || darwin || dragonfly || freebsd || netbsd || openbsd

package netpoll

// This file holds how a worker runs handlers. It runs those of its batch itself, one after the other, because handing a
// request to another goroutine costs more than most requests. Meanwhile a follower may take the leadership. And a handler
// may block: then the tasks behind it are taken, and the leadership if the worker still has it, by a watchdog when the
// handlers of a batch take too long, or at once when a handler waits for a connection. The goroutine that ran the
// handler then finds that it is no worker any more, and ends with its handler.
//
// Handlers that were found slow are not run like this again for a while: they go to the runner, as they always do when
// the user has set one.

import (
	"runtime"
	"slices"
	"time"

	"github.com/cloudwego/netpoll/internal/interleave/atomic"
	"github.com/cloudwego/netpoll/internal/interleave/clock"
	"github.com/cloudwego/netpoll/internal/interleave/sync"
)

// busyLimit is how long a worker that always finds something to do keeps a processor from other goroutines.
const busyLimit = 200 * time.Microsecond

// offers counts the workers whose tasks may be taken.
var offers atomic.Int32

// turn is what a goroutine remembers of the batch that it runs, while w may become another's.
type turn struct {
	offered bool // the tasks may be taken, or have been
	timer   batchTimer
}

// runReady runs the tasks of w's batch, and reports whether the caller still is w. w.leads says whether it still leads.
func (p *poller) runReady(w *worker, t *turn) (stays bool) {
	tasks := w.batch.ready
	if len(tasks) >= leastBatch || w.io.worth(len(tasks)) {
		w.sends.setOpen()
	}
	t.timer = p.inlinePolicy.begin()
	w.timer = t.timer
	full := p.full
	start := clock.Now()
	w.started.Store(start)
	w.thread.note()
	offers.Add(1)
	t.offered = true
	mark, ok := w.handOff.offer(), true
	p.watchdog.watch() // not before: it must find the offer
	p.callFollower(len(tasks), full)
	end, done := start, 0
	times := handlerTimes{to: w.counts}
	for {
		tasks[done].runTask()
		done++
		last := end
		end = clock.Now()
		times.add(end - last)
		if done == len(tasks) || !p.alone() && p.inlinePolicy.overrun(end-start, end-last) {
			break
		}
		if mark, ok = w.handOff.next(mark); !ok {
			times.lost(end - start)
			t.timer.stop()
			return false
		}
	}
	others := p.workers.awake.Load() > 1
	if !w.withdraw(mark, others) {
		times.lost(end - start)
		t.timer.stop()
		return false
	}
	times.over(end - start)
	offers.Add(-1)
	t.offered = false
	p.inlinePolicy.done(&t.timer, end, end-start, done)
	clear(tasks[:done])
	w.batch.ready = tasks[done:]
	w.dispatchTasks()
	w.batch.ready = tasks[:0]
	p.endTurn(w, end, others)
	return true
}

// withdraw ends the offer of w's tasks, unless they have been taken. With others the leadership may still be taken.
func (w *worker) withdraw(mark uint64, others bool) (ok bool) {
	leads := false
	if others {
		ok = w.handOff.withdrawTasks(mark)
	} else {
		leads, ok = w.handOff.withdraw(mark)
	}
	if ok { // or else w is another goroutine's
		w.leads = leads
	}
	return ok
}

// endTurn is what w does when its tasks are over, at the time end: it sends what they have left, where another worker may
// poll meanwhile, and lets other goroutines run.
func (p *poller) endTurn(w *worker, end int64, others bool) {
	if others {
		w.sendAll(w.sends.shut())
		w.yieldIfBusy(end)
		p.takeLead(w)
	} else if w.leads {
		w.yieldIfBusy(end)
	}
}

// yieldIfBusy lets other goroutines run if the worker has not parked for long. Where there are fewer processors than
// goroutines to run they would wait for the scheduler to notice, which takes 10 ms.
func (w *worker) yieldIfBusy(at int64) {
	if w.busySince == 0 {
		w.busySince = at
	} else if at-w.busySince > int64(busyLimit) {
		w.busySince = 0
		runtime.Gosched()
	}
}

// dispatchTasks gives the tasks of w's batch to the runner, which may run them in place.
func (w *worker) dispatchTasks() {
	for len(w.batch.ready) > 0 {
		next := w.batch.ready[0]
		w.batch.ready[0] = nil
		w.batch.ready = w.batch.ready[1:]
		next.dispatch()
	}
}

// rescueAll is rescue for each worker.
func (p *poller) rescueAll(late bool) {
	for _, w := range *p.workers.list.Load() {
		p.rescue(w, late)
	}
}

// rescue lets another goroutine go on as w, if w runs a task: with the tasks behind it and, if w may lose it, with the
// leadership. late says that the task has run for long.
func (p *poller) rescue(w *worker, late bool) {
	running, leads, ok := w.handOff.takeAll()
	if !ok {
		return
	}
	w.counts.HandedOver.Add(1)
	offers.Add(-1)
	sync.Go(func() {
		// The goroutine that was w keeps this array, perhaps for long, and may be reading its own task there.
		tasks := w.batch.ready
		w.batch.ready = slices.Clone(tasks[running+1:])
		clear(tasks[:running])
		clear(tasks[running+1:])
		w.leads = leads
		if late {
			p.inlinePolicy.late(&w.timer, clock.Now())
		}
		p.run(w)
	})
}
