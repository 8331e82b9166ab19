//go:build (linux && !netconn) || darwin || dragonfly || freebsd || netbsd || openbsd

package netpoll

// This file holds the portable half of a poller: how its leader, one goroutine at a time, looks for ready descriptors and
// calls the handler of each, and the watch that ties a descriptor to it. What a descriptor is (connection, listener) is not
// known here.
//
// A platform file (poll_linux.go, poll_bsd.go, …) must define:
//
//	const maxGen uint32
//		The highest generation of a slot that fits into a token.
//
//	type selector
//		The system's readiness queue. All methods but look and park may be called from any goroutine.
//	func newSelector() (*selector, error)
//	func (s *selector) add(fd int, token uint64, interest pollEvent) error
//	func (s *selector) modify(fd int, token uint64, was, interest pollEvent) error
//	func (s *selector) remove(fd int, was pollEvent)
//		Register, change and forget a descriptor. The kernel keeps the token, never a pointer. was is the interest of
//		the last change, with evDetached in it if that failed.
//	func (s *selector) look(most int) (n int, err error)
//		Without blocking, fetch the events that are there, at most most. What it leaves the next look fetches first.
//	func (s *selector) kept() bool
//		Whether the selector, not the kernel, has events that look has left.
//	func (s *selector) event(i int) (token uint64, ev pollEvent)
//		The i-th event of the last look.
//	func (s *selector) park(turn func() (stop bool)) error
//		Call turn, wait until there may be events again, call turn again, and so on until it returns true. While it
//		waits it occupies no thread, where the system allows that. An event that arrives while turn runs is not lost:
//		turn is called once more.
//	func (s *selector) interrupt()
//		Make a waiting park return.
//	func (s *selector) close()

import (
	"errors"

	"github.com/cloudwego/netpoll/internal/alarm"
	"github.com/cloudwego/netpoll/internal/fault"
	"github.com/cloudwego/netpoll/internal/interleave/atomic"
	"github.com/cloudwego/netpoll/internal/interleave/sync"
	"github.com/cloudwego/netpoll/internal/metric"
	"github.com/cloudwego/netpoll/internal/runner"
)

// pollHandler handles the events of a watched descriptor.
type pollHandler interface {
	// The leader calls onPoll, which must neither block nor run the user's code; b takes tasks to run after the
	// batch, and is nil if there is no batch. The next batch reports again what onPoll leaves undone, as long as the
	// descriptor is watched for it.
	onPoll(ev pollEvent, b *batch)
	// interest returns the events that the descriptor has to be watched for now. Any goroutine may call it.
	interest() pollEvent
}

// poller is a selector with the descriptors that it watches, and the workers that take turns at polling it.
type poller struct {
	sel     *selector
	slots   slotTable
	closing atomic.Bool   // set once by retire; read by the leader
	dead    atomic.Bool   // set when the queue has failed; read by watches, which then leave it alone
	done    chan struct{} // closed when the poller has ended
	failure error         // why it ended early; written before done is closed
	failed  func(*poller) // called after a failure, before it takes no more descriptors; may be nil

	workers      workers
	maxWorkers   int   // a limit beside the number of processors; 0 if there is none. Constant
	worthCall    int64 // how much work, in nanoseconds, makes it worth it to call a follower. Constant
	worthFull    int64 // the same where there is more in the kernel. Constant
	watchdog     watchdog
	broken       failedWatches
	inlinePolicy inlinePolicy
	counts       *metric.Set // constant
	gauges       pollGauges

	// These belong to the leader.
	leader   *worker            // itself
	seen     fault.Events       // the events of a look, as tests have changed them
	turnFunc func() (stop bool) // turn, made once
	empty    bool               // nothing is watched any more, and nothing will be
	full     bool               // the last look found as much as it was to fetch
	polls    uint64             // looks that have not been added to the figures
}

func newPoller(failed func(*poller)) (*poller, error) {
	sel, err := newSelector()
	if err != nil {
		return nil, err
	}
	p := makePoller(sel, failed, pollerCounts.take())
	pollerCounts.use(p)
	go p.run(p.leader)
	return p, nil
}

// makePoller makes a poller without its goroutine, which is to run its leader. counts are its own.
func makePoller(sel *selector, failed func(*poller), counts *metric.Set) *poller {
	p := &poller{sel: sel, done: make(chan struct{}), failed: failed, counts: counts}
	p.worthCall, p.worthFull = int64(worthFollower), int64(worthFollowerFull)
	p.turnFunc = p.turn
	first := newWorker(p)
	p.workers.init(first)
	p.lead(first)
	p.watchdog.alarm = alarm.New(p.checkWorkers)
	return p
}

