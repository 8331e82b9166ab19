// Package mux gathers the output of many goroutines for one connection, so that they share its writer and its system
// calls: the sending half of a multiplexed protocol.
package mux

// This file holds ShardQueue: taking getters in, the one task that drains them, and the end of the queue.

import (
	"context"
	"fmt"
	"runtime"
	"slices"

	"github.com/cloudwego/netpoll"
	"github.com/cloudwego/netpoll/internal/interleave/atomic"
	"github.com/cloudwego/netpoll/internal/interleave/sync"
	"github.com/cloudwego/netpoll/internal/runner"
)

// ShardSize is the number of shards of a queue that is created with a size of zero or less: at first the number of
// processors that Go may use. Change it only before the first queue is created.
var ShardSize = runtime.GOMAXPROCS(0)

// maxScans limits how often a drain looks for further getters before it flushes what it has: callers that come
// meanwhile save a flush, but must not put it off for ever.
const maxScans = 16

// maxKeptGetters limits the room, counted in getters, that a shard keeps after a burst.
const maxKeptGetters = 1024

// WriterGetter returns the bytes to send, as a *[netpoll.LinkBuffer]; the queue owns that buffer from then on. With
// isNil there is nothing to send, and buf is ignored.
//
// Each getter given to [ShardQueue.Add] is called exactly once, by a goroutine of the library, also when its bytes can
// no longer be sent. As long as the queue sends, one getter of it runs at a time. A getter may call Add, but must not
// call Close or close the connection, because those wait for the getters. It should be quick, since it keeps the others
// waiting. If it panics, or ends its goroutine by [runtime.Goexit], that is reported as for any callback, the queue is
// at its end, and the connection is closed.
type WriterGetter func() (buf netpoll.Writer, isNil bool)

// The states of the drain. Add and Close move to drainAgain, the drain itself makes the other moves.
const (
	drainIdle  int32 = iota // nothing queued, no drain
	draining                // a drain runs and has seen every shard that was announced before
	drainAgain              // a drain runs or is about to, and has to look at the shards once more
)

// ShardQueue sends what getters return over one connection. Add only stores them, in one of several shards so that
// callers seldom meet; one task at a time calls them, appends their buffers to the connection's writer without copying
// and flushes once for all. A queue without work holds no goroutine.
//
// Getters of one shard are called in the order they were added; between shards there is no order. The queue must be the
// only user of the connection's Writer. It does not ask whether the connection is active: it learns of the end of the
// connection by a failed append or flush. Then it closes the connection and is at its end, as after Close.
//
// Getters that come to the queue at its end or later are dropped: they are still called, so that their owners see them
// used and the memory of their buffers is freed, but nothing is sent. Err and Close tell how many were lost, and why.
type ShardQueue struct {
	conn netpoll.Connection
	task func() // the method value of drain, made once
	// shards has its length fixed; each one guards itself.
	shards []shard

	// The words that callers write are kept away from those above, which they only read.
	_     cacheLine
	next  atomic.Uint32 // counts calls of Add to choose a shard; every caller adds to it
	_     cacheLine
	state atomic.Int32 // one of the drain states

	// mu guards the fields below.
	mu      sync.Mutex
	idle    sync.Cond // signalled when state has become drainIdle
	closed  bool      // Close was called
	failure error     // why the connection cannot be written to any more
	lost    int       // getters whose bytes were not, or maybe not, sent

	// The fields below belong to the drain that runs; state hands them on to the next one.
	batch  []WriterGetter // taken out of a shard; those not yet called
	spare  []WriterGetter // empty room for the next shard
	unsent int            // getters called in this pass whose bytes are not flushed yet
}

// shard is one list of getters. Its size is that of a cache line, so that callers on different shards do not disturb
// each other.
type shard struct {
	mu      sync.Mutex // guards the fields below
	ended   bool       // the shard takes no more getters
	getters []WriterGetter
	_       [24]byte
}

type cacheLine [64]byte

// NewShardQueue creates a queue that sends over conn, with size shards; zero or less means [ShardSize].
func NewShardQueue(size int, conn netpoll.Connection) (queue *ShardQueue) {
	if size <= 0 {
		size = max(ShardSize, 1)
	}
	q := &ShardQueue{conn: conn, shards: make([]shard, size)}
	q.task = q.drain
	q.idle.L = &q.mu
	return q
}

