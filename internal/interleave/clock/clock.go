//go:build !interleave

// Package clock has the monotonic clock of the library's deadlines, and delayed calls. With the build tag interleave it
// is the clock of the schedule that is explored; see package interleave.
package clock

import "time"

// Start is what Now counts from, so that one int64 holds a deadline and the wall clock may be set. Only its monotonic
// reading means anything. Only tests write it.
var Start = time.Now()

// Now is in nanoseconds and grows with the monotonic clock.
func Now() int64 { return int64(time.Since(Start)) }

// Timer is a delayed call, unless it is stopped.
type Timer = time.Timer

// AfterFunc calls f after d, on a goroutine of its own.
func AfterFunc(d time.Duration, f func()) *Timer { return time.AfterFunc(d, f) }
