//go:build (linux && !netconn) || darwin || dragonfly || freebsd || netbsd || openbsd

package netpoll

// This file decides which goroutine polls. The handlers of a batch run on the poll goroutine itself, one after the
// other, because handing a request to another goroutine costs more than most requests. A handler may block, though, and
// no goroutine would poll meanwhile. So while one runs, the leadership of its poller is free to take: by a watchdog,
// when the handlers of a batch take too long, or at once, when a handler waits for a connection. The goroutine that ran
// the handler then finds that it polls no more, and ends with its handler.
//
// Handlers that were found slow are not run like this again for a while: they go to the runner, as they always do when
// the user has set one.

import (
	"runtime"
	"time"

	"github.com/cloudwego/netpoll/internal/interleave/atomic"
	"github.com/cloudwego/netpoll/internal/interleave/clock"
	"github.com/cloudwego/netpoll/internal/interleave/sync"
	"github.com/cloudwego/netpoll/internal/wait"
)

const (
	// inlineBudget is how long the handlers of one batch may run on the poll goroutine; the others of the batch go to
	// the runner, where they can run at the same time. If the handlers are quick they may run for quickBudget, because
	// handing one on would cost about as much as running it.
	inlineBudget = 50 * time.Microsecond
	quickBudget  = 400 * time.Microsecond
	quickHandler = 10 * time.Microsecond
	// minPenalty and maxPenalty limit how long all handlers go to the runner after one was slow.
	minPenalty = 20 * time.Millisecond
	maxPenalty = time.Second
	// busyLimit is how long a poller that always finds something to do keeps a processor from other goroutines.
	busyLimit = 200 * time.Microsecond
)

// leadership is the right to poll: bit 0 says that it is free to take, bits 1–19 which task of the batch runs, and the
// rest counts, so that no goroutine can mistake one batch for another.
type leadership struct{ v atomic.Uint64 }

const (
	leaderFree  = 1
	leaderTask  = 1 << 1
	leaderCount = 1 << 20
)

// free lets the leadership be taken while the first task runs. The mark is for next and reclaim.
func (h *leadership) free() (mark uint64) {
	mark = h.v.Load() + leaderCount | leaderFree
	h.v.Store(mark)
	return mark
}

// next goes on to the next task, unless the leadership has been taken.
func (h *leadership) next(mark uint64) (next uint64, ok bool) {
	return mark + leaderTask, h.v.CompareAndSwap(mark, mark+leaderTask)
}

// reclaim ends what free began, unless the leadership has been taken.
func (h *leadership) reclaim(mark uint64) bool {
	return h.v.CompareAndSwap(mark, mark&^(leaderCount-1))
}

// take takes the leadership if it is free. The task with the index running stays with the former leader.
func (h *leadership) take() (running int, ok bool) {
	for v := h.v.Load(); v&leaderFree != 0; v = h.v.Load() {
		if h.v.CompareAndSwap(v, v&^(leaderCount-1)+leaderCount) {
			return int(v&(leaderCount-1)) / leaderTask, true
		}
	}
	return 0, false
}

// freeLeaderships counts the pollers whose leadership is free.
var freeLeaderships atomic.Int32

func init() { wait.BeforeBlock = beforeBlock }

// beforeBlock is called by a goroutine before it waits for a connection: it may be a poll goroutine that runs a handler.
// It cannot find out of which poller, so each free leadership is taken.
func beforeBlock() {
	if freeLeaderships.Load() == 0 {
		return
	}
	if list := pollers.current.Load(); list != nil {
		for _, p := range *list {
			p.handOff(false)
		}
	}
}

// inlinePolicy is the poller's memory of how long handlers take. It belongs to the leader.
type inlinePolicy struct {
	slowUntil int64         // handlers go to the runner until then, as clock.Now counts
	penalty   time.Duration // the last one
	score     int           // how often batches were slow of late
	busySince int64         // when the first batch after parking or yielding ended; 0 if there was none
	busyUntil int64         // when the last batch ended
}

