package interleave

// This file holds the exploration: one run after the other, each with the next choices, and the report of a run that
// failed.

import (
	"fmt"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"time"
)

// Options limit an exploration.
type Options struct {
	Preemptions int // in one schedule; less than 0 for any number
	Schedules   int // in all; 0 for any number
}

// Result is what an exploration found.
type Result struct {
	Schedules int      // how many were run
	Steps     int      // the most steps of one of them
	Complete  bool     // there are no more
	Failure   *Failure // the first one, or nil
}

// Failure is a schedule under which the scenario fails.
type Failure struct {
	Message  string
	Schedule string   // for Replay
	Trace    []string // the steps, in order: who did what where
}

func (f *Failure) String() string {
	return fmt.Sprintf("%s\nschedule %q:\n  %s", f.Message, f.Schedule, strings.Join(f.Trace, "\n  "))
}

// Explore runs scenario under every schedule within the options, up to the first that fails. The scenario makes all its
// objects anew each time, and must depend on nothing but the schedule. No other code may use the explored code
// meanwhile.
func Explore(o Options, scenario func(r *Run)) (res Result) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1)) // one thread runs at a time anyway
	stuck := time.NewTimer(patience)
	defer stuck.Stop()
	for plan := []int(nil); ; {
		r := run(o.Preemptions, plan, false, scenario, stuck)
		res.Schedules++
		res.Steps = max(res.Steps, r.steps)
		if r.failure != "" {
			res.Failure = &Failure{Message: r.failure, Schedule: format(o.Preemptions, r.taken)}
			if !r.blocked {
				res.Failure = replay(o.Preemptions, r.taken, r.failure, scenario)
			}
			return res
		}
		plan = r.next()
		if plan == nil {
			res.Complete = true
			return res
		}
		if o.Schedules > 0 && res.Schedules >= o.Schedules {
			return res
		}
	}
}

// Replay runs one schedule, as a [Failure] names it, and returns its failure, or nil.
func Replay(schedule string, scenario func(r *Run)) (*Failure, error) {
	bound, plan, err := parse(schedule)
	if err != nil {
		return nil, err
	}
	return replay(bound, plan, "", scenario), nil
}

// replay runs plan once more and notes its steps. want is its failure before, if there was one.
func replay(bound int, plan []int, want string, scenario func(r *Run)) *Failure {
	stuck := time.NewTimer(patience)
	defer stuck.Stop()
	r := run(bound, plan, true, scenario, stuck)
	switch {
	case r.failure == "" && want == "":
		return nil
	case r.failure == "":
		r.failure = want + "\n(this schedule failed once and did not when it was repeated: the scenario depends on more)"
	}
	return &Failure{Message: r.failure, Schedule: format(bound, plan), Trace: r.trace}
}

// run runs the scenario once.
func run(bound int, plan []int, tracing bool, scenario func(r *Run), stuck *time.Timer) *Run {
	r := &Run{bound: bound, plan: plan, tracing: tracing, over: make(chan struct{}, 1), clock: int64(time.Hour)}
	r.taken, r.widths = make([]int, 0, len(plan)+16), make([]int, 0, len(plan)+16)
	scenario(r)
	active.Store(r)
	stuck.Reset(patience)
	if first := r.pick(nil); first != nil {
		r.pass(first)
		select {
		case <-r.over:
		case <-stuck.C:
			r.blocked = true
			r.ending = true
			r.failure = fmt.Sprintf("%s is blocked in something that is no step, for %v", r.current.name, patience)
			active.Store(nil)
			return r // the goroutines of its threads stay: there is no way to end them
		}
	}
	r.end()
	if r.failure == "" {
		for _, check := range r.checks {
			check()
		}
	}
	return r
}

// end lets the threads that are left end.
func (r *Run) end() {
	failure := r.failure
	r.ending, r.closing = true, true
	for i := 0; i < len(r.threads); i++ {
		if t := r.threads[i]; !t.done {
			t.turn <- struct{}{}
			<-t.gone
		}
	}
	active.Store(nil)
	r.failure, r.ending = failure, false
}

// next returns the choices of the schedule after this one, or nil.
func (r *Run) next() (plan []int) {
	for d := len(r.taken) - 1; d >= 0; d-- {
		if r.taken[d]+1 < r.widths[d] {
			r.taken[d]++
			return r.taken[:d+1]
		}
	}
	return nil
}

// format writes a schedule: the limit, and then each choice that is not the first, with the number of first choices
// before it.
func format(bound int, choices []int) string {
	var s strings.Builder
	s.WriteString(strconv.Itoa(bound) + ":")
	zeros := 0
	for _, c := range choices {
		if c == 0 {
			zeros++
			continue
		}
		fmt.Fprintf(&s, " %d+%d", zeros, c)
		zeros = 0
	}
	return s.String()
}

func parse(schedule string) (bound int, choices []int, err error) {
	head, rest, _ := strings.Cut(schedule, ":")
	if bound, err = strconv.Atoi(head); err != nil {
		return 0, nil, fmt.Errorf("interleave: schedule %q: %w", schedule, err)
	}
	for _, item := range strings.Fields(rest) {
		var zeros, choice int
		if _, err = fmt.Sscanf(item, "%d+%d", &zeros, &choice); err != nil {
			return 0, nil, fmt.Errorf("interleave: schedule %q: %w", schedule, err)
		}
		choices = append(append(choices, make([]int, zeros)...), choice)
	}
	return bound, choices, nil
}

// where names the step: the operation, the line, and its caller.
func where(op string) string {
	var pcs [16]uintptr
	frames := runtime.CallersFrames(pcs[:runtime.Callers(3, pcs[:])])
	s, shown := op, 0
	for more := true; more && shown < 4; {
		var f runtime.Frame
		f, more = frames.Next()
		dir := filepath.ToSlash(filepath.Dir(f.File))
		if strings.HasSuffix(dir, "internal/interleave/atomic") || strings.HasSuffix(dir, "internal/interleave/sync") ||
			strings.Contains(f.Function, "interleave.(*Run)") || strings.HasSuffix(f.Function, "interleave.Step") ||
			strings.HasSuffix(f.Function, "interleave.Await") || strings.HasPrefix(f.Function, "runtime.") {
			continue
		}
		if shown == 0 {
			s += fmt.Sprintf("  %s:%d", filepath.Base(f.File), f.Line)
		}
		s += "  " + shortName(f.Function)
		shown++
	}
	return s
}

// shortName is the name of a function without its package.
func shortName(function string) string {
	function = function[strings.LastIndexByte(function, '/')+1:]
	_, name, _ := strings.Cut(function, ".")
	return strings.NewReplacer("(", "", ")", "", "*", "").Replace(name)
}

func stackOf() string { return string(debug.Stack()) }
