package netpoll

// This file holds the portable half of a poller: one goroutine that looks for ready descriptors and tells the handler
// of each, and the watch that ties a descriptor to it. What a descriptor is (connection, listener) is not known here.
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
//		the last change, with evLost in it if that failed.
//	func (s *selector) look() (n int, err error)
//		Without blocking, fetch the events that are there.
//	func (s *selector) event(i int) (token uint64, ev pollEvent)
//		The i-th event of the last look.
//	func (s *selector) park(turn func() (stop bool)) error
//		Call turn, wait until there may be events again, call turn again, and so on until it returns true. While it
//		waits it occupies no thread. An event that arrives while turn runs is not lost: turn is called once more.
//	func (s *selector) interrupt()
//		Make a waiting park return.
//	func (s *selector) close()

import (
	"errors"
	"sync"
	"sync/atomic"
)

// pollEvent is a set of things that a descriptor can be watched for, or that happened to it.
type pollEvent uint8

const (
	evRead  pollEvent = 1 << iota // there is something to receive
	evWrite                       // there is room to send
	evHup                         // the peer has ended its side
	evErr                         // both sides are over, or there is an error; always reported
	evLost                        // the poller failed; nothing will be reported again
)

// pollHandler is told what happened to a watched descriptor.
type pollHandler interface {
	// onPoll runs on the poll goroutine and must neither block nor run the user's code. What it leaves undone is
	// reported again in the next batch, as long as the descriptor is watched for it.
	onPoll(ev pollEvent)
}

// poller is one poll goroutine with what it watches.
type poller struct {
	sel     *selector
	slots   slotTable
	closing atomic.Bool   // set once by retire; read by the poll goroutine
	dead    atomic.Bool   // set when the queue has failed; read by watches, which then leave it alone
	done    chan struct{} // closed when the poll goroutine has ended
	failure error         // why it ended early; written before done is closed
	failed  func(*poller) // called then, before it takes no more descriptors; may be nil
}

func newPoller(failed func(*poller)) (*poller, error) {
	sel, err := newSelector()
	if err != nil {
		return nil, err
	}
	p := &poller{sel: sel, done: make(chan struct{}), failed: failed}
	go p.run()
	return p, nil
}

// run is the poll goroutine. It ends when the poller has been retired and nothing is watched any more, or when the
// system's queue fails; then everything that is still watched is told so.
func (p *poller) run() {
	defer close(p.done)
	if err := p.sel.park(p.turn); err != nil {
		p.failure = err
	}
	if p.failure == nil {
		p.sel.close()
		return
	}
	p.dead.Store(true)
	logger().Printf("netpoll: poller failed, its connections are closed: %v", p.failure)
	if p.failed != nil {
		p.failed(p)
	}
	// The queue's descriptor is left to the garbage collector: watches that are being closed still name it.
	for _, w := range p.slots.closeAll() {
		w.handler.onPoll(evLost | evErr)
	}
}

// turn handles events until a look finds none. That last look is what makes parking safe: the kernel wakes nobody for
// a descriptor that it has in its ready list already, and keeps it there until a look finds it drained.
func (p *poller) turn() (stop bool) {
	for {
		if p.closing.Load() && p.slots.shutIfEmpty() {
			return true
		}
		n, err := p.sel.look()
		if err != nil {
			p.failure = err
			return true
		}
		if n == 0 {
			return false
		}
		p.dispatch(n)
	}
}

// dispatch tells the handlers of one batch. A slot freed meanwhile is not given to a stranger before the batch ends.
func (p *poller) dispatch(n int) {
	p.slots.beginBatch()
	for i := range n {
		token, ev := p.sel.event(i)
		if w := p.slots.lookup(token); w != nil {
			w.handler.onPoll(ev)
		}
	}
	p.slots.endBatch()
}

// retire lets the poll goroutine end as soon as nothing is watched any more. What is watched stays served.
func (p *poller) retire() {
	p.closing.Store(true)
	p.sel.interrupt()
}

// errPollerGone: the poller ended between being picked and being asked to watch. It has left its set before, so the next
// pick finds another.
var errPollerGone = errors.New("netpoll: poller has ended")

// watch ties one descriptor to one slot of a poller. It is embedded in what is watched and used once; the zero value
// is ready. Its methods may be called from any goroutine.
type watch struct {
	// mu orders the calls to the selector and guards fd, opened, closed and asked.
	mu     sync.Mutex
	fd     int32
	opened bool
	closed bool
	asked  pollEvent // what the descriptor was last watched for; with evLost in it if that failed

	// Written by open before the watch is published in its slot, constant afterwards.
	token   uint64
	p       *poller
	handler pollHandler
}

// open starts watching fd, which must stay open until close has returned.
func (w *watch) open(p *poller, fd int, h pollHandler, interest pollEvent) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return nil // closed before it was opened: nothing to watch
	}
	w.fd, w.p, w.handler = int32(fd), p, h
	if !p.slots.put(w) {
		return errPollerGone
	}
	if err := p.sel.add(fd, w.token, interest); err != nil {
		p.slots.drop(w.token)
		return err
	}
	w.opened, w.asked = true, interest
	return nil
}

// openAny is open on whichever poller has its turn.
func (w *watch) openAny(fd int, h pollHandler, interest pollEvent) error {
	for {
		p, err := pickPoller()
		if err != nil {
			return err
		}
		if err := w.open(p, fd, h, interest); err != errPollerGone {
			return err
		}
	}
}

// interestSource is a handler that knows what its descriptor has to be watched for now.
type interestSource interface {
	interest() pollEvent
}

// follow asks for what the handler, which must be an interestSource, wants at the moment it is applied: of several
// concurrent calls the last one applied is never an outdated one. It does nothing before open and after close.
func (w *watch) follow() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.opened || w.closed || w.p.dead.Load() {
		return nil
	}
	want := w.handler.(interestSource).interest()
	err := w.p.sel.modify(int(w.fd), w.token, w.asked, want)
	w.asked = want
	if err != nil {
		w.asked |= evLost
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
	if !w.p.dead.Load() { // the number of a queue that was closed may be another's by now
		w.p.sel.remove(int(w.fd), w.asked)
	}
	if w.p.slots.drop(w.token) && w.p.closing.Load() {
		w.p.sel.interrupt() // it was the last one of a retired poller
	}
}
