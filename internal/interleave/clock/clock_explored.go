//go:build interleave

// Package clock has the monotonic clock of the library's deadlines, and delayed calls. In a schedule that is explored
// it is the clock of the schedule, and a delayed call may run at any step once that clock has reached its time; see
// package interleave.
package clock

import (
	"time"

	"github.com/cloudwego/netpoll/internal/interleave"
)

// Start is what Now counts from outside of a schedule.
var Start = time.Now()

// Now is in nanoseconds.
func Now() int64 {
	if r := interleave.Active(); r != nil {
		return r.Now()
	}
	return int64(time.Since(Start))
}

// Timer is a delayed call, unless it is stopped.
type Timer struct{ stop func() bool }

// Stop is that of [time.Timer].
func (t *Timer) Stop() bool { return t.stop() }

// AfterFunc calls f after d, on a goroutine of its own.
func AfterFunc(d time.Duration, f func()) *Timer {
	if r := interleave.Active(); r != nil {
		return &Timer{r.After(d, f)}
	}
	return &Timer{time.AfterFunc(d, f).Stop}
}
