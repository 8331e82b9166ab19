// Package interleave runs a small concurrent scenario under every schedule with a limited number of preemptions.
//
// The explored code calls [Step] before each operation on shared memory, and [Await] where it would block. Between two
// such calls exactly one thread of the scenario runs, so a schedule is a list of choices: which thread goes on at each
// step. [Explore] makes them in every possible way, depth first, and runs the scenario from its beginning for each. A
// switch away from a thread that could have gone on is a preemption; most mistakes need one or two of them.
//
// The packages atomic and sync below this one have the types of the standard library that the library uses, under the
// same names: they are these very types, and with the build tag interleave they are types that call Step and Await. So
// the code that is explored is the code that is shipped. Package clock beside them has the time, which then is that of
// the schedule.
//
// It finds mistakes that depend on the order of steps. Atomics and locks are sequentially consistent in Go, so code
// that shares nothing else has no other races; the race detector shows whether it does.
package interleave

import (
	"fmt"
	"runtime"
	"slices"
	"sync/atomic"
	"time"
)

const (
	// maxSteps is after how many steps a schedule is taken for endless.
	maxSteps = 10_000
	// patience is how long a schedule may take before one of its threads is taken to be blocked outside of Await.
	patience = 10 * time.Second
)

// active is the run that is going on; stored by the goroutine that explores. There is one at a time in a process.
var active atomic.Pointer[Run]

// Run is one run of a scenario. Its methods are for the scenario's setup, before any thread runs, and for its threads.
type Run struct {
	threads []*thread
	current *thread
	plan    []int // the choices to make; after its end the first of each
	taken   []int // the choices made
	widths  []int // among how many each was
	bound   int   // the most preemptions; less than 0 for any number
	used    int   // preemptions
	steps   int
	clock   int64
	timers  int

	quiet  []any
	checks []func()

	failure string
	tracing bool
	trace   []string
	ending  bool // remaining threads only have to end: nothing is a step any more
	closing bool // they end one after the other, for end
	blocked bool // a thread is blocked outside of Await
	over    chan struct{}
	runable []*thread // room for pick
}

// thread is one goroutine of a scenario.
type thread struct {
	name   string
	turn   chan struct{} // holds one
	gone   chan struct{} // closed at its end
	ready  func() bool   // what it waits for, if it does
	where  string        // it is, if it waits
	daemon bool          // it need not end
	begun  bool          // it has made a step
	done   bool
}

// Active returns the run that is going on, or nil.
func Active() *Run {
	if r := active.Load(); r != nil && !r.ending {
		return r
	}
	return nil
}

// Ending reports whether a run is over whose threads have yet to end, one after the other: then no thread may wait.
func Ending() bool {
	r := active.Load()
	return r != nil && r.ending
}

// Step is called before an operation on obj, a pointer, that other threads may see or have made before.
func Step(op string, obj any) {
	if r := active.Load(); r != nil {
		r.step(op, obj, nil)
	}
}

// Await is called before an operation on obj that has to wait until ready holds; the operation itself must follow
// before the next Step. It returns false if no run is going on, or it is over: then the caller waits in its usual way.
// Ready must change nothing.
func Await(op string, obj any, ready func() bool) bool {
	r := active.Load()
	if r == nil || r.ending {
		return false
	}
	r.step(op, obj, ready)
	return true
}

// Idle is called by a thread that goes round a loop and has found nothing to do. It goes on when another thread has
// made a step, or if none can: then the loop is one without end.
func (r *Run) Idle() {
	if r.ending {
		return
	}
	t, seen := r.current, r.steps
	r.step("idle", t, func() bool { return r.steps > seen+1 || !r.othersCanRun(t) })
}

func (r *Run) othersCanRun(t *thread) bool {
	return slices.ContainsFunc(r.threads, func(other *thread) bool { return other != t && other.canRun() })
}

// Go adds a thread. The run is over when no thread can go on; threads added by Go must have ended then. What a thread
// does before its first step is part of that step.
func (r *Run) Go(name string, f func()) { r.add(name, false, nil, f) }

// Daemon adds a thread that need not end: it serves the others as long as there is work. It begins when ready, which
// must change nothing, holds.
func (r *Run) Daemon(name string, ready func() bool, f func()) { r.add(name, true, ready, f) }

func (r *Run) add(name string, daemon bool, ready func() bool, f func()) {
	if r.ending {
		return
	}
	for i, n := 2, name; slices.ContainsFunc(r.threads, func(t *thread) bool { return t.name == name }); i++ {
		name = fmt.Sprintf("%s#%d", n, i)
	}
	t := &thread{name: name, daemon: daemon, ready: ready, turn: make(chan struct{}, 1), gone: make(chan struct{})}
	r.threads = append(r.threads, t)
	if r.current != nil {
		r.current.begun = true // others can see that
	}
	go func() {
		defer close(t.gone)
		<-t.turn
		defer r.ended(t)
		if !r.ending {
			f()
		}
	}()
}

