package stat

// This file takes readings, in the process that is measured.

import (
	"bytes"
	"fmt"
	"math"
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"strconv"
	"sync"

	"golang.org/x/sys/unix"
)

const (
	metricHeap        = "/memory/classes/heap/objects:bytes"
	metricStacks      = "/memory/classes/heap/stacks:bytes"
	metricAllocs      = "/gc/heap/allocs:objects"
	metricAllocBytes  = "/gc/heap/allocs:bytes"
	metricCollections = "/gc/cycles/total:gc-cycles"
	metricGoroutines  = "/sched/goroutines:goroutines"
	metricPauses      = "/sched/pauses/total/gc:seconds"
)

// Source takes readings of this process. Any goroutine may call its methods.
type Source struct {
	mu      sync.Mutex       // guards the fields below
	samples []metrics.Sample // kept, so that reading allocates little
	pauses  []uint64         // how many pauses each bucket had at the last reading
}

// NewSource returns a Source. Its first reading counts pauses since the start of the process.
func NewSource() *Source {
	s := &Source{}
	for _, name := range []string{metricHeap, metricStacks, metricAllocs, metricAllocBytes, metricCollections,
		metricGoroutines, metricPauses} {
		s.samples = append(s.samples, metrics.Sample{Name: name})
	}
	return s
}

// Read takes a reading.
func (s *Source) Read() (r Reading, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &now); err != nil {
		return r, fmt.Errorf("monotonic clock: %w", err)
	}
	var use unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &use); err != nil {
		return r, fmt.Errorf("resource usage: %w", err)
	}
	r.Monotonic = now.Nano()
	r.UserTime, r.SystemTime = use.Utime.Nano(), use.Stime.Nano()
	r.Counted = Counted.Load()
	r.Voluntary, r.Involuntary = int64(use.Nvcsw), int64(use.Nivcsw)
	if r.RSS, r.PeakRSS, err = residentMemory(); err != nil {
		return r, err
	}
	metrics.Read(s.samples)
	for _, m := range s.samples {
		s.take(&r, m)
	}
	return r, nil
}

// take stores one metric in r. Metrics that this Go release does not have stay 0.
func (s *Source) take(r *Reading, m metrics.Sample) {
	switch m.Value.Kind() {
	case metrics.KindFloat64Histogram:
		r.PauseMax = s.longestPause(m.Value.Float64Histogram())
		return
	case metrics.KindUint64:
	default:
		return
	}
	v := int64(m.Value.Uint64())
	switch m.Name {
	case metricHeap:
		r.HeapObjects = v
	case metricStacks:
		r.Stacks = v
	case metricAllocs:
		r.Allocations = v
	case metricAllocBytes:
		r.AllocBytes = v
	case metricCollections:
		r.Collections = v
	case metricGoroutines:
		r.Goroutines = v
	}
}

// longestPause returns the upper limit of the longest bucket that has grown since the last call, in nanoseconds.
func (s *Source) longestPause(h *metrics.Float64Histogram) (ns int64) {
	if len(s.pauses) != len(h.Counts) {
		s.pauses = make([]uint64, len(h.Counts))
	}
	for i, n := range h.Counts {
		if n > s.pauses[i] {
			bound := h.Buckets[i+1]
			if math.IsInf(bound, 0) {
				bound = h.Buckets[i]
			}
			ns = int64(bound * 1e9)
		}
	}
	copy(s.pauses, h.Counts)
	return ns
}

// residentMemory returns the resident memory, now and at its peak, in bytes.
func residentMemory() (now, peak int64, err error) {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0, 0, fmt.Errorf("resident memory: %w", err)
	}
	return kilobytes(status, "VmRSS:"), kilobytes(status, "VmHWM:"), nil
}

// kilobytes finds a line "name   123 kB" in status and returns its value in bytes; 0 if there is none.
func kilobytes(status []byte, name string) int64 {
	for line := range bytes.Lines(status) {
		fields := bytes.Fields(line)
		if len(fields) >= 2 && string(fields[0]) == name {
			n, err := strconv.ParseInt(string(fields[1]), 10, 64)
			if err != nil {
				return 0
			}
			return n << 10
		}
	}
	return 0
}

// Collect collects garbage, returns free memory to the system, and takes a reading.
func (s *Source) Collect() (Reading, error) {
	runtime.GC()
	runtime.GC() // a sync.Pool drops its objects at the second collection
	debug.FreeOSMemory()
	return s.Read()
}
