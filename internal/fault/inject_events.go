//go:build faults

package fault

// This file holds faults of the events that a poller sees.

import "sync/atomic"

// EventHook is given the events of a look that found any, and returns those that the poller is to see: in another order,
// twice, with some that are not true. stale are events of the past, of descriptors that have been closed since. It must
// not leave out one of seen, because the kernel reports some events only once. The goroutine that polls calls it.
type EventHook func(seen, stale []Event) []Event

// currentEvents is the hook in force; stored by SetEventHook.
var currentEvents atomic.Pointer[EventHook]

// SetEventHook makes h decide from now on; nil shows every poller the true events.
func SetEventHook(h EventHook) {
	if h == nil {
		currentEvents.Store(nil)
		return
	}
	currentEvents.Store(&h)
}

// maxPast is how many events of the past a poller remembers.
const maxPast = 64

// Events are the events of one look at a poller's queue, as the poller shall see them. It belongs to the goroutine that
// polls.
type Events struct{ list, past []Event }

// Note takes the n events of a look, of which at returns the i-th, and returns how many to handle. watched reports
// whether token still is the token of a watch.
func (s *Events) Note(n int, at func(i int) Event, watched func(token uint64) bool) int {
	s.list = s.list[:0]
	for i := range n {
		s.list = append(s.list, at(i))
	}
	h := currentEvents.Load()
	if h == nil || n == 0 {
		return n
	}
	var stale []Event
	for _, e := range s.past {
		if !watched(e.Token) {
			stale = append(stale, e)
		}
	}
	s.past = append(s.past, s.list...)
	s.past = s.past[max(0, len(s.past)-maxPast):]
	s.list = (*h)(s.list, stale)
	return len(s.list)
}

// At is the i-th of the events to handle.
func (s *Events) At(i int) Event { return s.list[i] }
