package runner

// Calls that do not return.

import (
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"
)

// apart runs f on a goroutine of its own until that ends, and reports whether f returned.
func apart(t *testing.T, f func()) (returned bool) {
	t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		f()
		returned = true
	}()
	await(t, done, "the end of the goroutine")
	return returned
}

func TestGuardTellsHowACallFailed(t *testing.T) {
	for _, c := range []struct {
		name     string
		f        func()
		returned bool // Guard has
		failed   bool
		value    any
	}{
		{"return", func() {}, true, false, nil},
		{"panic", func() { panic("boom") }, true, true, "boom"},
		{"panic of nil", func() { panic(nil) }, true, true, new(runtime.PanicNilError)},
		{"Goexit", runtime.Goexit, false, true, ErrGoexit},
		{"panic while it ends", func() {
			defer func() { panic("late") }()
			runtime.Goexit()
		}, false, true, "late"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var values []any
			returned := apart(t, func() { Guard(c.f, func(value any) { values = append(values, value) }) })
			require.Equal(t, c.returned, returned)
			if !c.failed {
				require.Empty(t, values)
				return
			}
			require.Len(t, values, 1)
			require.IsType(t, c.value, values[0])
			if c.name != "panic of nil" {
				require.Equal(t, c.value, values[0])
			}
		})
	}
}

// Code that runs after the end of a goroutine may end it again, any number of times.
func TestProtectGoesOnUntilAllIsDone(t *testing.T) {
	var done []int
	var do func(list []int)
	do = func(list []int) {
		Protect(func() {
			for len(list) > 0 {
				i := list[0]
				list = list[1:]
				done = append(done, i)
				if i%2 == 0 {
					runtime.Goexit()
				}
			}
		}, func() { do(list) })
	}
	require.False(t, apart(t, func() { do([]int{1, 2, 3, 4, 6, 7}) }))
	require.Equal(t, []int{1, 2, 3, 4, 6, 7}, done)
	require.True(t, apart(t, func() { do([]int{9}) }))
}

func TestProtectLeavesACallAloneThatReturns(t *testing.T) {
	Protect(func() {}, func() { t.Error("it went on") })
}
