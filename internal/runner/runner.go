// Package runner is where the library's callbacks run: one replaceable function that starts tasks, and one that gets
// the panics which tasks recovered from. The callers decide which function runs, and what a panic does to a connection.
package runner

import (
	"context"
	"log"
	"runtime/debug"
	"sync/atomic"
)

// Func starts f on some goroutine. It may wait for a free worker, but a Func that waits for f itself, or runs it in
// place, also stops the goroutine that hands it work: a poller or another callback. ctx is never nil; it carries the values of the
// connection that f belongs to and is not meant to cancel the start.
type Func = func(ctx context.Context, f func())

// PanicFunc is called for a panic that a task recovered from: the value and the stack at that point.
type PanicFunc = func(ctx context.Context, value any, stack []byte)

// Both are written by Set, UseGoroutines and OnPanic, at any time and from any goroutine, and read for each task. Nil
// is the default, so that a value set by another package's init is not overwritten by this package's own.
var (
	current atomic.Pointer[Func]
	onPanic atomic.Pointer[PanicFunc]
)

// Run hands f to the current runner and returns without waiting for f to end. A nil ctx stands for
// [context.Background]. It may be called from many goroutines at once, also from inside a task.
func Run(ctx context.Context, f func()) {
	if ctx == nil {
		ctx = context.Background()
	}
	if run := current.Load(); run != nil {
		(*run)(ctx, f)
		return
	}
	defaultPool.run(f)
}

// IsDefault reports whether tasks go to the pool of this package, because no other runner was set.
func IsDefault() bool { return current.Load() == nil }

// Set makes f the runner of every later task; tasks already handed over stay where they are. Nil restores the default,
// the pool of this package. It may be called at any time.
func Set(f Func) {
	if f == nil {
		current.Store(nil)
		return
	}
	current.Store(&f)
}

// UseGoroutines gives every later task a goroutine of its own. A task that panics there is reported, as one in the
// pool is, and does not end the process. It may be called at any time.
func UseGoroutines() { Set(startGoroutine) }

// OnPanic makes f the function that [Panicked] calls. Nil restores the default, which writes to the standard logger. It
// may be called at any time; f may be called from many goroutines at once.
func OnPanic(f PanicFunc) {
	if f == nil {
		onPanic.Store(nil)
		return
	}
	onPanic.Store(&f)
}

// Panicked reports a panic with the value that recover returned. Call it from the deferred function that recovered,
// while the stack still shows where the panic came from. A nil ctx stands for [context.Background].
func Panicked(ctx context.Context, value any) {
	if ctx == nil {
		ctx = context.Background()
	}
	stack := debug.Stack()
	if report := onPanic.Load(); report != nil {
		(*report)(ctx, value, stack)
		return
	}
	log.Printf("netpoll: panic in a callback: %v\n%s", value, stack)
}

// startGoroutine is the Func of UseGoroutines.
func startGoroutine(ctx context.Context, f func()) {
	go func() {
		defer func() {
			if v := recover(); v != nil {
				Panicked(ctx, v)
			}
		}()
		f()
	}()
}
