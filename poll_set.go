//go:build (linux && !netconn) || darwin || dragonfly || freebsd || netbsd || openbsd

package netpoll

// This file holds the set of pollers that all connections share: how many there are, and which one the next
// descriptor goes to. The set starts no goroutine before it is first needed.

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
)

// pollers is the one set of the process.
var pollers pollerSet

type pollerSet struct {
	// current is replaced under mu when the set starts or its size changes.
	current atomic.Pointer[[]*poller]
	balance atomic.Int32  // a LoadBalance
	turn    atomic.Uint32 // the round robin counter

	// mu serialises starting and resizing and guards size.
	mu   sync.Mutex
	size int // asked for; 0 means defaultPollers
}

// defaultPollers is chosen by measurement; see docs/design.md.
func defaultPollers() int {
	return max(1, (runtime.GOMAXPROCS(0)+3)/4)
}

// pickPoller returns the poller for a new descriptor and starts the set if this is its first use.
func pickPoller() (*poller, error) { return pollers.pick() }

func (s *pollerSet) pick() (*poller, error) {
	list := s.current.Load()
	for list == nil {
		if err := s.init(); err != nil {
			return nil, err
		}
		list = s.current.Load()
	}
	ps := *list
	if len(ps) == 1 {
		return ps[0], nil
	}
	if LoadBalance(s.balance.Load()) == Random {
		return ps[rand.IntN(len(ps))], nil
	}
	return ps[s.turn.Add(1)%uint32(len(ps))], nil
}

// init starts the set unless it has been started. After an error the next call tries again.
func (s *pollerSet) init() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.current.Load() != nil {
		return nil
	}
	n := s.size
	if n == 0 {
		n = defaultPollers()
	}
	return s.adjust(n)
}

// resize changes the number of pollers. Surplus pollers take no new descriptors and end when their last one is closed;
// until then they go on as before.
func (s *pollerSet) resize(n int) error {
	if n < 1 {
		return fmt.Errorf("netpoll: set number of pollers to %d: must be at least 1", n)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.current.Load() != nil {
		if err := s.adjust(n); err != nil {
			return err
		}
	}
	s.size = n
	return nil
}

// adjust makes the set n pollers large, or leaves it as it was and returns an error. The caller holds mu.
func (s *pollerSet) adjust(n int) error {
	var old []*poller
	if list := s.current.Load(); list != nil {
		old = *list
	}
	keep := min(n, len(old))
	next := append(make([]*poller, 0, n), old[:keep]...)
	for len(next) < n {
		p, err := newPoller(s.drop)
		if err != nil {
			for _, started := range next[keep:] {
				started.retire()
			}
			return fmt.Errorf("netpoll: start poller: %w", err)
		}
		next = append(next, p)
	}
	s.current.Store(&next)
	for _, surplus := range old[keep:] {
		surplus.retire()
	}
	return nil
}

// drop takes a poller that failed out of the set. If it was the last one, the next pick starts another.
func (s *pollerSet) drop(p *poller) {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := s.current.Load()
	if list == nil {
		return
	}
	rest := slices.DeleteFunc(slices.Clone(*list), func(q *poller) bool { return q == p })
	if len(rest) == 0 {
		s.current.Store(nil)
	} else {
		s.current.Store(&rest)
	}
}

// setBalance changes how new connections are spread.
func (s *pollerSet) setBalance(lb LoadBalance) error {
	if lb != RoundRobin && lb != Random {
		return fmt.Errorf("netpoll: unknown load balance %d", int(lb))
	}
	s.balance.Store(int32(lb))
	return nil
}