// run is the goroutine of w. It ends when the poller has ended, when w has slept for long, and when another goroutine goes
// on as w.
func (p *poller) run(w *worker) {
	var t turn
	runner.Protect(func() { p.serve(w, &t) }, func() {
		t.timer.stop()
		if t.offered {
			p.rescue(w, false)
			w.counts.Returned.Add(1)
		} else {
			sync.Go(func() { p.run(w) })
		}
	})
}

// serve leads, runs handlers, and leads again, or waits until it may. It begins with what an earlier goroutine of w has
// left.
func (p *poller) serve(w *worker, t *turn) {
	w.dispatchTasks()
	for {
		if !w.leads {
			w.sendAll(w.sends.shut())
			w.busySince = 0
			if !p.follow(w) {
				return
			}
		}
		if err := p.sel.park(p.turnFunc); err != nil {
			p.failure = err
		}
		if p.failure != nil || p.empty {
			p.end(w)
			return
		}
		if !p.runReady(w, t) {
			return
		}
	}
}

// end frees the poller, which w leads. If it failed, it reports that to the handler of each descriptor that is still
// watched.
func (p *poller) end(w *worker) {
	defer close(p.done)
	defer pollerCounts.free(p)
	p.watchdog.alarm.Close()
	p.dismiss()
	if p.failure == nil {
		p.endSends(w)
		p.sel.close()
		return
	}
	p.dead.Store(true)
	logger().Printf("netpoll: poller failed, its connections are closed: %v", p.failure)
	if p.failed != nil {
		p.failed(p)
	}
	p.endSends(w)
	// The queue's descriptor is left to the garbage collector: watches that are being closed still name it.
	for _, w := range p.slots.closeAll() {
		w.handler.onPoll(evDetached|evErr, nil)
	}
}

// endSends sends the queued output and takes no more.
func (p *poller) endSends(w *worker) {
	w.sendAll(w.sends.shut())
	w.close()
}

// turn handles events until there are handlers to run or a look finds nothing. That last look is what makes parking
// safe: the kernel sends no wake-up for a descriptor that it has in its ready list already, and keeps it there until a
// look finds it drained.
func (p *poller) turn() (stop bool) {
	for {
		if p.broken.any.Load() {
			p.endFailedWatches()
		}
		if p.closing.Load() && p.slots.shutIfEmpty() {
			p.empty = true
			return true
		}
		w := p.leader
		w.batch.inline = p.inlinePolicy.allowed() && runner.IsDefault()
		limit := p.fetchLimit(w)
		n, err := p.sel.look(limit)
		p.countPoll(n == 0)
		if err != nil {
			p.failure = err
			return true
		}
		p.full = n == limit
		if fault.Enabled {
			n = p.noteEvents(n)
		}
		if n == 0 {
			w.sendAll(w.sends.shut())
			w.busySince = 0
			return false
		}
		p.dispatch(w, n)
		if len(w.batch.ready) > 0 {
			return true
		}
	}
}

// fetchLimit is how many events to fetch at a time.
func (p *poller) fetchLimit(w *worker) int {
	if !w.batch.inline {
		return maxEvents // all handlers go to the runner
	}
	return p.inlinePolicy.share(maxEvents, p.alone())
}

// event is the i-th event of the last look.
func (p *poller) event(i int) (token uint64, ev pollEvent) {
	if fault.Enabled {
		e := p.seen.At(i)
		return e.Token, pollEvent(e.Bits)
	}
	return p.sel.event(i)
}

// noteEvents lets tests change the n events of a look, and returns how many there are then.
func (p *poller) noteEvents(n int) int {
	at := func(i int) fault.Event {
		token, ev := p.sel.event(i)
		return fault.Event{Token: token, Bits: uint8(ev)}
	}
	return p.seen.Note(n, at, func(token uint64) bool {
		w := p.slots.lookup(token)
		return w != nil && w.token == token
	})
}

// dispatch calls the handlers of one batch. A slot freed meanwhile is not used again before the batch ends.
func (p *poller) dispatch(w *worker, n int) {
	p.slots.beginBatch()
	defer func() {
		if !p.sel.kept() {
			p.slots.endBatch()
		}
	}()
	w.batch.received = 0
	w.startRound(n, w.sends.take())
}

