package netpoll

// This file holds the memory debug mode, which finds memory that is used after it was released.

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"unsafe"
)

const (
	// poison is the byte that released memory is filled with.
	poison = 0xDB
	// quarantineBlocks and quarantineBytes limit the released memory that is kept to be checked.
	quarantineBlocks = 256
	quarantineBytes  = 16 << 20
	// releaseDepth is how many stack frames of a release are kept.
	releaseDepth = 24
)

// memoryDebug is the debug mode in force, nil for none; stored by SetMemoryDebug.
var memoryDebug atomic.Pointer[memoryDebugger]

// blocksOut is the number of blocks in use that were taken in debug mode.
var blocksOut atomic.Int64

func init() {
	if os.Getenv("NETPOLL_DEBUG") == "poison" {
		SetMemoryDebug(func(err error) { panic(err) })
	}
}

// UseAfterReleaseError reports that memory returned by Next, Peek, GetBytes, Bytes or Malloc was used after the call
// that ended its life: Release, Close, Flush or MallocAck.
type UseAfterReleaseError struct {
	// Use says what was done: "written", or "passed to a Writer".
	Use string
	// Offset is the position of the first such byte in its block.
	Offset int
	// Released is the stack of the release.
	Released string
}

// Error implements error.
func (e *UseAfterReleaseError) Error() string {
	return fmt.Sprintf("netpoll: memory %s after it was released (offset %d), released at:\n%s",
		e.Use, e.Offset, e.Released)
}

// SetMemoryDebug switches the memory debug mode on: released memory is filled with 0xDB, kept from reuse for a while,
// and then looked at. report is called with an [*UseAfterReleaseError] for memory that was written to meanwhile, and
// at once for released memory that is passed to a Writer. It runs on the goroutine that found it, which may hold locks,
// so report must not use any connection. A nil report switches the mode off, after looking at all memory kept. It may
// be called at any time.
//
// The environment variable NETPOLL_DEBUG=poison switches it on at start, with a report that panics. The mode costs
// time and up to 16 MiB of memory.
func SetMemoryDebug(report func(error)) {
	var d *memoryDebugger
	if report != nil {
		d = &memoryDebugger{report: report}
	}
	if old := memoryDebug.Swap(d); old != nil {
		old.evict(0, 0)
	}
}

// memoryDebugger is one period of the debug mode.
type memoryDebugger struct {
	report func(error)

	mu    sync.Mutex       // guards the fields below
	kept  []*releasedBlock // in the order of release
	bytes int
}

// releasedBlock is a block in quarantine.
type releasedBlock struct {
	mem   []byte
	stack []uintptr
}

// taken counts a block that goes into use.
func (d *memoryDebugger) taken(blk *block) {
	blk.tracked = true
	blocksOut.Add(1)
}

// released puts a block into quarantine. It does not return to its pool, nor does its first window.
func (d *memoryDebugger) released(blk *block) {
	blk.class = retiredClass
	r := &releasedBlock{mem: blk.first.buf, stack: make([]uintptr, releaseDepth)}
	r.stack = r.stack[:runtime.Callers(3, r.stack)]
	for i := range r.mem {
		r.mem[i] = poison
	}
	d.mu.Lock()
	d.kept = append(d.kept, r)
	d.bytes += len(r.mem)
	d.mu.Unlock()
	d.evict(quarantineBlocks, quarantineBytes)
}

// reportReleasedTwice reports a mistake of this package.
func reportReleasedTwice() {
	if d := memoryDebug.Load(); d != nil {
		d.report(errors.New("netpoll: a block was released twice"))
	}
}

// evict checks and drops the oldest blocks until no more than blocks blocks and size bytes are left.
func (d *memoryDebugger) evict(blocks, size int) {
	d.mu.Lock()
	n := 0
	for ; len(d.kept)-n > blocks || d.bytes > size; n++ {
		d.bytes -= len(d.kept[n].mem)
	}
	out := slices.Clone(d.kept[:n])
	clear(d.kept[:n]) // the array would hold them until it is replaced
	d.kept = d.kept[n:]
	d.mu.Unlock()
	for _, r := range out {
		if i := r.firstChange(); i >= 0 {
			d.report(r.misuse("written", i))
		}
	}
}

// firstChange returns the offset of the first byte that is not poison, or -1.
func (r *releasedBlock) firstChange() int {
	return slices.IndexFunc(r.mem, func(c byte) bool { return c != poison })
}

func (r *releasedBlock) misuse(use string, offset int) error {
	var s strings.Builder
	frames := runtime.CallersFrames(r.stack)
	for {
		f, more := frames.Next()
		fmt.Fprintf(&s, "\t%s\n\t\t%s:%d\n", f.Function, f.File, f.Line)
		if !more {
			break
		}
	}
	return &UseAfterReleaseError{Use: use, Offset: offset, Released: s.String()}
}

// checkReleased reports p if it lies in released memory.
func checkReleased(p []byte) {
	if d := memoryDebug.Load(); d != nil {
		d.check(p)
	}
}

func (d *memoryDebugger) check(p []byte) {
	at := uintptr(unsafe.Pointer(unsafe.SliceData(p)))
	d.mu.Lock()
	var err error
	for _, r := range d.kept {
		start := uintptr(unsafe.Pointer(unsafe.SliceData(r.mem)))
		if at >= start && at < start+uintptr(len(r.mem)) {
			err = r.misuse("passed to a Writer", int(at-start))
			break
		}
	}
	d.mu.Unlock()
	if err != nil {
		d.report(err)
	}
}
