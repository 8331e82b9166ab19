//go:build (linux && !netconn) || darwin || dragonfly || freebsd || netbsd || openbsd

package netpoll

// This file holds the word of a worker: what of the worker's another goroutine may take while its handlers run.

import "github.com/cloudwego/netpoll/internal/interleave/atomic"

// handOff is that word. While a worker runs the tasks of its batch, bit 0 says that those which have not begun may be
// taken, bit 1 that the leadership may, and bits 2–19 which task runs. The rest counts batches, so that nobody can
// mistake one for another.
//
//	                      tasks  leadership
//	none of it              –        –       the worker leads and looks, or it follows
//	after offer             yes      yes     its tasks run
//	a follower came         yes      –       its tasks run, another worker leads
//	after withdrawTasks     –        yes     it sends what its tasks have left; it takes the leadership back afterwards
//	a follower came         –        –       the same, and then it follows
//
// Only a follower takes the leadership alone. A watchdog, or a handler that waits, takes all that there is, and goes on in
// the worker's place.
type handOff struct{ v atomic.Uint64 }

const (
	offersTasks = 1
	offersLead  = 1 << 1
	offerTask   = 1 << 2
	offerCount  = 1 << 20
)

// offer lets both be taken while the first task runs. The worker leads. The mark is for the next three.
func (h *handOff) offer() (mark uint64) {
	mark = h.v.Load()&^(offerCount-1) + offerCount | offersTasks | offersLead
	h.v.Store(mark)
	return mark
}

// next goes on to the next task, unless the tasks have been taken.
func (h *handOff) next(mark uint64) (next uint64, ok bool) {
	if mark&offersLead != 0 {
		if h.v.CompareAndSwap(mark, mark+offerTask) {
			return mark + offerTask, true
		}
		mark &^= offersLead // a follower leads, or all has been taken
	}
	return mark + offerTask, h.v.CompareAndSwap(mark, mark+offerTask)
}

// withdraw ends what offer began, unless the tasks have been taken. leads says that the leadership has not been taken.
func (h *handOff) withdraw(mark uint64) (leads, ok bool) {
	if mark&offersLead != 0 {
		if h.v.CompareAndSwap(mark, mark&^(offerCount-1)) {
			return true, true
		}
		mark &^= offersLead
	}
	return false, h.v.CompareAndSwap(mark, mark&^(offerCount-1))
}

// withdrawTasks is withdraw for the tasks alone: if the leadership may be taken it still may.
func (h *handOff) withdrawTasks(mark uint64) (ok bool) {
	if mark&offersLead != 0 {
		if h.v.CompareAndSwap(mark, mark&^(offerCount-1)|offersLead) {
			return true
		}
		mark &^= offersLead
	}
	return h.v.CompareAndSwap(mark, mark&^(offerCount-1))
}

// takeAll takes the tasks that have not begun, and the leadership if it may be taken too. The task with the index running
// stays with the goroutine that began it.
func (h *handOff) takeAll() (running int, leads, ok bool) {
	for v := h.v.Load(); v&offersTasks != 0; v = h.v.Load() {
		if h.v.CompareAndSwap(v, v&^(offerCount-1)+offerCount) {
			return int(v&(offerCount-1)) / offerTask, v&offersLead != 0, true
		}
	}
	return 0, false, false
}

// takeLead takes the leadership alone, if it may be taken.
func (h *handOff) takeLead() bool {
	for v := h.v.Load(); v&offersLead != 0; v = h.v.Load() {
		if h.v.CompareAndSwap(v, v&^offersLead) {
			return true
		}
	}
	return false
}