// failedWatches holds watches whose interest could not be changed. Their events may never be reported, so they end.
type failedWatches struct {
	any  atomic.Bool // the list is not empty; stored under mu
	mu   sync.Mutex
	list []*watch // guarded by mu
}

func (q *failedWatches) add(w *watch) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.list = append(q.list, w)
	q.any.Store(true)
}

func (q *failedWatches) take() (list []*watch) {
	q.mu.Lock()
	defer q.mu.Unlock()
	list, q.list = q.list, nil
	q.any.Store(false)
	return list
}

// endFailedWatches calls the handlers of lost watches: nothing will be reported to them again. The leader does it,
// because only one goroutine at a time may call handlers.
func (p *poller) endFailedWatches() {
	for _, w := range p.broken.take() {
		if p.slots.lookup(w.token) == w {
			w.handler.onPoll(evDetached|evErr, nil)
		}
	}
}

// retire lets the poller end as soon as nothing is watched any more. Watched descriptors stay served.
func (p *poller) retire() {
	p.closing.Store(true)
	p.sel.interrupt()
}

// errPollerEnded: the poller ended between being picked and being asked to watch. It has left its set before, so the next
// pick finds another.
var errPollerEnded = errors.New("netpoll: poller has ended")

// watch ties one descriptor to one slot of a poller. It is a field of the descriptor's owner and used once; the zero
// value is ready. Its methods may be called from any goroutine.
type watch struct {
	// mu orders the calls to the selector and guards fd, opened, closed and asked.
	mu     sync.Mutex
	fd     int32
	opened bool
	closed bool
	asked  pollEvent // the interest of the last change; with evDetached in it if that failed

	// Written by open before the watch is published in its slot, constant afterwards.
	token   uint64
	handler pollHandler

	// by is the worker that serves the descriptor, or did last. Stored by open and servedBy; nil before open.
	by atomic.Pointer[worker]
}

// open starts watching fd, which must stay open until close has returned.
func (w *watch) open(p *poller, fd int, h pollHandler, interest pollEvent) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return nil // closed before it was opened: nothing to watch
	}
	w.fd, w.handler = int32(fd), h
	w.by.Store(p.workers.leader.Load())
	if !p.slots.put(w) {
		return errPollerEnded
	}
	if err := p.sel.add(fd, w.token, interest); err != nil {
		p.slots.drop(w.token)
		return err
	}
	w.opened, w.asked = true, interest
	p.gauges.move(0, interest)
	return nil
}

// servedBy notes that the worker with batch b serves the descriptor. That worker sends the output that a handler leaves.
func (w *watch) servedBy(b *batch) {
	if b != nil && w.by.Load() != b.of {
		w.by.Store(b.of)
	}
}

// poller returns the poller that watches the descriptor, which open has been called for.
func (w *watch) poller() *poller { return w.by.Load().p }

// openAny is open on the poller that has its turn.
func (w *watch) openAny(fd int, h pollHandler, interest pollEvent) error {
	for {
		p, err := pickPoller()
		if err != nil {
			return err
		}
		if err := w.open(p, fd, h, interest); err != errPollerEnded {
			return err
		}
	}
}

// updateInterest asks for the interest that the handler has at the moment of the change: of several concurrent calls
// the last one never sets an outdated interest. It does nothing before open and after close. After an error, which it
// returns, the poller reports to the handler that the watch is lost.
func (w *watch) updateInterest() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.opened || w.closed || w.poller().dead.Load() {
		return nil
	}
	p := w.poller()
	want := w.handler.interest()
	err := p.sel.modify(int(w.fd), w.token, w.asked, want)
	p.gauges.move(w.asked, want)
	w.asked = want
	if err != nil {
		w.asked |= evDetached
		p.broken.add(w)
		p.sel.interrupt()
	}
	return err
}

// close stops watching; the descriptor may be closed afterwards. A call of onPoll that has begun may still be running.
// It is idempotent, and a watch that was never opened stays shut.
func (w *watch) close() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return
	}
	w.closed = true
	if !w.opened {
		return
	}
	p := w.poller()
	p.gauges.move(w.asked, 0)
	if !p.dead.Load() { // the number of a closed queue may belong to another file by now
		p.sel.remove(int(w.fd), w.asked)
	}
	if p.slots.drop(w.token) && p.closing.Load() {
		p.sel.interrupt() // it was the last one of a retired poller
	}
}
