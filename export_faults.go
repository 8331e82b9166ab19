//go:build faults && linux && !netconn && !kqsim

package netpoll

// This file gives the tests of failing system calls, which are outside of the package, access to its internals. It
// exists with the build tag "faults" only.

import (
	"fmt"
	"time"

	"github.com/cloudwego/netpoll/internal/fault"
)

// FreshPollers makes the process start pollers anew, two of them, when they are next needed, and makes it forget that a
// ring failed. The function it returns releases those pollers, waits for their end, and puts the old ones back. Its
// error says that a poller did not end, which means that it still watches a descriptor.
func FreshPollers() (end func(patience time.Duration) error) {
	size := pollers.setSize(2)
	old := pollers.current.Swap(nil)
	defaultExecutors.forget()
	return func(patience time.Duration) error {
		pollers.setSize(size)
		list := pollers.current.Swap(old)
		defaultExecutors.forget()
		if list == nil {
			return nil
		}
		limit := time.After(patience)
		for _, p := range *list {
			p.retire()
			select {
			case <-p.done:
			case <-limit:
				return fmt.Errorf("a poller has not ended: %d slots are in use", p.slots.inUse())
			}
		}
		return nil
	}
}

func (s *pollerSet) setSize(n int) (old int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	old, s.size = s.size, n
	return old
}

// BlocksOut is the number of blocks in use that were taken in memory debug mode.
func BlocksOut() int64 { return blocksOut.Load() }

// forget ends the memory of those that failed.
func (e *executors) forget() {
	e.ring.broken.Store(nil)
	e.aio.broken.Store(nil)
}

// AlwaysRing makes pollers use a ring for every batch, one of io_uring or of AIO as name says, or for none, until restore
// is called. It reports whether there can be one.
func AlwaysRing(name string) (restore func(), possible bool) {
	e := defaultExecutors
	modes := map[*executorPolicy]executorMode{e.ring: executorOff, e.aio: executorOff}
	possible = true
	for u := range modes {
		if u.kind.name == name {
			modes[u], possible = executorAlways, u.probe() == nil
		}
	}
	ring := e.ring.mode.Swap(int32(modes[e.ring]))
	aio := e.aio.mode.Swap(int32(modes[e.aio]))
	return func() {
		e.ring.mode.Store(ring)
		e.aio.mode.Store(aio)
	}, possible
}

// EventBits are the bits of untrue events. A connection must bear an untrue report that it can read or write, and any
// event after its close must be ignored.
var EventBits = fault.Bits{Untrue: uint8(evRead | evWrite), Stale: uint8(evRead | evWrite | evHup | evErr)}
