package netpoll

// This file holds the figures of the process as its user sees them, and how they are read. What is counted is in
// internal/metric, and is counted where it happens.

import (
	"slices"
	"sync"
	"time"
	"weak"

	"github.com/cloudwego/netpoll/internal/metric"
)

// Stats is the result of [ReadStats]. Fields that say "now" are levels; all others only grow, from the start of the process
// on. Figures of one call need not be of one moment: connections and handlers go on while they are read.
type Stats struct {
	// Conns are the connections of this process: those that event loops and listeners have accepted, dialed ones, and those
	// of NewConnection. Connections over datagrams are not among them.
	Conns ConnStats
	// Traffic is what all pollers have carried, and what went through a [net.Conn].
	Traffic TrafficStats
	// Handlers are runs of OnConnect and OnRequest.
	Handlers HandlerStats

	// Handshakes of TLS are those that have succeeded, FailedHandshakes the others.
	Handshakes, FailedHandshakes uint64
	// Packets are the datagrams of all sockets. Only Received, Receives, Sent and Sends are set.
	Packets PacketStats
	// Blocks is how many blocks of memory for buffers were taken from the heap, because there was none in a pool, and
	// BlockBytes how large they were together. What is in use now is not counted.
	Blocks, BlockBytes uint64

	// Pollers are the pollers. The counters of one that has ended stay, and go on with the next that is started.
	Pollers []PollerStats
	// EventLoops are those that have a listener or a connection now, in the order of their first Serve.
	EventLoops []EventLoopStats
}

// ConnStats are figures of connections.
type ConnStats struct {
	// Open is how many there are now. A connection that was closed counts until its close callbacks have run.
	Open int
	// Accepted is how many were accepted, Refused how many of these OnPrepare has closed.
	Accepted, Refused uint64
	// PausedAtLimit is how often accepting has stopped because of [WithMaxConnections], and PausedForLack how often for lack
	// of descriptors or memory.
	PausedAtLimit, PausedForLack uint64
	// Ended is how many have ended, by reason.
	Ended EndStats
}

// EndStats says why connections have ended. Each is counted once. A connection that the program closes after its peer is
// gone counts for the peer.
type EndStats struct {
	// Closed: by the program, with the peer still there.
	Closed uint64
	// Peer: the peer has ended its side.
	Peer uint64
	// Reset: the peer has reset the connection, or an error such as a timeout of TCP has broken it.
	Reset uint64
	// Idle: the idle limit has passed.
	Idle uint64
	// Shutdown: of its event loop.
	Shutdown uint64
	// Panic: a callback has panicked, or has ended its goroutine.
	Panic uint64
	// Poller: the poller has failed, or could not watch it.
	Poller uint64
	// Detached: the program has taken its descriptor or net.Conn back, or another connection has: one that changes to TLS
	// takes the place of the one before.
	Detached uint64
}

// Total is the number of connections that have ended.
func (e EndStats) Total() uint64 {
	return e.Closed + e.Peer + e.Reset + e.Idle + e.Shutdown + e.Panic + e.Poller + e.Detached
}

// TrafficStats are figures of bytes, and of the system calls that move them. With TLS these are bytes of TLS.
type TrafficStats struct {
	// BytesIn and BytesOut are bytes that the system has received and sent, also by splice and sendfile. What a program
	// moves by a RawConn is not counted, nor is what goes through shared memory.
	BytesIn, BytesOut uint64
	// Polls is how often a poller has looked for events: calls of epoll_wait or kevent. Of a busy poller the newest 15 may be
	// missing.
	Polls uint64
	// Receives and Sends are system calls for one connection, and calls of Read and Write of a net.Conn.
	Receives, Sends uint64
	// IOUring and AIO are system calls for many connections.
	IOUring, AIO ExecutorStats
	// OutputBlocked is for how many connections output waits now until the peer takes some.
	OutputBlocked int
	// InputPaused is how many connections are not received from now, because their unread input is at its limit.
	InputPaused int
}

// ExecutorStats are figures of one of the executors of batches.
type ExecutorStats struct {
	// Calls is the number of batches, and so of system calls; Operations is how many receives and sends were in these.
	Calls, Operations uint64
}

// HandlerStats are figures of handlers: of OnRequest, and of OnConnect before it. A run is one call of OnRequest, or
// several for input that has arrived meanwhile.
type HandlerStats struct {
	// Running is how many run now, and Queued how many wait for the [Config] Runner to start them.
	Running, Queued int
	// InRunner is how many runs went to the runner. Those on goroutines of a poller are counted by Times.
	InRunner uint64
	// HandedOver is how often a handler on a goroutine of a poller did not return soon, or waited for a connection, so that
	// another goroutine has gone on with the polling.
	HandedOver uint64
	// Slow is how often the handlers of a poller have been found slow, and were moved to the runner for a while.
	Slow uint64
	// Times is how long runs took on goroutines of a poller.
	Times Histogram
	// Batches is how long the handlers took that have become ready at the same time, together.
	Batches Histogram
}

