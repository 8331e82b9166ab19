//go:build faults && linux && !netconn && !kqsim

package netpoll

// What is to go wrong: the errors that each system call can plausibly give, one fault at one call, and schedules that a
// seed decides. A decision depends on the seed, the kind of call and how many of its kind came before, and on nothing
// else, so a seed that found something finds it again.

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

// shortTransfer stands among the errors for a call that moves a single byte.
const shortTransfer = syscall.Errno(0)

// plausible holds what each call may fail with.
var plausible = [sysOps][]syscall.Errno{
	opRecv: {shortTransfer, syscall.EAGAIN, syscall.EINTR, syscall.ECONNRESET, syscall.ETIMEDOUT, syscall.ENOMEM},
	opSend: {shortTransfer, syscall.EAGAIN, syscall.EINTR, syscall.EPIPE, syscall.ECONNRESET, syscall.ENOBUFS,
		syscall.ENOMEM, syscall.ETIMEDOUT},
	opSendv: {shortTransfer, syscall.EAGAIN, syscall.EINTR, syscall.EPIPE, syscall.ECONNRESET, syscall.ENOBUFS,
		syscall.ENOMEM},
	opAccept: {syscall.EAGAIN, syscall.EINTR, syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM,
		syscall.ECONNABORTED, syscall.EPROTO, syscall.EINVAL},
	opSocket:      {syscall.EMFILE},
	opConnect:     {syscall.ECONNREFUSED, syscall.ETIMEDOUT, syscall.EADDRNOTAVAIL},
	opEpollCreate: {syscall.EMFILE, syscall.ENOMEM},
	opEpollCtlAdd: {syscall.ENOMEM, syscall.ENOSPC},
	opEpollCtlMod: {syscall.ENOMEM},
	opEpollWait:   {syscall.EINTR, syscall.EBADF},
	opRing:        {shortTransfer, syscall.EBADF, syscall.ENXIO},
	opRingSetup:   {syscall.ENOMEM, syscall.EMFILE, syscall.EPERM},
	opSetsockopt:  {syscall.EINVAL},
	opShutdown:    {syscall.ENOTCONN},
	opDup:         {syscall.EMFILE},
	opCloseFd:     {syscall.EIO, syscall.EINTR},
	opListen:      {syscall.EADDRINUSE},
	opNonblock:    {syscall.EBADF},
	opStat:        {syscall.EBADF},
	opTimer:       {syscall.EMFILE, syscall.ENOMEM},
	opPipe:        {syscall.EMFILE, syscall.ENFILE},
	opSpliceIn: {shortTransfer, syscall.EAGAIN, syscall.EINTR, syscall.EINVAL, syscall.ENOSYS, syscall.ECONNRESET,
		syscall.ETIMEDOUT, syscall.ENOMEM},
	opSpliceOut: {shortTransfer, syscall.EAGAIN, syscall.EINTR, syscall.EINVAL, syscall.ENOSYS, syscall.EPIPE,
		syscall.ECONNRESET, syscall.ENOMEM},
	opSendfile: {shortTransfer, syscall.EAGAIN, syscall.EINTR, syscall.EINVAL, syscall.ENOSYS, syscall.EPIPE,
		syscall.ECONNRESET, syscall.ENOMEM, syscall.EIO},
}

// harmless reports whether a fault must not be seen by any user: the call is to be made again, now or later, or there
// is another way.
func harmless(op sysOp, errno syscall.Errno) bool {
	switch op {
	case opRing, opRingSetup, opTimer, opCloseFd, opPipe:
		return true
	case opSpliceIn, opSpliceOut, opSendfile:
		if errno == syscall.EINVAL || errno == syscall.ENOSYS {
			return true
		}
	case opAccept:
		return errno != syscall.EINVAL
	}
	return errno == shortTransfer || errno == syscall.EAGAIN || errno == syscall.EINTR
}

// Fault is one fault: the Nth call of an operation fails.
type Fault struct {
	op    sysOp
	nth   int64
	errno syscall.Errno
}

func (f Fault) String() string {
	if f.errno == shortTransfer {
		return fmt.Sprintf("%v#%d=short", f.op, f.nth)
	}
	return fmt.Sprintf("%v#%d=errno %d", f.op, f.nth, int(f.errno))
}

// Harmless reports whether the fault must not be seen by any user.
func (f Fault) Harmless() bool { return harmless(f.op, f.errno) }

// AtAccept reports whether it is an accept that fails: a server goes on, and a call of Accept returns.
func (f Fault) AtAccept() bool { return f.op == opAccept }

// HidesNewConnection reports whether it is an accept that finds nobody although somebody is there. The runtime's poller,
// which wakes callers of Accept, tells of a new connection once, and no kernel says that there is none.
func (f Fault) HidesNewConnection() bool { return f.op == opAccept && f.errno == syscall.EAGAIN }

// FaultCount counts calls by their kind.
type FaultCount [sysOps]int64

// FaultCounts are how often what went wrong.
type FaultCounts struct {
	mu    sync.Mutex
	kinds map[string]int64 // by call and error; guarded by mu
}

