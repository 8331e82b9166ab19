// Package stat is what a measured process reports about itself: the commands of its control pipe, and the readings that
// it answers with. The process reads these figures itself, because allocations and pauses cannot be seen from outside.
package stat

import "sync/atomic"

// Commands that a measured process reads from its standard input, one a line. It answers each with one line of JSON,
// a [Reading], on its standard output. At the end of its input it exits.
const (
	Read    = "read"    // a reading
	Collect = "collect" // a garbage collection, then a reading
	Profile = "profile" // followed by a path and a duration in seconds: a CPU profile, then a reading
)

// Counted is what a server counts that does not answer.
var Counted atomic.Int64

// Reading is the state of a process at one moment. Times are in nanoseconds, memory in bytes. Counts are since the start
// of the process.
type Reading struct {
	Monotonic    int64 // the system's monotonic clock
	UserTime     int64
	SystemTime   int64
	Voluntary    int64 // context switches because it waited
	Involuntary  int64 // context switches because others ran
	RSS          int64
	PeakRSS      int64
	HeapObjects  int64 // memory in objects, live or not yet swept
	Stacks       int64 // memory of goroutine stacks
	Allocations  int64 // objects allocated
	AllocBytes   int64
	Collections  int64 // garbage collections
	PauseMax     int64 // the longest stop of all goroutines since the last reading; upper limit of its bucket
	Goroutines   int64
	Counted      int64
	ProfileError string `json:",omitempty"`
}
