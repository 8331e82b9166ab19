package aio

// This file runs the tests that all kinds of rings have in common, in each way of fetching events, and holds the
// helpers of this package's own.

import (
	"testing"

	"github.com/cloudwego/netpoll/internal/iobatch"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/cloudwego/netpoll/internal/testkit/ringtest"
)

func TestRing(t *testing.T) {
	for name, change := range map[string]func(*kernelCalls){
		"events in memory": func(*kernelCalls) {},
		"events by a call": hideMapping,
	} {
		t.Run(name, func(t *testing.T) {
			ringtest.Run(t, ringtest.Kind{
				New: func(entries uint32) (ringtest.Ring, error) {
					replaceKernel(t, change)
					return New(entries)
				},
				Intercept: func(r ringtest.Ring, play ringtest.Play) *int {
					return intercept(r.(*Ring), func(call int, ring *Ring, list []uintptr) (int, unix.Errno) {
						return play(call, len(list), func(n int) (int, unix.Errno) { return submit(ring.id, list[:n]) })
					})
				},
				Stalls:      iobatch.MaxStalls,
				NotExecuted: iobatch.NotExecuted,
				Pipe:        -int32(unix.EAGAIN),
			})
		})
	}
}

// hideMapping makes a kernel whose events are fetched by calls.
func hideMapping(k *kernelCalls) { k.mapped = func(uintptr, uintptr) bool { return false } }

// BenchmarkBatch compares batches by the ring with batches by plain system calls.
func BenchmarkBatch(b *testing.B) {
	ringtest.Benchmark(b, ringtest.Kind{New: func(entries uint32) (ringtest.Ring, error) { return New(entries) }})
}

// newRing returns a ring that is closed at the end of the test.
func newRing(t testing.TB, entries uint32) *Ring {
	t.Helper()
	ring, err := New(entries)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, ring.Close()) })
	return ring
}

// intercept lets play stand between the ring and the kernel: it gets the number of the call, from 0, and does what
// io_submit should, or should not. It returns the count of calls. It does not get calls that submit nothing: they fail
// as the last one did, since all calls fail for a ring that does not exist.
func intercept(ring *Ring, play func(call int, ring *Ring, list []uintptr) (int, unix.Errno)) *int {
	calls := new(int)
	var last unix.Errno
	ring.sys.submit = func(_ uintptr, list []uintptr) (n int, _ unix.Errno) {
		if len(list) > 0 {
			call := *calls
			*calls++
			n, last = play(call, ring, list)
		}
		return n, last
	}
	return calls
}

// replaceKernel changes the system calls of rings made from here to the end of the test.
func replaceKernel(t *testing.T, change func(*kernelCalls)) {
	t.Helper()
	old := kernel
	change(&kernel)
	t.Cleanup(func() { kernel = old })
}