// PollerStats are the figures of one poller.
type PollerStats struct {
	// Watched is how many descriptors it watches now: connections and listeners.
	Watched int
	// Workers is how many of its goroutines are awake now.
	Workers int
	// Traffic is what it has carried.
	Traffic TrafficStats
	// Handlers ran on its goroutines. Those in the runner belong to no poller.
	Handlers HandlerStats
}

// EventLoopStats are the figures of one [EventLoop].
type EventLoopStats struct {
	// Addrs are the addresses of the listeners that it serves now.
	Addrs []string
	// Paused is how many of these accept nothing now, for one of the reasons that [ConnStats] has.
	Paused int
	// Conns are its connections.
	Conns ConnStats
}

// HistogramBuckets is how many buckets a [Histogram] has.
const HistogramBuckets = metric.Buckets

// Histogram counts times.
type Histogram struct {
	// Counts are the buckets: how many times were at most Limit of the bucket, and more than that of the one before.
	Counts [HistogramBuckets]uint64
	// Sum is all times together.
	Sum time.Duration
}

// Limit is the upper limit of bucket i: 256 ns for the first, and twice as much for each further one, up to 2.1 s. The last
// bucket has none, and Limit returns the greatest Duration for it.
func (h *Histogram) Limit(i int) time.Duration {
	if i >= HistogramBuckets-1 {
		return 1<<63 - 1
	}
	return metric.Limit(i)
}

// Count is how many times were counted.
func (h *Histogram) Count() (n uint64) {
	for _, c := range h.Counts {
		n += c
	}
	return n
}

// Quantile is an upper limit for a part q, from 0 to 1, of the times: Quantile(0.99) is the limit of the bucket that the
// 99th percentile is in. It is 0 if nothing was counted.
func (h *Histogram) Quantile(q float64) time.Duration {
	all := h.Count()
	if all == 0 {
		return 0
	}
	rest := uint64(q * float64(all))
	for i, c := range h.Counts {
		if rest < c || rest == c && i == HistogramBuckets-1 {
			return h.Limit(i)
		}
		rest -= c
	}
	return h.Limit(HistogramBuckets - 1)
}

// ReadStats reads the figures of the process. Nobody waits for it, and it takes microseconds, however many connections there
// are. It may be called at any time, from any goroutine. For expvar:
//
//	expvar.Publish("netpoll", expvar.Func(func() any { return netpoll.ReadStats() }))
func ReadStats() (s Stats) {
	metric.Elsewhere.Each(func(c *metric.Counters) {
		s.Traffic.add(c)
		s.Handlers.add(c)
		s.Packets.Received += c.PacketsIn.Load()
		s.Packets.Receives += c.PacketReceives.Load()
		s.Packets.Sent += c.PacketsOut.Load()
		s.Packets.Sends += c.PacketSends.Load()
	})
	for _, f := range figuresOfPollers() {
		p := pollerStats(f)
		s.Pollers = append(s.Pollers, p)
		s.Traffic.join(&p.Traffic)
		s.Handlers.join(&p.Handlers)
	}
	s.Conns = connStats(&metric.Process)
	s.Conns.Open = int(metric.Process.Made.Load() - s.Conns.Ended.Total())
	s.Handshakes, s.FailedHandshakes = metric.TLS.Done.Load(), metric.TLS.Failed.Load()
	s.Blocks, s.BlockBytes = metric.Blocks.Made.Load(), metric.Blocks.Bytes.Load()
	s.EventLoops = servedLoops.stats()
	return s
}

// connStats reads counters of connections; not Open. What has ended is read first: it was counted as made before.
func connStats(c *metric.Connections) (s ConnStats) {
	ended := func(reason int) uint64 { return c.Ended[reason].Load() }
	s.Ended = EndStats{
		Closed: ended(reasonClosed), Peer: ended(reasonPeer), Reset: ended(reasonReset), Idle: ended(reasonIdle),
		Shutdown: ended(reasonShutdown), Panic: ended(reasonPanic), Poller: ended(reasonPoller), Detached: ended(reasonDetached),
	}
	s.Refused = c.Refused.Load()
	s.Accepted = c.Accepted.Load()
	s.PausedAtLimit, s.PausedForLack = c.PausedAtLimit.Load(), c.PausedForLack.Load()
	return s
}

