// Package metric holds counters that cost next to nothing. Each is added to where few goroutines write, and read only by
// those who ask for the figures. They use plain atomics, and not those that the tests of schedules replace: no decision
// depends on them.
package metric

import (
	"math/bits"
	"sync/atomic"
	"time"
	"unsafe"
)

const (
	// Buckets is how many buckets a histogram has.
	Buckets = 25
	// first is the limit of the first bucket, as a power of two in nanoseconds. Each further limit is twice as large, and
	// the last bucket has none.
	first = 8
)

// Limit is the upper limit of bucket i, and belongs to it. The last bucket has none.
func Limit(i int) time.Duration { return 1 << (first + i) }

// Bucket is the one for so many nanoseconds.
func Bucket(took int64) int {
	if took <= 1<<first {
		return 0
	}
	return min(bits.Len64(uint64(took-1))-first, Buckets-1)
}

// Histogram counts times.
type Histogram [Buckets]atomic.Uint64

// Counters are what one worker of a poller counts. Others add to them, too, but rarely at the same time.
type Counters struct {
	_ [64]byte // these are not in the cache line of another's

	BytesIn, BytesOut atomic.Uint64 // of sockets
	Polls             atomic.Uint64 // looks for events
	Receives, Sends   atomic.Uint64 // system calls for one socket
	Rings             [2]Ring       // system calls for many sockets, by executor

	Single   Histogram    // how long runs of handlers took that were a batch by themselves
	Handlers Histogram    // how long the others took
	Batches  Histogram    // how long these batches took
	Busy     atomic.Int64 // how long all runs took together, and so all batches, in nanoseconds

	HandedOver, Returned atomic.Uint64 // times that another goroutine went on as a worker, and handlers of those that are over
	Slow                 atomic.Uint64 // times that handlers were found slow

	Queued, Started, Finished atomic.Uint64 // runs of handlers in the runner

	PacketsIn, PacketsOut       atomic.Uint64 // datagrams
	PacketReceives, PacketSends atomic.Uint64 // in so many batches
}

// Received counts a receive of n bytes. A negative number, of an error, counts none.
func (c *Counters) Received(n int) {
	c.Receives.Add(1)
	c.BytesIn.Add(uint64(max(n, 0)))
}

// Sent is Received for a send.
func (c *Counters) Sent(n int) {
	c.Sends.Add(1)
	c.BytesOut.Add(uint64(max(n, 0)))
}

// Ring counts what one executor of batches did.
type Ring struct{ Calls, Operations atomic.Uint64 }

// shards is how many Counters there are in a set. It is a power of two.
const shards = 8

// Set is a number of Counters for goroutines on different processors. The sum of them is what counts.
type Set struct{ shards [shards]Counters }

// Shard returns one of the Counters. Any n is good.
func (s *Set) Shard(n uint) *Counters { return &s.shards[n%shards] }

// For returns the Counters for an object, the same for each call.
func (s *Set) For(object unsafe.Pointer) *Counters { return s.Shard(uint(uintptr(object) >> 10)) }

// Each calls f for each of the Counters.
func (s *Set) Each(f func(*Counters)) {
	for i := range s.shards {
		f(&s.shards[i])
	}
}

// Elsewhere counts what no poller does.
var Elsewhere Set

// Reasons is how many reasons for the end of a connection can be counted.
const Reasons = 16

// Connections counts connections, of the process or of a server.
type Connections struct {
	Made, Accepted, Refused atomic.Uint64
	Ended                   [Reasons]atomic.Uint64
	PausedAtLimit           atomic.Uint64 // how often accepting stopped at the limit of connections
	PausedForLack           atomic.Uint64 // and for lack of descriptors or memory
}

// Process are the connections of the process.
var Process Connections

// TLS handshakes of the process.
var TLS struct{ Started, Done, Failed atomic.Uint64 }

// Blocks of memory that were taken from the heap, because there was none in a pool.
var Blocks struct{ Made, Bytes atomic.Uint64 }
