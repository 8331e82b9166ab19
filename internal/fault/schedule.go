//go:build faults && unix

package fault

// This file holds the faults: the errors that each system call can plausibly give, one fault at one call, and schedules
// that a seed decides. A decision depends on the seed, the kind of call and how many of its kind came before, and on
// nothing else, so a seed that found something finds it again.

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// Short stands among the errors for a call that moves a single byte.
const Short = syscall.Errno(0)

// plausible holds what each call may fail with.
var plausible = [ops][]syscall.Errno{
	Recv: {Short, syscall.EAGAIN, syscall.EINTR, syscall.ECONNRESET, syscall.ETIMEDOUT, syscall.ENOMEM},
	Send: {Short, syscall.EAGAIN, syscall.EINTR, syscall.EPIPE, syscall.ECONNRESET, syscall.ENOBUFS,
		syscall.ENOMEM, syscall.ETIMEDOUT},
	Sendv: {Short, syscall.EAGAIN, syscall.EINTR, syscall.EPIPE, syscall.ECONNRESET, syscall.ENOBUFS,
		syscall.ENOMEM},
	Accept: {syscall.EAGAIN, syscall.EINTR, syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM,
		syscall.ECONNABORTED, syscall.EPROTO, syscall.EINVAL},
	Socket:      {syscall.EMFILE},
	Connect:     {syscall.ECONNREFUSED, syscall.ETIMEDOUT, syscall.EADDRNOTAVAIL},
	EpollCreate: {syscall.EMFILE, syscall.ENOMEM},
	EpollCtlAdd: {syscall.ENOMEM, syscall.ENOSPC},
	EpollCtlMod: {syscall.ENOMEM},
	EpollWait:   {syscall.EINTR, syscall.EBADF},
	Ring:        {Short, syscall.EBADF, syscall.ENXIO},
	RingSetup:   {syscall.ENOMEM, syscall.EMFILE, syscall.EPERM},
	Setsockopt:  {syscall.EINVAL},
	Shutdown:    {syscall.ENOTCONN},
	Dup:         {syscall.EMFILE},
	Close:       {syscall.EIO, syscall.EINTR},
	Listen:      {syscall.EADDRINUSE},
	Nonblock:    {syscall.EBADF},
	Stat:        {syscall.EBADF},
	Timer:       {syscall.EMFILE, syscall.ENOMEM},
	Pipe:        {syscall.EMFILE, syscall.ENFILE},
	SpliceIn: {Short, syscall.EAGAIN, syscall.EINTR, syscall.EINVAL, syscall.ENOSYS, syscall.ECONNRESET,
		syscall.ETIMEDOUT, syscall.ENOMEM},
	SpliceOut: {Short, syscall.EAGAIN, syscall.EINTR, syscall.EINVAL, syscall.ENOSYS, syscall.EPIPE,
		syscall.ECONNRESET, syscall.ENOMEM},
	Sendfile: {Short, syscall.EAGAIN, syscall.EINTR, syscall.EINVAL, syscall.ENOSYS, syscall.EPIPE,
		syscall.ECONNRESET, syscall.ENOMEM, syscall.EIO},
	// Not EAGAIN: goroutines that wait for datagrams do so by the runtime's poller, which reports only once.
	RecvPackets: {Short, syscall.EINTR, syscall.ECONNREFUSED, syscall.ENOMEM},
	SendPackets: {Short, syscall.EINTR, syscall.ECONNREFUSED, syscall.ENOBUFS, syscall.EPERM},
}

// harmless reports whether a fault must not be seen by any user: the library makes the call again, now or later, or has
// another way.
func harmless(op Op, errno syscall.Errno) bool {
	switch op {
	case Ring, RingSetup, Timer, Close, Pipe:
		return true
	case SpliceIn, SpliceOut, Sendfile:
		if errno == syscall.EINVAL || errno == syscall.ENOSYS {
			return true
		}
	case Accept:
		return errno != syscall.EINVAL
	}
	return errno == Short || errno == syscall.EAGAIN || errno == syscall.EINTR
}

// Fault is one fault: the Nth call of an operation fails.
type Fault struct {
	op    Op
	nth   int64
	errno syscall.Errno
}

func (f Fault) String() string {
	if f.errno == Short {
		return fmt.Sprintf("%v#%d=short", f.op, f.nth)
	}
	return fmt.Sprintf("%v#%d=errno %d", f.op, f.nth, int(f.errno))
}

// Harmless reports whether the fault must not be seen by any user.
func (f Fault) Harmless() bool { return harmless(f.op, f.errno) }

// AtAccept reports whether accept fails: a server goes on after that, but a call of Accept returns.
func (f Fault) AtAccept() bool { return f.op == Accept }

// HidesNewConnection reports whether accept finds no connection although one is waiting. No kernel does that, and the
// runtime's poller, which wakes callers of Accept, reports a new connection only once.
func (f Fault) HidesNewConnection() bool { return f.op == Accept && f.errno == syscall.EAGAIN }

// Calls counts calls by their kind.
type Calls [ops]int64

// Counts are how often each fault happened.
type Counts struct {
	mu    sync.Mutex
	kinds map[string]int64 // by call and error; guarded by mu
}

// Totals counts the faults of the whole test run.
var Totals Counts

// Note counts a fault.
func (c *Counts) Note(op Op, errno syscall.Errno) {
	name := op.String() + " short"
	if errno != Short {
		name = op.String() + " " + errno.Error()
	}
	c.noteKind(name)
}