// FaultTotals counts the faults of the whole test run.
var FaultTotals FaultCounts

func (c *FaultCounts) note(op sysOp, errno syscall.Errno) {
	name := op.String() + " short"
	if errno != shortTransfer {
		name = op.String() + " " + errno.Error()
	}
	c.noteKind(name)
}

func (c *FaultCounts) noteKind(name string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.kinds == nil {
		c.kinds = make(map[string]int64)
	}
	c.kinds[name]++
}

// Lines lists the faults by kind.
func (c *FaultCounts) Lines() (lines []string) {
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

// FaultSchedule decides what becomes of each call. One with a Fault makes just that happen, one with a Rate picks calls
// at random, an empty one counts.
type FaultSchedule struct {
	Seed     uint64
	Only     *Fault
	Rate     float64 // of calls that fail
	Harmless bool    // no fault that a user would see
	// AcceptFails lets accept be among those picked: a caller of Accept sees what a server would survive.
	AcceptFails bool
	Scramble    bool // the poller sees events out of order, twice, and some that are not true

	calls [sysOps]atomic.Int64
	fired atomic.Int64
	looks atomic.Int64
}

// Fired is how many faults there were.
func (s *FaultSchedule) Fired() int64 { return s.fired.Load() }

// Calls is how many calls of each kind there were.
func (s *FaultSchedule) Calls() (c FaultCount) {
	for op := range s.calls {
		c[op] = s.calls[op].Load()
	}
	return c
}

// dice are the random numbers that belong to one call.
func (s *FaultSchedule) dice(op sysOp, nth int64) *rand.Rand {
	return rand.New(rand.NewPCG(s.Seed, uint64(op)<<48|uint64(nth)))
}

// decide is a faultHook.
func (s *FaultSchedule) decide(op sysOp, size int) (limit int, errno syscall.Errno) {
	nth := s.calls[op].Add(1)
	errno, ok := s.pick(op, nth)
	if !ok || errno == shortTransfer && size < 2 {
		return size, 0
	}
	s.fired.Add(1)
	FaultTotals.note(op, errno)
	if errno == shortTransfer {
		return max(1, size/7), 0
	}
	return size, errno
}

// pick returns what the call is to fail with, if it is to fail.
func (s *FaultSchedule) pick(op sysOp, nth int64) (errno syscall.Errno, ok bool) {
	if s.Only != nil {
		return s.Only.errno, s.Only.op == op && s.Only.nth == nth
	}
	if s.Rate == 0 || op == opAccept && !s.AcceptFails {
		return 0, false
	}
	dice := s.dice(op, nth)
	if dice.Float64() >= s.Rate {
		return 0, false
	}
	if dice.IntN(16) == 0 {
		time.Sleep(time.Duration(dice.IntN(int(time.Millisecond)))) // a slow kernel is the fault
		FaultTotals.noteKind("delay")
		return 0, false
	}
	errno = plausible[op][dice.IntN(len(plausible[op]))]
	return errno, !s.Harmless || harmless(op, errno)
}

// scramble is a sightHook.
func (s *FaultSchedule) scramble(seen, stale []sighting) []sighting {
	dice := s.dice(sysOps, s.looks.Add(1))
	list := slices.Clone(seen)
	if dice.IntN(2) == 0 {
		list = append(list, list[dice.IntN(len(list))])
		FaultTotals.noteKind("event seen twice")
	}
	if dice.IntN(2) == 0 {
		untrue := list[dice.IntN(len(list))]
		untrue.ev |= evRead | evWrite
		list = append(list, untrue)
		FaultTotals.noteKind("event not true")
	}
	if len(stale) > 0 {
		old := stale[dice.IntN(len(stale))]
		old.ev |= evRead | evWrite | evHup | evErr
		list = append(list, old)
		FaultTotals.noteKind("event of a closed descriptor")
	}
	dice.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
	if len(list) > 1 {
		FaultTotals.noteKind("events shuffled")
	}
	return list
}

// String lists the calls that there were.
func (c FaultCount) String() string {
	var list []string
	for op, n := range c {
		if n > 0 {
			list = append(list, fmt.Sprintf("%d %v", n, sysOp(op)))
		}
	}
	return strings.Join(list, ", ")
}

// Sum is the number of all calls.
func (c FaultCount) Sum() (n int64) {
	for _, calls := range c {
		n += calls
	}
	return n
}

// EachFault lists every plausible fault of a run that made so many calls. If some is above 0 it picks at random so many
// calls of each kind.
func (c FaultCount) EachFault(seed uint64, some int) (list []Fault) {
	for op, n := range c {
		for _, errno := range plausible[op] {
			if some == 0 || n <= int64(some) {
				for nth := range n {
					list = append(list, Fault{sysOp(op), nth + 1, errno})
				}
				continue
			}
			dice := rand.New(rand.NewPCG(seed, uint64(op)<<16|uint64(errno)))
			for range some {
				list = append(list, Fault{sysOp(op), dice.Int64N(n) + 1, errno})
			}
		}
	}
	return list
}
