//go:build (linux && !netconn) || darwin || dragonfly || freebsd || netbsd || openbsd

package netpoll

// This file holds the workers of a poller: goroutines that take turns at polling it. One of them leads: it looks for events
// and receives for them, no more at a time than it can serve in a moment. While it runs their handlers the leadership may
// be taken, and a worker that has finished with its own takes it and does the same. So under load all processors serve
// one queue, the kernel's, in its order, and nothing is handed from one goroutine to another. With little to do one worker
// does it all, and the others, its followers, sleep.
//
// What the handlers of a worker leave to be sent that worker sends itself, after they have run.

import (
	"runtime"
	"slices"
	"time"

	"github.com/cloudwego/netpoll/internal/alarm"
	"github.com/cloudwego/netpoll/internal/interleave/atomic"
	"github.com/cloudwego/netpoll/internal/interleave/clock"
	"github.com/cloudwego/netpoll/internal/interleave/sync"
	"github.com/cloudwego/netpoll/internal/metric"
)

const (
	// worthFollower is how much work a leader must have before it wakes a follower to poll meanwhile, and
	// worthFollowerFull the same where it has left events in the kernel.
	worthFollower     = 200 * time.Microsecond
	worthFollowerFull = 50 * time.Microsecond
	// maxSkipped is how many calls for a follower are left out at most after others came to nothing.
	maxSkipped = 63
	// followerRest is how long a follower sleeps before it ends.
	followerRest = time.Second
)

// worker is one of the goroutines that take turns. Which goroutine it is changes if a handler does not return.
type worker struct {
	p       *poller // constant
	handOff handOff
	started atomic.Int64 // when its tasks began to run, as clock.Now counts
	timer   batchTimer   // of these. Written by the goroutine of the worker before its offer, read by the one that takes it
	thread  workerThread
	counts  *metric.Counters // constant
	seen    uint64           // its handOff when the watchdog last looked; belongs to the watchdog
	sends   sendQueue

	// These belong to the goroutine of the worker.
	batch     batch
	io        ioBatch
	leads     bool
	comes     bool  // it has been called and has not tried to lead yet
	busySince int64 // when its first batch after parking or making way ended; 0 if there was none

	// Guarded by workers.mu.
	sleeper   sleeper
	idleSince int64
	called    bool // since it fell asleep
	ends      bool
}

func newWorker(p *poller) *worker {
	w := &worker{p: p, counts: p.counts.Shard(p.workers.made)}
	p.workers.made++
	w.io.init()
	w.io.counts = w.counts
	w.io.batch, w.batch.of = &w.batch, w
	return w
}

// sendAll makes each of list send.
func (w *worker) sendAll(list []sender) {
	if len(list) > 0 {
		w.startRound(0, list)
	}
}

// startRound sends what list has to send, and receives for or reports the n events of a look.
func (w *worker) startRound(n int, list []sender) {
	w.io.others = w.io.others[:0]
	w.finish(&round{ring: w.io.worth(n + len(list)), sends: list, events: n})
}

// workers are those of one poller.
type workers struct {
	list   atomic.Pointer[[]*worker] // all of them; replaced under mu
	leader atomic.Pointer[worker]    // the one that leads, or was the last to lead. Stored by that one
	awake  atomic.Int32              // how many do not sleep, or have been called
	procs  atomic.Int32              // how many goroutines Go runs at a time, as of the last look of the watchdog

	// mu guards the fields below.
	mu     sync.Mutex
	made   uint        // how many there have been
	idle   []*worker   // those that sleep; the last one fell asleep last
	coming bool        // one has been called and has not tried to lead yet
	ended  bool        // the poller has ended
	skip   int         // so many calls are to be left out
	missed int         // how many were, the last time
	timer  alarm.Alarm // ends those that sleep for long; nil until there was one
	timed  bool        // it is set

	newTimer func(ring func() (again time.Duration)) alarm.Alarm // constant
}

func (ws *workers) init(first *worker) {
	ws.newTimer = alarm.New
	ws.list.Store(&[]*worker{first})
	ws.leader.Store(first)
	ws.awake.Store(1)
	ws.countProcs()
}

// countProcs notes how many goroutines Go runs at a time. That may change while the program runs.
func (ws *workers) countProcs() { ws.procs.Store(int32(runtime.GOMAXPROCS(0))) }

// alone reports whether no other worker could run beside the caller.
func (p *poller) alone() bool { return p.mostWorkers() == 1 }

// mostWorkers is how many workers the poller may have: as many as can run at a time and, where there are several pollers,
// twice its share of the processors at most.
func (p *poller) mostWorkers() int {
	n := int(p.workers.procs.Load())
	if list := pollers.current.Load(); list != nil && len(*list) > 1 {
		n = min(n, max(2, (2*n+len(*list)-1)/len(*list)))
	}
	if p.maxWorkers > 0 {
		n = min(n, p.maxWorkers)
	}
	return n
}