func (c *Counts) noteKind(name string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.kinds == nil {
		c.kinds = make(map[string]int64)
	}
	c.kinds[name]++
}

// Lines lists the faults by kind.
func (c *Counts) Lines() (lines []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	total := int64(0)
	for name, n := range c.kinds {
		lines = append(lines, fmt.Sprintf("%-48s %d", name, n))
		total += n
	}
	slices.Sort(lines)
	return append(lines, fmt.Sprintf("%-48s %d", "all", total))
}

// Schedule decides the result of each call. With a Fault it makes just that happen, with a Rate it picks calls at
// random, and an empty Schedule only counts.
type Schedule struct {
	Seed     uint64
	Only     *Fault
	Rate     float64 // of calls that fail
	Harmless bool    // no fault that a user would see
	// AcceptFails lets accept be among the calls picked: a caller of Accept sees errors that a server would survive.
	AcceptFails bool
	// Scramble, unless it is empty, makes pollers see events out of order, twice, and some that are not true.
	Scramble Bits

	calls [ops]atomic.Int64
	fired atomic.Int64
	looks atomic.Int64
}

// Bits are the bits of untrue events, as a poller has them.
type Bits struct {
	Untrue uint8 // added to an event of a watch, whose handler must bear that
	Stale  uint8 // added to an event of a closed watch
}

// Use makes s decide on every system call from now on; nil lets every call be made.
func Use(s *Schedule) {
	if s == nil {
		SetHook(nil)
		SetEventHook(nil)
		return
	}
	SetHook(s.decide)
	if s.Scramble != (Bits{}) {
		SetEventHook(s.scramble)
	}
}

// Fired is how many faults there were.
func (s *Schedule) Fired() int64 { return s.fired.Load() }

// Calls is how many calls of each kind there were.
func (s *Schedule) Calls() (c Calls) {
	for op := range s.calls {
		c[op] = s.calls[op].Load()
	}
	return c
}

// dice are the random numbers of one call.
func (s *Schedule) dice(op Op, nth int64) *rand.Rand {
	return rand.New(rand.NewPCG(s.Seed, uint64(op)<<48|uint64(nth)))
}

// decide is a Hook.
func (s *Schedule) decide(op Op, size int) (limit int, errno syscall.Errno) {
	nth := s.calls[op].Add(1)
	errno, ok := s.pick(op, nth)
	if !ok || errno == Short && size < 2 {
		return size, 0
	}
	s.fired.Add(1)
	Totals.Note(op, errno)
	if errno == Short {
		return max(1, size/7), 0
	}
	return size, errno
}

// pick returns the error of the call, if it shall fail.
func (s *Schedule) pick(op Op, nth int64) (errno syscall.Errno, ok bool) {
	if s.Only != nil {
		return s.Only.errno, s.Only.op == op && s.Only.nth == nth
	}
	if s.Rate == 0 || op == Accept && !s.AcceptFails {
		return 0, false
	}
	dice := s.dice(op, nth)
	if dice.Float64() >= s.Rate {
		return 0, false
	}
	if dice.IntN(16) == 0 {
		<-time.After(time.Duration(dice.IntN(int(time.Millisecond)))) // a slow kernel is the fault
		Totals.noteKind("delay")
		return 0, false
	}
	errno = plausible[op][dice.IntN(len(plausible[op]))]
	return errno, !s.Harmless || harmless(op, errno)
}

// scramble is an EventHook.
func (s *Schedule) scramble(seen, stale []Event) []Event {
	dice := s.dice(ops, s.looks.Add(1))
	list := slices.Clone(seen)
	if dice.IntN(2) == 0 {
		list = append(list, list[dice.IntN(len(list))])
		Totals.noteKind("event seen twice")
	}
	if dice.IntN(2) == 0 {
		untrue := list[dice.IntN(len(list))]
		untrue.Bits |= s.Scramble.Untrue
		list = append(list, untrue)
		Totals.noteKind("event not true")
	}
	if len(stale) > 0 {
		old := stale[dice.IntN(len(stale))]
		old.Bits |= s.Scramble.Stale
		list = append(list, old)
		Totals.noteKind("event of a closed descriptor")
	}
	dice.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
	if len(list) > 1 {
		Totals.noteKind("events shuffled")
	}
	return list
}

// String lists the numbers of calls.
func (c Calls) String() string {
	var list []string
	for op, n := range c {
		if n > 0 {
			list = append(list, fmt.Sprintf("%d %v", n, Op(op)))
		}
	}
	return strings.Join(list, ", ")
}

// Sum is the number of all calls.
func (c Calls) Sum() (n int64) {
	for _, calls := range c {
		n += calls
	}
	return n
}

// EachFault lists every plausible fault of a run that made the calls c. If some is above 0 it picks that many calls of
// each kind at random.
func (c Calls) EachFault(seed uint64, some int) (list []Fault) {
	for op, n := range c {
		for _, errno := range plausible[op] {
			if some == 0 || n <= int64(some) {
				for nth := range n {
					list = append(list, Fault{Op(op), nth + 1, errno})
				}
				continue
			}
			dice := rand.New(rand.NewPCG(seed, uint64(op)<<16|uint64(errno)))
			for range some {
				list = append(list, Fault{Op(op), dice.Int64N(n) + 1, errno})
			}
		}
	}
	return list
}
