//go:build !faults

package fault

// This file holds the package as it is shipped: it does nothing, and each function is inlined away. In tests of failing
// system calls inject.go takes its place.

import "syscall"

// Enabled reports whether calls can be made to fail.
const Enabled = false

// Check returns the error with which the next call of op is to fail, or 0.
func Check(Op) syscall.Errno { return 0 }

// Transfer returns how much of size the next call of op on fd is to move: all of it.
func Transfer(_ Op, _ int, size int) (int, syscall.Errno) { return size, 0 }

// Cut returns how much of p the next call of op on fd is to move: all of it.
func Cut(_ Op, _ int, p []byte) ([]byte, syscall.Errno) { return p, 0 }

// WrapRing returns what does the work of r.
func WrapRing(r Executor, _ string) Executor { return r }

// Events are the events of one look at a poller's queue, as the poller shall see them. It is used if Enabled is set.
type Events struct{}

// Note takes the n events of a look.
func (Events) Note(n int, _ func(i int) Event, _ func(token uint64) bool) int { return n }

// At is the i-th of them.
func (Events) At(int) Event { return Event{} }
