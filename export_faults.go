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
	defaultRingPolicy.broken.Store(nil)
	return func(patience time.Duration) error {
		pollers.setSize(size)
		list := pollers.current.Swap(old)
		defaultRingPolicy.broken.Store(nil)
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

func (t *slotTable) inUse() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.used
}

// BlocksOut is the number of blocks in use that were taken in memory debug mode.
func BlocksOut() int64 { return blocksOut.Load() }

// AlwaysRing makes pollers use a ring for every batch, or for none, until restore is called. possible says whether the
// system has rings.
func AlwaysRing(on bool) (restore func(), possible bool) {
	mode := IOUringOff
	if on {
		mode = IOUringAlways
	}
	old := defaultRingPolicy.mode.Swap(int32(mode))
	return func() { defaultRingPolicy.mode.Store(old) }, defaultRingPolicy.probe() == nil
}

// EventBits are the bits of untrue events. A connection must bear an untrue report that it can read or write, and any
// event after its close must be ignored.
var EventBits = fault.Bits{Untrue: uint8(evRead | evWrite), Stale: uint8(evRead | evWrite | evHup | evErr)}
