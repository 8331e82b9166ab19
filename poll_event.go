package netpoll

// This file holds the types that pollers share with transports that have none: events, the tasks of a batch, their
// figures, and how new connections are spread.

import "github.com/cloudwego/netpoll/internal/metric"

// pollEvent is a set of things that a descriptor can be watched for, or that happened to it.
type pollEvent uint8

const (
	evRead     pollEvent = 1 << iota // there is something to receive
	evWrite                          // there is room to send
	evHup                            // the peer has ended its side
	evErr                            // both sides are over, or there is an error; always reported
	evDetached                       // the poller failed, or watching did; nothing will be reported again
	evOnce                           // in an interest only: with epoll, its events are reported once, and then no more
	evEdge                           // in an interest only: with epoll, what is there is reported once after each change of the interest
)

// pollerFigures are those of a poller at the moment, beside its counters.
type pollerFigures struct {
	counts           *metric.Set
	watched, workers int // descriptors, and goroutines that do not sleep
	running          int // handlers on workers
	blocked, paused  int // see pollGauges
	slow             uint64
}

// task is the run of a connection's handlers.
type task interface {
	runTask()  // here and now
	dispatch() // in the runner
}

// batch collects the tasks to run when all events of a look have been handled. It belongs to the worker that looked.
type batch struct {
	inline   bool   // tasks may run on the worker
	ready    []task // in the order in which they became ready
	received int    // bytes, of connections that have more to receive
	//lint:ignore U1000 there are systems without workers
	of *worker // constant
}

// receiveBudget is how many bytes connections with much to receive may receive in one batch, all together, before the
// next batch has its turn. Each receives once at least.
const receiveBudget = 512 << 10

// goesOn notes that a connection with more to receive has received n bytes. It reports whether that may go on at once.
func (b *batch) goesOn(n int) bool {
	if b == nil {
		return true // the poller has ended: there are no others
	}
	b.received += n
	return b.received < receiveBudget
}

// add makes t run on the worker after the batch, or returns false if it has to go to the runner.
func (b *batch) add(t task) bool {
	if b == nil || !b.inline {
		return false
	}
	b.ready = append(b.ready, t)
	return true
}

// LoadBalance says how new connections are spread over the pollers.
type LoadBalance int

const (
	// RoundRobin gives each poller its turn. It is the default.
	RoundRobin LoadBalance = iota
	// Random picks a poller at random.
	Random
)
