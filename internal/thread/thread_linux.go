//go:build !interleave

// Package thread tells how much of a processor the calling thread has had.
package thread

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// Usage is what the system knows of a thread at one moment.
type Usage struct {
	id    int
	cpu   int64 // nanoseconds
	waits int64 // voluntary context switches
}

// Now returns the usage of the thread that the calling goroutine is on. It takes three system calls that do not block.
func Now() (u Usage) {
	var ru unix.Rusage
	if _, _, errno := unix.RawSyscall(unix.SYS_GETRUSAGE, unix.RUSAGE_THREAD, uintptr(unsafe.Pointer(&ru)), 0); errno != 0 {
		return Usage{}
	}
	var ts unix.Timespec // the times in ru are as old as the last tick of the system's clock
	if _, _, errno := unix.RawSyscall(unix.SYS_CLOCK_GETTIME, unix.CLOCK_THREAD_CPUTIME_ID,
		uintptr(unsafe.Pointer(&ts)), 0); errno != 0 {
		return Usage{}
	}
	return Usage{id: unix.Gettid(), cpu: ts.Nano(), waits: int64(ru.Nvcsw)}
}

// Since returns the processor time that the goroutine has had since before, in nanoseconds. known is false if it has waited
// for something: then it is on another thread, or its thread has waited, too. A goroutine that has waited and is on the
// same thread again, which has run others in between without a pause, is mistaken for one that has worked.
func (u Usage) Since(before Usage) (worked int64, known bool) {
	worked = u.cpu - before.cpu
	return worked, u.id != 0 && u.id == before.id && u.waits == before.waits && worked > 0
}
