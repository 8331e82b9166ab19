//go:build !interleave

// Package thread says on which thread a goroutine is, and how much of a processor it has.
package thread

import (
	"bytes"
	"os"
	"runtime"
	"strconv"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// maxMeasured limits how many goroutines are measured at a time: one that waits for long keeps a thread of the system.
const maxMeasured = 64

// measured counts them.
var measured atomic.Int32

// Measure measures the goroutine that has begun it. Meanwhile this goroutine has a thread to itself, for the system knows of
// threads alone: if it waits, so does the thread. The zero value measures nothing.
type Measure struct {
	id    int
	cpu   int64 // nanoseconds
	waits int64 // voluntary context switches
}

// ID returns which thread the calling goroutine is on, or 0 if that is not known. It is a system call that does not block.
func ID() int64 {
	id, _, _ := unix.RawSyscall(unix.SYS_GETTID, 0, 0, 0)
	return int64(id)
}

// Begin measures the calling goroutine, which must call Stop in the end, unless there are too many. It takes three system
// calls that do not block.
func Begin() Measure {
	if measured.Add(1) > maxMeasured {
		measured.Add(-1)
		return Measure{}
	}
	runtime.LockOSThread()
	m := Measure{id: unix.Gettid()}
	m.cpu, m.waits = usage()
	return m
}

// Stop ends the measure. The caller is the goroutine that has begun it.
func (m *Measure) Stop() {
	if m.id != 0 {
		m.id = 0
		runtime.UnlockOSThread()
		measured.Add(-1)
	}
}

// usage returns the processor time of the calling thread, and how often it has waited.
func usage() (cpu, waits int64) {
	var ru unix.Rusage // its times are as old as the last tick of the system's clock
	if _, _, errno := unix.RawSyscall(unix.SYS_GETRUSAGE, unix.RUSAGE_THREAD, uintptr(unsafe.Pointer(&ru)), 0); errno != 0 {
		return 0, 0
	}
	var ts unix.Timespec
	if _, _, errno := unix.RawSyscall(unix.SYS_CLOCK_GETTIME, unix.CLOCK_THREAD_CPUTIME_ID,
		uintptr(unsafe.Pointer(&ts)), 0); errno != 0 {
		return 0, 0
	}
	return ts.Nano(), int64(ru.Nvcsw)
}

// Worked returns the processor time that the goroutine has had, in nanoseconds. known is false if it has waited for
// something, or is not measured. The caller is that goroutine.
func (m *Measure) Worked() (worked int64, known bool) {
	if m.id == 0 {
		return 0, false
	}
	cpu, waits := usage()
	return cpu - m.cpu, waits == m.waits && cpu > m.cpu
}

// WaitsNot reports whether the goroutine is known to have waited for nothing but a processor so far. Any goroutine may call
// it before Stop; it reads a file.
func (m *Measure) WaitsNot() bool {
	if m.id == 0 {
		return false
	}
	status, err := os.ReadFile("/proc/self/task/" + strconv.Itoa(m.id) + "/status")
	if err != nil {
		return false
	}
	_, rest, _ := bytes.Cut(status, []byte("\nvoluntary_ctxt_switches:"))
	number, _, _ := bytes.Cut(rest, []byte("\n"))
	waits, err := strconv.ParseInt(string(bytes.TrimSpace(number)), 10, 64)
	return err == nil && waits == m.waits
}