// Check adds a function that is called when all threads have ended, to report mistakes with Failf.
func (r *Run) Check(f func()) { r.checks = append(r.checks, f) }

// Quiet says that no operation on these objects, given by pointer, is a step of its own. That loses nothing if they do
// not change while the threads run.
func (r *Run) Quiet(objs ...any) { r.quiet = append(r.quiet, objs...) }

// Failf reports a failure; the first one counts, and ends the run at the next step of a thread.
func (r *Run) Failf(format string, args ...any) {
	if r.failure == "" && !r.ending {
		r.failure = fmt.Sprintf(format, args...)
	}
}

// Now is the time of the run, in nanoseconds. It stands still but for Advance.
func (r *Run) Now() int64 { return r.clock }

// Advance lets time pass.
func (r *Run) Advance(d time.Duration) { r.clock += int64(d) }

// After adds a thread that begins when d has passed, unless stop is called first.
func (r *Run) After(d time.Duration, f func()) (stop func() (stopped bool)) {
	at := r.clock + int64(d)
	var begun, stopped bool
	r.timers++
	r.Daemon(fmt.Sprintf("timer %d", r.timers), func() bool { return !stopped && r.clock >= at }, func() {
		r.step("expire", nil, nil)
		if begun = true; !stopped {
			f()
		}
	})
	return func() bool {
		was := begun || stopped
		stopped = true
		return !was
	}
}

// step lets other threads run, and returns when it is the caller's turn.
func (r *Run) step(op string, obj any, ready func() bool) {
	t := r.current
	if r.ending || t == nil { // t is nil before the first thread runs
		return
	}
	if r.failure != "" {
		r.giveUp()
	}
	if ready == nil && slices.Contains(r.quiet, obj) {
		return
	}
	if r.steps++; r.steps > maxSteps {
		r.Failf("no end after %d steps", maxSteps)
		r.giveUp()
	}
	t.ready = ready
	if r.tracing {
		t.where = where(op)
	}
	first := !t.begun
	t.begun = true
	if first && t.canRun() {
		// The beginning of a thread and its first step are one choice.
	} else if next := r.pick(t); next != t {
		r.pass(next)
		<-t.turn
		if r.ending {
			runtime.Goexit()
		}
	}
	t.ready = nil
	if r.tracing {
		r.trace = append(r.trace, fmt.Sprintf("%-12s %s", t.name, t.where))
	}
}

// giveUp ends the thread that runs, and with it the run, which has failed.
func (r *Run) giveUp() {
	r.ending = true
	runtime.Goexit()
}

// pass gives the turn to next, or ends the run if there is none.
func (r *Run) pass(next *thread) {
	if next == nil {
		r.over <- struct{}{}
		return
	}
	r.current = next
	next.turn <- struct{}{}
}

// ended is the last thing a thread does.
func (r *Run) ended(t *thread) {
	if v := recover(); v != nil && !r.ending {
		stack := ""
		if r.tracing {
			stack = "\n" + stackOf()
		}
		r.Failf("%s panicked: %v%s", t.name, v, stack)
	}
	if t.done = true; r.closing {
		return
	}
	if r.failure != "" {
		r.pass(nil)
		return
	}
	r.pass(r.pick(t))
}

// pick chooses the thread that goes on after t, which may be nil, done, or waiting. It returns nil at the end.
func (r *Run) pick(t *thread) *thread {
	can := r.runable[:0]
	goesOn := t != nil && t.canRun()
	if goesOn {
		can = append(can, t)
	}
	if !goesOn || r.bound < 0 || r.used < r.bound {
		for _, other := range r.threads {
			if other != t && other.canRun() {
				can = append(can, other)
			}
		}
	}
	r.runable = can
	switch {
	case len(can) == 0:
		if slices.ContainsFunc(r.threads, func(t *thread) bool { return !t.done && !t.daemon }) {
			r.Failf("deadlock:%s", r.waiting())
		}
		return nil
	case len(can) == 1:
		return can[0]
	}
	choice := 0
	if d := len(r.taken); d < len(r.plan) {
		choice = r.plan[d]
	}
	r.taken, r.widths = append(r.taken, choice), append(r.widths, len(can))
	if goesOn && choice != 0 {
		r.used++
	}
	return can[choice]
}

func (t *thread) canRun() bool { return !t.done && (t.ready == nil || t.ready()) }

// waiting lists the threads that wait.
func (r *Run) waiting() (list string) {
	for _, t := range r.threads {
		if !t.done {
			list += fmt.Sprintf("\n  %s waits: %s", t.name, t.where)
		}
	}
	return list
}