const (
	slowScore   = 8  // what a slow batch adds; a quick one takes away 1
	slowEnough  = 32 // when handlers are taken for slow
	afterSlow   = 24 // where the score begins again
	calmPenalty = 8  // after so many penalties without another one the next is minPenalty again
)

// batchDone notes how a batch went. The quickest handlers are slow now and then on a machine that has other things to
// do; they are taken for slow if many batches are.
func (p *inlinePolicy) batchDone(at int64, slow bool) {
	if p.busySince == 0 {
		p.busySince = at
	}
	p.busyUntil = at
	if !slow {
		p.score = max(p.score-1, 0)
		return
	}
	if p.score += slowScore; p.score >= slowEnough {
		p.score = afterSlow
		p.slow(at)
	}
}

// slow sends all handlers to the runner for a while, which doubles if it happens again soon.
func (p *inlinePolicy) slow(at int64) {
	if at-p.slowUntil > calmPenalty*int64(p.penalty) {
		p.penalty = 0
	}
	p.penalty = min(max(minPenalty, 2*p.penalty), maxPenalty)
	p.slowUntil = at + int64(p.penalty)
}

// parks notes that the poll goroutine parks, so that others may have its processor.
func (p *inlinePolicy) parks() { p.busySince = 0 }

// yieldIfBusy lets other goroutines run if the poll goroutine has not parked for long. Where there are fewer processors
// than goroutines to run they would wait for the scheduler to notice, which takes 10 ms.
func (p *inlinePolicy) yieldIfBusy() {
	if p.busyUntil-p.busySince > int64(busyLimit) {
		p.busySince = 0
		runtime.Gosched()
	}
}

// allowed reports whether handlers may run on the poll goroutine.
func (p *inlinePolicy) allowed() bool { return p.slowUntil == 0 || clock.Now() > p.slowUntil }

// runReady runs the tasks of the batch and reports whether the caller still leads.
func (p *poller) runReady() bool {
	tasks := p.batch.ready
	if p.io.worth(len(tasks)) {
		p.sends.setOpen()
	}
	start := clock.Now()
	p.watchdog.started.Store(start)
	freeLeaderships.Add(1)
	mark, ok := p.leadership.free(), true
	p.watchdog.watch() // not before: it must find the leadership free
	end, done := start, 0
	for {
		tasks[done].runTask()
		done++
		last := end
		end = clock.Now()
		if done == len(tasks) || end-last > int64(inlineBudget) || budgetSpent(end-start, done) {
			break
		}
		if mark, ok = p.leadership.next(mark); !ok {
			return false
		}
	}
	if !p.leadership.reclaim(mark) {
		return false
	}
	freeLeaderships.Add(-1)
	p.inlinePolicy.batchDone(end, end-start > int64(inlineBudget)*int64(done))
	p.dispatchTasks(tasks[done:])
	clear(tasks)
	p.batch.ready = tasks[:0]
	return true
}

// budgetSpent reports whether the rest of a batch should go to the runner, after its first done handlers took so long.
func budgetSpent(took int64, done int) bool {
	return took > int64(quickBudget) || took > int64(inlineBudget) && took > int64(quickHandler)*int64(done)
}

func (p *poller) dispatchTasks(tasks []task) {
	for _, t := range tasks {
		t.dispatch()
	}
}

// handOff lets another goroutine poll if the leadership is free.
func (p *poller) handOff(slow bool) {
	running, ok := p.leadership.take()
	if !ok {
		return
	}
	freeLeaderships.Add(-1)
	sync.Go(func() {
		// The goroutine that had the leadership keeps this array, perhaps for long, and may be reading its own task
		// there.
		tasks := p.batch.ready
		p.batch.ready = nil
		if slow {
			p.inlinePolicy.slow(clock.Now())
		}
		p.dispatchTasks(tasks[running+1:])
		clear(tasks[:running])
		clear(tasks[running+1:])
		p.run()
	})
}
