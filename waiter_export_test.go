package netpoll

// What a test outside of the package needs of the clock.

import (
	"time"
	"unsafe"
)

// ShiftClockStart makes the process one whose wall clock has been set by -d since it started: what it counts deadlines
// from has a wall clock that is off from its monotonic one. Nothing may use the clock yet.
func ShiftClockStart(d time.Duration) {
	const secondsAt = 30 // how far the seconds are up in the first word of a time.Time with a monotonic reading
	shifted := clockStart
	word := (*uint64)(unsafe.Pointer(&shifted))
	*word += uint64(int64(d/time.Second) << secondsAt)
	if shifted.Round(0).Sub(clockStart.Round(0)) != d || shifted.Sub(clockStart) != 0 {
		panic("a time.Time has another layout than it had")
	}
	clockStart = shifted
}