// Add queues gts, all in one shard, and returns without waiting for them to be called. It may be called from many
// goroutines at once, and from inside a getter. After the end of the queue gts are dropped.
func (q *ShardQueue) Add(gts ...WriterGetter) {
	if len(gts) == 0 {
		return
	}
	s := &q.shards[q.next.Add(1)%uint32(len(q.shards))]
	announce, ended := s.put(gts)
	if ended {
		// gts is the caller's slice, hence the copy. A task of its own, because a getter may need a lock that the
		// caller of Add holds.
		late := slices.Clone(gts)
		runner.Run(context.Background(), func() { q.dropAll(late) })
		return
	}
	if announce {
		q.wake()
	}
}

// Close ends the queue: it waits until every getter queued before has been called and its bytes flushed, which a peer
// that does not read can delay until the connection's write timeout, or until the connection is closed. It leaves the
// connection open. The error is nil if nothing was lost, else it is that of Err. A second Close returns an error that
// Is [netpoll.ErrConnClosed] at once. Close may be called from any goroutine, but not from inside a getter.
func (q *ShardQueue) Close() error {
	q.mu.Lock()
	if q.closed {
		q.mu.Unlock()
		return netpoll.Exception(netpoll.ErrConnClosed, "when closing a shard queue")
	}
	q.closed = true
	q.mu.Unlock()

	// The Add that has to announce a shard may not have come to it yet, while a later Add to the same shard has
	// returned: so announce it here too.
	waiting := false
	for i := range q.shards {
		waiting = q.shards[i].end() || waiting
	}
	if waiting {
		q.wake()
	}

	q.mu.Lock()
	defer q.mu.Unlock()
	for q.state.Load() != drainIdle {
		q.idle.Wait()
	}
	return q.lossLocked()
}

// Err returns nil as long as the queue takes getters and can send them. At its end it returns why: an error that Is
// [netpoll.ErrConnClosed] after Close, and the wrapped error of the append or flush that failed, with the number of
// getters lost so far, after that. A caller that added a getter and then finds Err to be nil can rely on the close of
// the connection as the sign of a later failure. It may be called from any goroutine.
func (q *ShardQueue) Err() error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if err := q.lossLocked(); err != nil {
		return err
	}
	if q.closed {
		return netpoll.Exception(netpoll.ErrConnClosed, "when using a closed shard queue")
	}
	return nil
}

// lossLocked describes the loss and its reason, or returns nil. The caller holds mu.
func (q *ShardQueue) lossLocked() error {
	switch {
	case q.failure != nil:
		return fmt.Errorf("mux: %d getters not sent: %w", q.lost, q.failure)
	case q.lost > 0:
		cause := netpoll.Exception(netpoll.ErrConnClosed, "when adding to a closed shard queue")
		return fmt.Errorf("mux: %d getters not sent: %w", q.lost, cause)
	}
	return nil
}

// wake makes sure that a drain looks at every shard after this call.
func (q *ShardQueue) wake() {
	if q.state.Swap(drainAgain) == drainIdle {
		runner.Run(context.Background(), q.task)
	}
}

// drain is the task that empties the shards. There is one at a time: it is started by the move away from drainIdle, and
// the move back is its last use of the queue's own fields.
func (q *ShardQueue) drain() { q.drainAfter(nil) }

// drainAfter goes on with a drain that err, if it is not nil, has stopped. A getter that ends its goroutine, as a
// failing test does, ends the drain that called it; another drain then ends the queue.
func (q *ShardQueue) drainAfter(err error) {
	failed := false
	runner.Protect(func() {
		for {
			q.state.Store(draining)
			if err == nil {
				err = q.pass()
			}
			if err != nil {
				q.fail(err)
				failed, err = true, nil
			}
			if q.state.CompareAndSwap(draining, drainIdle) {
				return // here ends what one drain leaves to the next
			}
		}
	}, func() {
		runner.Run(context.Background(), func() { q.drainAfter(callFailed(runner.ErrGoexit)) })
	})
	q.mu.Lock()
	q.idle.Broadcast()
	q.mu.Unlock()
	if failed {
		// Only now, for a CloseCallback may call Close of this queue, which waits for the drain. The error of closing
		// adds nothing to the failure that is on record.
		_ = q.conn.Close()
	}
}

// pass calls every getter that is queued, and those that are added meanwhile, and flushes once. After an error unsent
// counts the getters whose bytes may not have been sent; those not yet called are in batch and in the shards.
func (q *ShardQueue) pass() (err error) {
	runner.Guard(func() { err = q.send() }, func(value any) {
		runner.Panicked(context.Background(), value)
		err = callFailed(value)
	})
	return err
}

