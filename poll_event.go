package netpoll

// This file holds the words in which a poller, or a transport that does without one, tells what happened, and is told
// what to look for.

// pollEvent is a set of things that a descriptor can be watched for, or that happened to it.
type pollEvent uint8

const (
	evRead     pollEvent = 1 << iota // there is something to receive
	evWrite                          // there is room to send
	evHup                            // the peer has ended its side
	evErr                            // both sides are over, or there is an error; always reported
	evDetached                       // the poller failed, or watching did; nothing will be reported again
	evOnce                           // asked for only: what is asked for is reported once, and then nothing, where epoll is used
)

// pollHandler is told what happened to a watched descriptor.
type pollHandler interface {
	// onPoll runs on the poll goroutine and must neither block nor run the user's code; b takes what is to run after
	// the batch, and is nil where there is none. What onPoll leaves undone is reported again in the next batch, as long
	// as the descriptor is watched for it.
	onPoll(ev pollEvent, b *batch)
}

// interestSource is a handler that knows what its descriptor has to be watched for now.
type interestSource interface {
	interest() pollEvent
}

// task is the run of a connection's handlers.
type task interface {
	runTask()  // here and now
	dispatch() // in the runner
}

// batch collects what is to run when all events of a look have been handled. It belongs to the leader.
type batch struct {
	inline   bool   // tasks may run on the poll goroutine
	ready    []task // in the order in which they became ready
	received int    // bytes, by those that have more to receive
}

// goesOn notes that one with more to receive has received n bytes. It reports whether it may go on at once.
func (b *batch) goesOn(n int) bool {
	if b == nil {
		return true // the poller has ended: there are no others
	}
	b.received += n
	return b.received < receiveBudget
}

// add makes t run on the poll goroutine after the batch, or returns false if it has to go to the runner.
func (b *batch) add(t task) bool {
	if b == nil || !b.inline {
		return false
	}
	b.ready = append(b.ready, t)
	return true
}

// sender is one with output for the poller to send.
type sender interface {
	// addPending is called once the sender can be sure of the next three. It returns false if it does not need them.
	addPending() bool
	// sendPending sends what it can, now.
	sendPending()
	// beginSend returns what to send, and endSend takes what came of it, as a receiver does. If ok is false there is
	// nothing to send.
	beginSend() (fd int, p []byte, ok bool)
	endSend(res int32)
}
