//go:build (linux && !netconn) || darwin || dragonfly || freebsd || netbsd || openbsd

package netpoll

// This file holds what pollers count, for the figures of stats.go. Counters live with the worker that writes them, one
// addition for a batch where possible; what has no such place is counted where it is rare.

import (
	"sync"
	"sync/atomic"

	"github.com/cloudwego/netpoll/internal/metric"
)

// pollGauges are how many watched descriptors are in some state now. They change with the interest, under the lock of the
// watch.
type pollGauges struct {
	blocked atomic.Int64 // a sender waits for room
	paused  atomic.Int64 // the input is at its limit
}

// move notes that a watch with the interest was has the interest now.
func (g *pollGauges) move(was, now pollEvent) {
	if d := int64(now&evWrite) - int64(was&evWrite); d != 0 {
		g.blocked.Add(d / int64(evWrite))
	}
	if a, b := was.pausesInput(), now.pausesInput(); a != b {
		if b {
			g.paused.Add(1)
		} else {
			g.paused.Add(-1)
		}
	}
}

// pausesInput reports whether an interest is that of a connection whose input is at its limit.
func (ev pollEvent) pausesInput() bool { return ev&(evRead|evHup) == evHup }

// countReceived counts a receive by a system call for this descriptor alone.
func (w *watch) countReceived(n int) { w.counts().Received(n) }

// countSent counts a send, likewise.
func (w *watch) countSent(n int) { w.counts().Sent(n) }

func (w *watch) counts() *metric.Counters {
	if by := w.by.Load(); by != nil {
		return by.counts
	}
	return metric.Elsewhere.Shard(0) // it is not watched yet
}

// handlerTimes gathers how long the handlers of one batch take. Most take about as long as the one before.
type handlerTimes struct {
	to     *metric.Counters
	bucket int
	n      uint64 // so many in a row
	all    int
}

func (h *handlerTimes) add(took int64) {
	if bucket := metric.Bucket(took); bucket != h.bucket {
		h.flush()
		h.bucket = bucket
	}
	h.n++
	h.all++
}

func (h *handlerTimes) flush() {
	if h.n > 0 {
		h.to.Handlers[h.bucket].Add(h.n)
	}
	h.n = 0
}

// over ends a batch that took so long.
func (h *handlerTimes) over(took int64) {
	h.to.Busy.Add(took)
	if h.all == 1 {
		h.to.Single[h.bucket].Add(1)
		return
	}
	h.flush()
	h.to.Batches[metric.Bucket(took)].Add(1)
}

// lost ends it for a goroutine that is no worker any more.
func (h *handlerTimes) lost(took int64) {
	h.over(took)
	h.to.Returned.Add(1)
}

// keptPolls is how many looks the leader counts by itself before it adds them.
const keptPolls = 16

// countPoll counts a look. idle says that there may be no other one soon.
func (p *poller) countPoll(idle bool) {
	p.polls++
	if idle || p.polls >= keptPolls {
		p.leader.counts.Polls.Add(p.polls)
		p.polls = 0
	}
}

// pollerCounts has the counters of the pollers of the process. Those of a poller that has ended go to the next one, so the
// sums never shrink, nor do the figures of the first, the second, …
var pollerCounts countsList

type countsList struct {
	mu   sync.Mutex
	list []*pollerSeat // guarded by mu
}

// pollerSeat is one set of counters, and whose it is.
type pollerSeat struct {
	counts metric.Set
	taken  bool
	p      *poller // nil if it is nobody's
}

// take returns a set that is nobody's. use must follow.
func (l *countsList) take() *metric.Set {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, s := range l.list {
		if !s.taken {
			s.taken = true
			return &s.counts
		}
	}
	s := &pollerSeat{taken: true}
	l.list = append(l.list, s)
	return &s.counts
}

// use notes that p has the set that it was made with.
func (l *countsList) use(p *poller) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, s := range l.list {
		if &s.counts == p.counts {
			s.p = p
		}
	}
}

// free notes that p has ended.
func (l *countsList) free(p *poller) {
	p.counts.Shard(0).Slow.Add(uint64(p.inlinePolicy.penalties.Swap(0)))
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, s := range l.list {
		if &s.counts == p.counts {
			s.taken, s.p = false, nil
		}
	}
}

// figuresOfPollers returns those of all pollers, and the counters of those that have ended.
func figuresOfPollers() []pollerFigures {
	l := &pollerCounts
	l.mu.Lock()
	defer l.mu.Unlock()
	list := make([]pollerFigures, 0, len(l.list))
	for _, s := range l.list {
		f := pollerFigures{counts: &s.counts}
		if s.p != nil {
			s.p.figures(&f)
		}
		list = append(list, f)
	}
	return list
}

// figures are those of a poller that has not ended.
func (p *poller) figures(f *pollerFigures) {
	f.watched = p.slots.inUse()
	f.workers = int(p.workers.awake.Load())
	for _, w := range *p.workers.list.Load() {
		if w.handOff.v.Load()&offersTasks != 0 {
			f.running++
		}
	}
	f.blocked, f.paused = int(p.gauges.blocked.Load()), int(p.gauges.paused.Load())
	f.slow = uint64(p.inlinePolicy.penalties.Load())
}