// callFailed is the error of a pass that did not return.
func callFailed(value any) error {
	if value == runner.ErrGoexit {
		return fmt.Errorf("a getter or the connection's writer %w", runner.ErrGoexit)
	}
	return fmt.Errorf("a getter or the connection's writer panicked: %v", value)
}

// send is pass without a guard.
func (q *ShardQueue) send() error {
	q.unsent = 0
	// Callers tend to come together, woken by the responses of one receive, while the scheduler runs a new goroutine,
	// such as this one, before older ones. Let those that can run add theirs first; if there are none this returns at
	// once.
	runtime.Gosched()
	var w netpoll.Writer // asked for when there is something to send
	for range maxScans {
		found, err := q.scan(&w)
		if err != nil {
			return err
		}
		if !found {
			break
		}
	}
	if w == nil {
		return nil
	}
	return w.Flush()
}

// scan calls each queued getter once and appends the buffers to w, which it sets at the first buffer. It reports
// whether it found any getter.
func (q *ShardQueue) scan(w *netpoll.Writer) (found bool, err error) {
	for i := range q.shards {
		got := q.shards[i].take(q.spare)
		if len(got) == 0 {
			continue
		}
		found = true
		q.spare = nil
		for q.batch = got; len(q.batch) > 0; {
			get := q.batch[0]
			q.batch = q.batch[1:]
			q.unsent++
			buf, isNil := get()
			if isNil {
				q.unsent--
				continue
			}
			if *w == nil {
				*w = q.conn.Writer()
			}
			if err := (*w).Append(buf); err != nil {
				free(buf)
				return found, err
			}
		}
		q.batch = nil // it would keep the called getters alive
		q.keep(got)
	}
	return found, nil
}

// keep clears the getters, so that the memory they refer to can be collected, and keeps their room for the next shard.
func (q *ShardQueue) keep(getters []WriterGetter) {
	if cap(getters) > maxKeptGetters {
		return
	}
	clear(getters)
	q.spare = getters[:0]
}

// fail ends the queue because of err, counts the unsent getters as lost and drops those that wait.
func (q *ShardQueue) fail(err error) {
	q.mu.Lock()
	if q.failure == nil {
		q.failure = err
	}
	q.lost += q.unsent
	q.mu.Unlock()

	waiting := q.batch
	q.batch, q.spare, q.unsent = nil, nil, 0 // another drain may have to go on from here
	q.dropAll(waiting)
	for i := range q.shards {
		q.shards[i].end()
		q.dropAll(q.shards[i].take(nil))
	}
}

// drop counts a getter as lost, calls it and frees what it returns. A panic does not reach the other getters; the end of
// the goroutine does.
func (q *ShardQueue) drop(get WriterGetter) {
	q.mu.Lock()
	q.lost++
	q.mu.Unlock()
	runner.Guard(func() {
		if buf, isNil := get(); !isNil {
			free(buf)
		}
	}, func(value any) { runner.Panicked(context.Background(), value) })
}

// free returns the memory of an unsent buffer to its pool. Other kinds of Writer, which Append refuses anyway, may be a
// connection of the user and are left alone.
func free(buf netpoll.Writer) {
	if b, ok := buf.(*netpoll.LinkBuffer); ok && b != nil {
		_ = b.Close() // a LinkBuffer has no error to report here
	}
}

// dropAll drops getters, also those behind one that ends its goroutine.
func (q *ShardQueue) dropAll(getters []WriterGetter) {
	runner.Protect(func() {
		for len(getters) > 0 {
			get := getters[0]
			getters = getters[1:]
			q.drop(get)
		}
	}, func() { q.dropAll(getters) })
}

// put appends gts. It reports whether the caller has to announce the shard, because it was empty, or found it ended and
// nothing was appended.
func (s *shard) put(gts []WriterGetter) (announce, ended bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended {
		return false, true
	}
	announce = len(s.getters) == 0
	s.getters = append(s.getters, gts...)
	return announce, false
}

// take returns all getters and leaves the room of spare in their place; from an empty shard it returns nil and leaves
// spare alone.
func (s *shard) take(spare []WriterGetter) []WriterGetter {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.getters) == 0 {
		return nil
	}
	got := s.getters
	s.getters = spare
	return got
}

// end makes the shard refuse further getters, and reports whether some are waiting in it.
func (s *shard) end() (waiting bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ended = true
	return len(s.getters) > 0
}
