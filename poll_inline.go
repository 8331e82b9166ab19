//go:build (linux && !netconn) || darwin || dragonfly || freebsd || netbsd || openbsd

package netpoll

// This file holds what a poller remembers of its handlers: how long they take, which says how many events to fetch at a
// time, and whether they are slow, which sends them to the runner for a while.
//
// A handler is slow if it waits. One that works is not: it would need as much of a processor anywhere else. And one whose
// thread the system has stopped, to run another program, does neither. So when batches take long the thread's processor
// time is asked for, where the system tells it.

import (
	"time"

	"github.com/cloudwego/netpoll/internal/interleave/atomic"
	"github.com/cloudwego/netpoll/internal/interleave/clock"
	"github.com/cloudwego/netpoll/internal/interleave/sync"
	"github.com/cloudwego/netpoll/internal/thread"
)

const (
	// slowHandler is how long a handler may take on a worker, on average, before there is a suspicion that it waits.
	slowHandler = 50 * time.Microsecond
	// minPenalty and maxPenalty limit how long all handlers go to the runner after some were slow.
	minPenalty = 20 * time.Millisecond
	maxPenalty = time.Second
	// serviceTime is what the receive and the send of one request take, about.
	serviceTime = 4 * time.Microsecond
	// turnTime is how long the events that a worker fetches at a time should keep it busy where other workers can poll
	// meanwhile, and aloneTime the same where there is one processor.
	turnTime  = 200 * time.Microsecond
	aloneTime = 400 * time.Microsecond
	// quickService is what requests of all but no work take: where there is one processor, as many are fetched as there are.
	quickService = 10 * time.Microsecond
)

const (
	slowScore   = 8  // what a slow batch adds; a quick one takes away 1
	slowEnough  = 32 // when handlers are taken for slow
	afterSlow   = 24 // where the score begins again
	calmPenalty = 8  // so many penalties without another one, and the next is the least again
)

// inlinePolicy is that memory. All workers of a poller share it.
type inlinePolicy struct {
	slowUntil atomic.Int64 // handlers go to the runner until then, as clock.Now counts. Stored under mu
	suspected atomic.Bool  // score is not 0. Stored under mu
	penalties atomic.Int64 // how many there were
	each      atomic.Int64 // what a handler takes, in nanoseconds, on average

	// mu guards the fields below.
	mu      sync.Mutex
	penalty time.Duration // the last one
	score   int           // how often batches were slow of late
}

// allowed reports whether handlers may run on workers.
func (p *inlinePolicy) allowed() bool {
	until := p.slowUntil.Load()
	return until == 0 || clock.Now() > until
}

// batchTimer measures one batch. It belongs to the goroutine that runs the batch.
type batchTimer struct {
	suspected bool
	usage     thread.Measure
}

// begin is called before the first handler of a batch. It must be followed by stop.
func (p *inlinePolicy) begin() (t batchTimer) {
	if p.suspected.Load() {
		t.suspected, t.usage = true, thread.Begin()
	}
	return t
}

// stop ends the measure; it may be called again.
func (t *batchTimer) stop() { t.usage.Stop() }

// done notes that the first n handlers of a batch took so long, until at.
func (p *inlinePolicy) done(t *batchTimer, at, took int64, n int) {
	slow := took > int64(slowHandler)*int64(n)
	if slow && t.suspected {
		if worked, known := t.usage.Worked(); known {
			took, slow = worked, false
		}
	}
	t.stop()
	if !slow {
		p.average(took, n)
	}
	if slow || t.suspected {
		p.judge(at, slow)
	}
}

// late notes that a handler has been found running for long, at the time at. t is the timer of its batch.
func (p *inlinePolicy) late(t *batchTimer, at int64) {
	p.judge(at, !t.usage.WaitsNot())
}

// average notes that n handlers took so long. A single quick one among many slow ones says little, and so does one that
// took far longer than all before.
func (p *inlinePolicy) average(took int64, n int) {
	old := p.each.Load()
	each := min(took/int64(n), 4*old+int64(quickService))
	if next := old + (each-old)*int64(min(n, 8))/32; next != old {
		p.each.Store(next) // of two at the same time one is lost
	}
}

// judge notes how a batch went. The quickest handlers are slow now and then on a machine that has other things to do; they
// are taken for slow if many batches are.
func (p *inlinePolicy) judge(at int64, slow bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if slow && at < p.slowUntil.Load() {
		return // one incident that several workers report, and these have begun before the penalty
	}
	if !slow {
		p.score = max(p.score-1, 0)
	} else if p.score += slowScore; p.score >= slowEnough {
		p.score = afterSlow
		p.penalize(at)
	}
	p.suspected.Store(p.score > 0)
}

// penalize sends all handlers to the runner for a while, which doubles if it happens again soon. The caller holds mu.
func (p *inlinePolicy) penalize(at int64) {
	if at-p.slowUntil.Load() > calmPenalty*int64(p.penalty) {
		p.penalty = 0
	}
	p.penalties.Add(1)
	p.penalty = min(max(minPenalty, 2*p.penalty), maxPenalty)
	p.slowUntil.Store(at + int64(p.penalty))
}

// share is how many events to fetch at a time, at most most. alone says that no other worker can poll meanwhile.
func (p *inlinePolicy) share(most int, alone bool) int {
	each := p.each.Load() + int64(serviceTime)
	n := int64(aloneTime) / each
	switch {
	case alone && each < int64(quickService):
		return most
	case !alone: // fewer than four cost more each: a batch of them is not worth a ring
		n = max(int64(turnTime)/each, min(n, leastBatch))
	}
	return int(min(max(n, 1), int64(most)))
}

// work is what n requests take, about.
func (p *inlinePolicy) work(n int) int64 { return int64(n) * (p.each.Load() + int64(serviceTime)) }

// overrun reports whether the rest of a batch should go to the runner, after the handlers so far took so long, and the last
// one of them.
func (p *inlinePolicy) overrun(took, last int64) bool {
	return took > 2*int64(aloneTime) || last > int64(slowHandler)+4*p.each.Load()
}
