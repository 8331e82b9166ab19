package netpoll

// Access to the clock for tests outside of the package.

import (
	"time"
	"unsafe"

	"github.com/cloudwego/netpoll/internal/interleave/clock"
)

// ShiftClockStart makes the process one whose wall clock has been set by -d since it started: what it counts deadlines
// from has a wall clock that is off from its monotonic one. Nothing may use the clock yet.
func ShiftClockStart(d time.Duration) {
	const secondsAt = 30 // how far the seconds are up in the first word of a time.Time with a monotonic reading
	shifted := clock.Start
	word := (*uint64)(unsafe.Pointer(&shifted))
	*word += uint64(int64(d/time.Second) << secondsAt)
	if shifted.Round(0).Sub(clock.Start.Round(0)) != d || shifted.Sub(clock.Start) != 0 {
		panic("a time.Time has another layout than it had")
	}
	clock.Start = shifted
}
