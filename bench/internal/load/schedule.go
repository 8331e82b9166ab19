package load

// This file holds the plan of an open loop: which requests are due, and which belong to the window.

import (
	"math"
	"time"
)

// schedule says when requests are due. Times are nanoseconds on the generator's clock.
type schedule struct {
	start      int64
	gap        float64 // between two requests
	begin, end int64   // the window
}

func newSchedule(rate float64, start, begin, end int64) schedule {
	return schedule{start: start, gap: float64(time.Second) / rate, begin: begin, end: end}
}

// due returns when the i-th request is due.
func (s schedule) due(i int) int64 { return s.start + int64(float64(i)*s.gap) }

// before returns how many requests are due before t.
func (s schedule) before(t int64) int {
	n := max(0, int(math.Ceil(float64(t-s.start)/s.gap)))
	for n > 0 && s.due(n-1) >= t { // rounding
		n--
	}
	for s.due(n) < t {
		n++
	}
	return n
}

// planned returns how many requests are due in the window.
func (s schedule) planned() int { return s.before(s.end) - s.before(s.begin) }

// in reports whether a request that is due at t belongs to the window.
func (s schedule) in(t int64) bool { return t >= s.begin && t < s.end }
