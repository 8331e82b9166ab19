//go:build !linux || interleave

// Package thread says on which thread a goroutine is, and how much of a processor it has.
package thread

// Measure measures a goroutine: here, nothing.
type Measure struct{}

// ID returns which thread the calling goroutine is on, or 0 if that is not known: it is not.
func ID() int64 { return 0 }

// Begin begins a measure of the calling goroutine, which must call Stop in the end.
func Begin() Measure { return Measure{} }

// Stop ends the measure.
func (Measure) Stop() {}

// Worked returns the processor time that the goroutine has had, in nanoseconds, which is not known.
func (Measure) Worked() (worked int64, known bool) { return 0, false }

// WaitsNot reports whether the goroutine is known to have waited for nothing but a processor so far: it is not.
func (Measure) WaitsNot() bool { return false }
