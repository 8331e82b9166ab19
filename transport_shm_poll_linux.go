//go:build !netconn && !kqsim

package netpoll

// This file holds busy polling: a goroutine that waits for input looks at the memory itself, for a limited time, before it
// leaves that to the poller. Meanwhile the peer finds no flag that asks for a wake-up.

import (
	"runtime"
	"sync/atomic"
	"time"

	"github.com/cloudwego/netpoll/internal/interleave/clock"
)

const (
	// vainPolls is how many polls in a row may find nothing before others are left out.
	vainPolls = 4
	// pollSkips is how many waits there are for one that polls then.
	pollSkips = 16
	// looksPerYield is how often a goroutine looks before it lets others run, and asks for the time.
	looksPerYield = 32
)

// maxBusyPoll is the longest that a goroutine polls.
const maxBusyPoll = time.Millisecond

func (c *ShmConfig) busyPoll() time.Duration {
	if runtime.NumCPU() == 1 {
		return 0 // the peer could not run meanwhile
	}
	return min(max(c.BusyPoll, 0), maxBusyPoll)
}

// shmPolling is when a transport polls.
type shmPolling struct {
	limit   int64        // how long, in nanoseconds; 0 for never. Constant
	vain    atomic.Int32 // polls in a row that have found nothing
	skipped atomic.Int32 // waits without polling
	asleep  atomic.Int64 // when the last wait was left to the poller, as clock.Now counts; 0 if it has ended
	stopped atomic.Bool  // the connection is closing
}

// due reports whether to poll now.
func (p *shmPolling) due() bool {
	switch {
	case p.limit == 0 || p.stopped.Load():
		return false
	case p.vain.Load() < vainPolls:
		return true
	}
	return p.skipped.Add(1)%pollSkips == 0
}

// note notes the result of a poll or, if there was none, that the wait is left to the poller.
func (p *shmPolling) note(polled, found bool) {
	switch {
	case found:
		p.vain.Store(0)
		p.asleep.Store(0)
		return
	case polled && p.vain.Load() < vainPolls:
		p.vain.Add(1)
	}
	p.asleep.Store(clock.Now())
}

// arrived is called for input. If the wait for it was short, with the time of waking this side, polling is worth it again.
func (p *shmPolling) arrived() {
	if p.limit == 0 {
		return
	}
	if since := p.asleep.Swap(0); since != 0 && clock.Now()-since <= 2*p.limit {
		p.vain.Store(0)
	}
}

// pollInput implements pollingTransport.
func (s *shmTransport) pollInput(until int64) bool {
	if s.up.interest()&evRead == 0 {
		return false
	}
	if !s.busy.due() {
		s.busy.note(false, false)
		return false
	}
	before := s.pair.Taken()
	s.pair.AwakeForInput()
	found := s.awaitInput(before, min(until, clock.Now()+s.busy.limit))
	s.busy.note(true, found)
	if found && s.pair.Taken() == before {
		found = s.receiveNow()
	}
	_ = s.updateInterest() // the peer wakes this side from now on, and the poller reports what came before
	return found
}

// receiveNow receives, unless another goroutine does so now. That one wakes the caller.
func (s *shmTransport) receiveNow() bool {
	if !s.receiving.TryLock() {
		return false
	}
	defer s.receiving.Unlock()
	s.handle(0, new(batch))
	return true
}

// awaitInput looks until there is input, or the poller has taken some, which was before.
func (s *shmTransport) awaitInput(before uint64, until int64) (found bool) {
	for !s.busy.stopped.Load() {
		for range looksPerYield {
			if s.pair.Input() || s.pair.Taken() != before {
				return true
			}
		}
		runtime.Gosched()
		if clock.Now() >= until {
			return false
		}
	}
	return false
}