// callFollower wakes a follower, or makes one, to poll while the caller runs n handlers, if that is worth it.
func (p *poller) callFollower(n int, full bool) {
	least := p.worthCall
	if full {
		least = p.worthFull
	}
	if p.alone() || p.inlinePolicy.work(n) <= least {
		return
	}
	ws := &p.workers
	ws.mu.Lock()
	defer ws.mu.Unlock()
	switch last := len(ws.idle) - 1; {
	case ws.coming || ws.ended:
	case ws.skip > 0:
		ws.skip--
	case int(ws.awake.Load()) >= p.mostWorkers(): // Go has been given fewer processors
	case last >= 0:
		w := ws.idle[last]
		ws.idle = slices.Delete(ws.idle, last, last+1)
		ws.coming = true
		ws.awake.Add(1)
		w.called = true
		w.sleeper.wake()
	case len(*ws.list.Load()) < p.mostWorkers():
		p.addWorker()
	}
}

// addWorker starts one more. The caller holds mu.
func (p *poller) addWorker() {
	ws, w := &p.workers, newWorker(p)
	list := append(slices.Clone(*ws.list.Load()), w)
	ws.list.Store(&list)
	ws.coming = true
	ws.awake.Add(1)
	w.comes = true
	sync.Go(func() { p.run(w) })
}

// follow waits until w leads. It returns false if w has ended instead.
func (p *poller) follow(w *worker) (leads bool) {
	for {
		leads = p.takeLead(w)
		if w.comes {
			w.comes = false
			p.workers.noteCall(leads)
		}
		if leads {
			return true
		}
		if !p.rest(w) {
			w.close()
			return false
		}
		w.comes = true
	}
}

// rest lets w sleep until it is called. It returns false if w is to end.
func (p *poller) rest(w *worker) (called bool) {
	w.sleeper.prepare()
	if !p.workers.fallAsleep(w) {
		return false
	}
	for {
		w.sleeper.sleep()
		if called, ends := p.workers.wokenUp(w); called || ends {
			return called
		}
	}
}

// fallAsleep notes that w is about to sleep. It returns false if w is to end instead.
func (ws *workers) fallAsleep(w *worker) bool {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	if ws.ended {
		return false
	}
	w.idleSince, w.called = clock.Now(), false
	ws.idle = append(ws.idle, w)
	ws.awake.Add(-1)
	ws.setTimer()
	return true
}

// wokenUp says why w does not sleep any more, if there is a reason.
func (ws *workers) wokenUp(w *worker) (called, ends bool) {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	return w.called, w.ends
}

// noteCall notes what came of a call. After one that came to nothing 1, 3, 7 … calls are left out.
func (ws *workers) noteCall(led bool) {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	ws.coming = false
	if led {
		ws.missed = 0
	} else {
		ws.missed = min(2*ws.missed+1, maxSkipped)
		ws.skip = ws.missed
	}
}

// takeLead makes w the leader if the leadership may be taken.
func (p *poller) takeLead(w *worker) bool {
	if !p.workers.leader.Load().handOff.takeLead() {
		return false
	}
	p.lead(w)
	return true
}

// lead notes that w leads.
func (p *poller) lead(w *worker) {
	w.leads = true
	p.leader = w
	p.workers.leader.Store(w)
}

// setTimer makes sure that the worker which is about to sleep does not sleep for ever. The caller holds mu.
func (ws *workers) setTimer() {
	if ws.timer == nil {
		ws.timer = ws.newTimer(ws.endResting)
	}
	if !ws.timed {
		ws.timed = true
		ws.timer.Set(followerRest)
	}
}

// endResting ends the followers that have slept for long, and says when to look again.
func (ws *workers) endResting() (again time.Duration) {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	before := clock.Now() - int64(followerRest)
	n := 0
	for n < len(ws.idle) && ws.idle[n].idleSince <= before {
		n++
	}
	ws.endFollowers(n)
	ws.timed = len(ws.idle) > 0
	if !ws.timed {
		return 0
	}
	return time.Duration(max(ws.idle[0].idleSince-before, int64(time.Millisecond)))
}

// endFollowers ends the first n of those that sleep. The caller holds mu.
func (ws *workers) endFollowers(n int) {
	if n == 0 {
		return
	}
	list := slices.Clone(*ws.list.Load())
	for _, w := range ws.idle[:n] {
		list = slices.DeleteFunc(list, func(other *worker) bool { return other == w })
		w.ends = true
		w.sleeper.wake()
	}
	ws.list.Store(&list)
	ws.idle = slices.Delete(ws.idle, 0, n)
}

// dismiss ends all workers but the caller, whose poller has ended: those that sleep at once, the others when their
// handlers are over. Tasks that wait behind a handler go to the runner, because no watchdog looks any more.
func (p *poller) dismiss() {
	ws := &p.workers
	ws.mu.Lock()
	ws.ended = true
	ws.endFollowers(len(ws.idle))
	timer := ws.timer
	ws.mu.Unlock()
	if timer != nil {
		timer.Close()
	}
	p.rescueAll(false)
}

// close frees what w has. Connections that it served last may still point to it.
func (w *worker) close() {
	w.io.close()
	w.io.recvs, w.io.sending, w.io.others = nil, nil, nil
	w.batch.ready = nil
	w.sends.forget()
	w.sleeper.close()
}