func pollerStats(f pollerFigures) (s PollerStats) {
	f.counts.Each(func(c *metric.Counters) {
		s.Traffic.add(c)
		s.Handlers.add(c)
	})
	s.Watched, s.Workers = f.watched, f.workers
	s.Traffic.OutputBlocked, s.Traffic.InputPaused = f.blocked, f.paused
	s.Handlers.Running += f.running
	s.Handlers.Slow += f.slow
	return s
}

// add adds counters.
func (s *TrafficStats) add(c *metric.Counters) {
	s.join(&TrafficStats{
		BytesIn: c.BytesIn.Load(), BytesOut: c.BytesOut.Load(),
		Polls: c.Polls.Load(), Receives: c.Receives.Load(), Sends: c.Sends.Load(),
		IOUring: ExecutorStats{c.Rings[0].Calls.Load(), c.Rings[0].Operations.Load()},
		AIO:     ExecutorStats{c.Rings[1].Calls.Load(), c.Rings[1].Operations.Load()},
	})
}

// join adds other figures.
func (s *TrafficStats) join(t *TrafficStats) {
	s.BytesIn += t.BytesIn
	s.BytesOut += t.BytesOut
	s.Polls += t.Polls
	s.Receives += t.Receives
	s.Sends += t.Sends
	s.IOUring.Calls += t.IOUring.Calls
	s.IOUring.Operations += t.IOUring.Operations
	s.AIO.Calls += t.AIO.Calls
	s.AIO.Operations += t.AIO.Operations
	s.OutputBlocked += t.OutputBlocked
	s.InputPaused += t.InputPaused
}

// add adds counters. What has ended is read before what has begun, so that no level is less than 0.
func (s *HandlerStats) add(c *metric.Counters) {
	finished, returned := c.Finished.Load(), c.Returned.Load()
	started, handedOver := c.Started.Load(), c.HandedOver.Load()
	queued := c.Queued.Load()
	t := HandlerStats{
		Running: int(started-finished) + max(int(handedOver-returned), 0), Queued: int(queued - started),
		InRunner: queued, HandedOver: handedOver, Slow: c.Slow.Load(),
	}
	t.Times.read(&c.Handlers, &c.Single)
	t.Batches.read(&c.Batches, &c.Single)
	t.Times.Sum = time.Duration(c.Busy.Load())
	t.Batches.Sum = t.Times.Sum
	s.join(&t)
}

// join adds other figures.
func (s *HandlerStats) join(t *HandlerStats) {
	s.Running += t.Running
	s.Queued += t.Queued
	s.InRunner += t.InRunner
	s.HandedOver += t.HandedOver
	s.Slow += t.Slow
	s.Times.join(&t.Times)
	s.Batches.join(&t.Batches)
}

// read adds two histograms up.
func (h *Histogram) read(a, b *metric.Histogram) {
	for i := range h.Counts {
		h.Counts[i] = a[i].Load() + b[i].Load()
	}
}

func (h *Histogram) join(other *Histogram) {
	for i, c := range other.Counts {
		h.Counts[i] += c
	}
	h.Sum += other.Sum
}

// servedLoops are the event loops that serve. The list keeps none of them alive.
var servedLoops loopList

type loopList struct {
	mu   sync.Mutex
	list []weak.Pointer[server] // guarded by mu
}

// add notes that s serves, and forgets those that are gone.
func (l *loopList) add(s *server) {
	l.mu.Lock()
	defer l.mu.Unlock()
	own := weak.Make(s)
	if slices.Contains(l.list, own) {
		return
	}
	l.list = append(slices.DeleteFunc(l.list, func(p weak.Pointer[server]) bool { return p.Value() == nil }), own)
}

// servers lists those that are still there.
func (l *loopList) servers() (list []*server) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, p := range l.list {
		if s := p.Value(); s != nil {
			list = append(list, s)
		}
	}
	return list
}

// stats are the figures of those that have a listener or a connection.
func (l *loopList) stats() (list []EventLoopStats) {
	for _, s := range l.servers() {
		if e := s.stats(); len(e.Addrs) > 0 || e.Conns.Open > 0 {
			list = append(list, e)
		}
	}
	return list
}

func (s *server) stats() (e EventLoopStats) {
	e.Conns = connStats(&s.counts)
	e.Conns.Open = s.limit.count()
	s.mu.Lock()
	acceptors := slices.Clone(s.acceptors)
	s.mu.Unlock()
	for _, a := range acceptors {
		e.Addrs = append(e.Addrs, a.ln.Addr().String())
		if a.paused.Load() {
			e.Paused++
		}
	}
	return e
}
