package interleave_test

// The explorer against scenarios whose schedules are known: how many there are, and which of them fail.

import (
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/cloudwego/netpoll/internal/interleave"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const unbounded = -1

func explore(preemptions int, scenario func(r *interleave.Run)) interleave.Result {
	return interleave.Explore(interleave.Options{Preemptions: preemptions}, scenario)
}

// letters adds threads that each note their letter so many times.
func letters(r *interleave.Run, trace *[]byte, names string, times int) {
	for _, name := range []byte(names) {
		r.Go(string(name), func() {
			for range times {
				interleave.Step("note", trace)
				*trace = append(*trace, name)
			}
		})
	}
}

// choose is the binomial coefficient.
func choose(n, k int) int {
	c := 1
	for i := range k {
		c = c * (n - i) / (i + 1)
	}
	return c
}

// Two threads with k steps each can be merged in as many ways as a set of 2k has halves.
func TestEveryScheduleIsRunOnce(t *testing.T) {
	for k := 1; k <= 6; k++ {
		var all []string
		res := explore(unbounded, func(r *interleave.Run) {
			var trace []byte
			letters(r, &trace, "ab", k)
			r.Check(func() { all = append(all, string(trace)) })
		})
		require.Nil(t, res.Failure)
		require.True(t, res.Complete)
		require.Equal(t, choose(2*k, k), res.Schedules, "%d steps", k)
		slices.Sort(all)
		require.Len(t, slices.Compact(all), choose(2*k, k), "orders of %d steps", k)
	}
}

func TestPreemptionsAreBounded(t *testing.T) {
	last := 0
	for bound := range 8 {
		res := explore(bound, func(r *interleave.Run) {
			var trace []byte
			letters(r, &trace, "ab", 4)
			r.Check(func() {
				switches := 0
				for i := 1; i < len(trace); i++ {
					if trace[i] != trace[i-1] {
						switches++
					}
				}
				if switches > bound+1 { // one more where a thread has ended
					r.Failf("%d switches in %s", switches, trace)
				}
			})
		})
		require.Nil(t, res.Failure)
		require.GreaterOrEqual(t, res.Schedules, last)
		last = res.Schedules
	}
	require.Equal(t, choose(8, 4), last, "no more can be had of so few steps")
	require.Equal(t, 6, explore(0, func(r *interleave.Run) {
		var trace []byte
		letters(r, &trace, "abc", 2)
	}).Schedules, "the orders of three threads")
}

// counter has the mistake that is looked for: it adds by a load and a store.
func counter(r *interleave.Run) {
	var n atomic.Int64
	for _, name := range []string{"one", "other"} {
		r.Go(name, func() {
			interleave.Step("Load", &n)
			v := n.Load()
			interleave.Step("Store", &n)
			n.Store(v + 1)
		})
	}
	r.Check(func() {
		if n.Load() != 2 {
			r.Failf("%d instead of 2", n.Load())
		}
	})
}

func TestPlantedMistakeIsFoundAndItsScheduleReplayed(t *testing.T) {
	require.Nil(t, explore(0, counter).Failure, "it needs a preemption")
	res := explore(1, counter)
	require.NotNil(t, res.Failure)
	require.False(t, res.Complete)
	require.Contains(t, res.Failure.String(), "1 instead of 2")
	t.Logf("schedule %d of %v", res.Schedules, res.Failure)

	var who []string
	for _, line := range res.Failure.Trace {
		who = append(who, strings.Join(strings.Fields(line)[:2], "."))
	}
	require.Equal(t, []string{"one.Load", "other.Load", "other.Store", "one.Store"}, who)
	require.Contains(t, res.Failure.Trace[0], "interleave_test.go:")

	again, err := interleave.Replay(res.Failure.Schedule, counter)
	require.NoError(t, err)
	require.Equal(t, res.Failure, again)
	none, err := interleave.Replay("1:", counter)
	require.NoError(t, err)
	require.Nil(t, none, "one after the other is no failure")
	_, err = interleave.Replay("1: later", counter)
	require.Error(t, err)
}

// lock is a lock that shows the explorer that it is held.
type lock struct{ held bool }

func (l *lock) take() {
	interleave.Await("take", l, func() bool { return !l.held })
	l.held = true
}

func TestDeadlockIsFound(t *testing.T) {
	res := explore(1, func(r *interleave.Run) {
		var a, b lock
		for _, order := range [][2]*lock{{&a, &b}, {&b, &a}} {
			r.Go("locks", func() {
				order[0].take()
				order[1].take()
				order[0].held, order[1].held = false, false
			})
		}
	})
	require.NotNil(t, res.Failure)
	require.Contains(t, res.Failure.Message, "deadlock")
	require.Contains(t, res.Failure.Message, "locks waits: take  interleave_test.go:")
}

func TestLostWakeUpIsADeadlock(t *testing.T) {
	scenario := func(look bool) func(r *interleave.Run) {
		return func(r *interleave.Run) {
			var done, waits, woken bool
			r.Go("waiter", func() {
				interleave.Step("look", &done)
				if done {
					return
				}
				interleave.Step("show", &waits)
				waits = true
				if look {
					interleave.Step("look again", &done)
					if done {
						return
					}
				}
				interleave.Await("wait", &woken, func() bool { return woken })
			})
			r.Go("waker", func() {
				interleave.Step("do", &done)
				done = true
				interleave.Step("wake", &waits)
				woken = waits
			})
		}
	}
	require.Contains(t, explore(1, scenario(false)).Failure.Message, "deadlock")
	require.Nil(t, explore(unbounded, scenario(true)).Failure)
}

func TestThreadsMayStartThreads(t *testing.T) {
	orders := map[string]bool{}
	res := explore(unbounded, func(r *interleave.Run) {
		var trace []byte
		r.Go("parent", func() {
			letters(r, &trace, "c", 1)
			interleave.Step("note", &trace)
			trace = append(trace, 'p')
		})
		r.Check(func() { orders[string(trace)] = true })
	})
	require.Nil(t, res.Failure)
	require.Equal(t, map[string]bool{"cp": true, "pc": true}, orders)
}

func TestTimersComeWhenTheirTimeHasComeAndNotWhenStopped(t *testing.T) {
	seen := map[string]bool{}
	res := explore(unbounded, func(r *interleave.Run) {
		var trace string
		r.Go("clock", func() {
			stop := r.After(time.Second, func() { trace += "late " })
			r.After(2*time.Second, func() { trace += "never " })
			interleave.Step("pass", r)
			r.Advance(time.Second)
			interleave.Step("stop", r)
			if stop() {
				trace += "stopped "
			}
			interleave.Step("end", r)
		})
		r.Check(func() { seen[trace] = true })
	})
	require.Nil(t, res.Failure)
	require.Equal(t, map[string]bool{"late ": true, "stopped ": true}, seen)
}

// Panics, failures in the middle and endless threads end the run, with everything that is deferred.
func TestRunsThatCannotGoOnEnd(t *testing.T) {
	for _, tc := range []struct {
		name string
		f    func(r *interleave.Run)
		want string
	}{
		{"panic", func(*interleave.Run) { panic("ouch") }, "first panicked: ouch"},
		{"failure", func(r *interleave.Run) { r.Failf("not so") }, "not so"},
		{"endless", func(*interleave.Run) {
			for {
				interleave.Step("once more", nil)
			}
		}, "no end after"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			begun, ended := 0, 0
			res := explore(1, func(r *interleave.Run) {
				for _, f := range []func(*interleave.Run){tc.f, func(*interleave.Run) {}} {
					r.Go("first", func() {
						begun++
						defer func() { ended++ }()
						interleave.Step("go", r)
						f(r)
						interleave.Step("on", r)
					})
				}
				never := func() bool { return false }
				r.Daemon("not begun", never, func() {})
				r.Daemon("idle", nil, func() { interleave.Await("nothing", r, never) })
			})
			require.NotNil(t, res.Failure)
			require.Contains(t, res.Failure.Message, tc.want)
			require.Equal(t, begun, ended)
			require.Nil(t, interleave.Active())
		})
	}
}

func TestQuietObjectsHaveNoSteps(t *testing.T) {
	res := explore(unbounded, func(r *interleave.Run) {
		var trace []byte
		r.Quiet(&trace)
		letters(r, &trace, "ab", 3)
	})
	require.Equal(t, 2, res.Schedules)
	require.Zero(t, res.Steps)
}

func TestStepsOutsideOfARunDoNothing(t *testing.T) {
	interleave.Step("alone", t)
	require.False(t, interleave.Await("alone", t, func() bool { return false }))
}
