//go:build !linux || interleave

// Package thread tells how much of a processor the calling thread has had.
package thread

// Usage is what the system knows of a thread at one moment: here, nothing.
type Usage struct{}

// Now returns the usage of the calling thread.
func Now() Usage { return Usage{} }

// Since returns the processor time since before, in nanoseconds, which is not known.
func (Usage) Since(Usage) (worked int64, known bool) { return 0, false }
