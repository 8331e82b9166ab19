// Package gauge measures a process. The process reads its own heap and goroutines. Another one reads its resident
// memory, descriptors, threads and processor time, so that the measurement opens no descriptor in the measured process.
package gauge

// This file holds the readings.

import (
	"bytes"
	"fmt"
	"math"
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"strconv"
	"time"
)

// Inside is what a process measures of itself. Sizes are in bytes.
type Inside struct {
	Heap       int64 // objects on the heap, with dead ones that are not collected yet
	Live       int64 // live objects at the last collection
	Stacks     int64
	Goroutines int64
	Cycles     int64         // collections so far
	Pause      time.Duration // the longest pause of a collection since the last reading; upper limit of its bucket
}

// Outside is the system's view of a process.
type Outside struct {
	RSS         int64 // bytes
	Descriptors int64
	Threads     int64
	CPU         time.Duration // used so far
}

const (
	heapMetric       = "/memory/classes/heap/objects:bytes"
	liveMetric       = "/gc/heap/live:bytes"
	stackMetric      = "/memory/classes/heap/stacks:bytes"
	goroutinesMetric = "/sched/goroutines:goroutines"
	cyclesMetric     = "/gc/cycles/total:gc-cycles"
	pauseMetric      = "/sched/pauses/total/gc:seconds"
)

// Source reads the gauges of its own process. One goroutine at a time may use it.
type Source struct {
	samples []metrics.Sample
	pauses  []uint64 // how many pauses each bucket had at the last reading
}

// NewSource returns a source.
func NewSource() *Source {
	s := &Source{}
	for _, name := range []string{heapMetric, liveMetric, stackMetric, goroutinesMetric, cyclesMetric, pauseMetric} {
		s.samples = append(s.samples, metrics.Sample{Name: name})
	}
	return s
}

// Read takes a reading.
func (s *Source) Read() (r Inside) {
	metrics.Read(s.samples)
	at := func(i int) int64 { return int64(s.samples[i].Value.Uint64()) }
	r.Heap, r.Live, r.Stacks, r.Goroutines, r.Cycles = at(0), at(1), at(2), at(3), at(4)
	r.Pause = s.longestPause(s.samples[5].Value.Float64Histogram())
	return r
}

// Collect collects garbage, returns free memory to the system, and takes a reading.
func (s *Source) Collect() Inside {
	runtime.GC()
	runtime.GC() // a sync.Pool drops its objects at the second collection
	debug.FreeOSMemory()
	return s.Read()
}

// longestPause returns the upper limit of the longest bucket that has grown since the last call.
func (s *Source) longestPause(h *metrics.Float64Histogram) (d time.Duration) {
	if len(s.pauses) != len(h.Counts) {
		s.pauses = make([]uint64, len(h.Counts))
	}
	for i, n := range h.Counts {
		if n <= s.pauses[i] {
			continue
		}
		bound := h.Buckets[i+1]
		if math.IsInf(bound, 0) {
			bound = h.Buckets[i]
		}
		d = time.Duration(bound * float64(time.Second))
	}
	copy(s.pauses, h.Counts)
	return d
}

// tick is the unit of processor time in /proc, which is the same on every Linux that Go runs on.
const tick = 10 * time.Millisecond

// Look reads the system's figures of the process pid.
func Look(pid int) (o Outside, err error) {
	dir := "/proc/" + strconv.Itoa(pid)
	status, err := os.ReadFile(dir + "/status")
	if err != nil {
		return o, err
	}
	o.RSS, o.Threads = field(status, "VmRSS:")<<10, field(status, "Threads:")
	stat, err := os.ReadFile(dir + "/stat")
	if err != nil {
		return o, err
	}
	// The fields after the name of the program, which is in parentheses and may contain any character.
	fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
	const user, system = 11, 12
	if len(fields) <= system {
		return o, fmt.Errorf("%s/stat has %d fields", dir, len(fields))
	}
	o.CPU = time.Duration(number(fields[user])+number(fields[system])) * tick
	o.Descriptors, err = countDescriptors(dir + "/fd")
	return o, err
}

func countDescriptors(dir string) (int64, error) {
	f, err := os.Open(dir)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	names, err := f.Readdirnames(-1)
	return int64(len(names)), err
}

// field finds a line "name   123 ..." in status and returns its number, or 0 if there is none.
func field(status []byte, name string) int64 {
	for line := range bytes.Lines(status) {
		if fields := bytes.Fields(line); len(fields) >= 2 && string(fields[0]) == name {
			return number(fields[1])
		}
	}
	return 0
}

func number(s []byte) int64 {
	n, err := strconv.ParseInt(string(s), 10, 64)
	if err != nil {
		return 0
	}
	return n
}

// RaceDetector reports whether this program runs under the race detector, which multiplies resident memory and leaves
// the heap as it is.
func RaceDetector() bool {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return false
	}
	for _, s := range info.Settings {
		if s.Key == "-race" {
			return s.Value == "true"
		}
	}
	return false
}
