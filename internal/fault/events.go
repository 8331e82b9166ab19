package fault

// This file holds the types by which a poller lets tests change what it sees.

// Event is an event of a look at a poller's queue.
type Event struct {
	Token uint64
	Bits  uint8 // what happened, in the poller's own bits
}

// Executor is what executes operations; see [uring.Ring] and [aio.Ring].
type Executor interface {
	Recv(fd int, p []byte, tag uint64) bool
	Send(fd int, p []byte, tag uint64) bool
	Submit(done func(tag uint64, res int32)) error
	Cap() int
	Len() int
	Close() error
}
