package ringtest

// This file compares a batch executed by the ring with the same batch executed by plain system calls, to find the size
// from which on the ring is faster.

import (
	"fmt"
	"testing"
	"time"
	"unsafe"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

const benchMessage = 1024

// ioBatch executes all operations of a batch: operation i on fds[i] with bufs[i].
type ioBatch func(fds []int, bufs [][]byte)

// Benchmark sends one message over each of n connections and then receives it: two batches of n operations. The
// metric ns/socketop is the time of one of the 2n operations. cpu-ns/socketop is its processor time, which depends less
// on what else the machine does.
func Benchmark(b *testing.B, k Kind) {
	for _, network := range []string{"unix", "tcp"} {
		for _, n := range []int{1, 2, 3, 4, 8, 16, 64, 256} {
			for _, how := range []string{"ring", "raw", "syscall"} {
				b.Run(fmt.Sprintf("net=%s/n=%d/how=%s", network, n, how), func(b *testing.B) {
					k.benchBatch(b, network, n, how)
				})
			}
		}
	}
}

func (k Kind) benchBatch(b *testing.B, network string, n int, how string) {
	senders, receivers := make([]int, n), make([]int, n)
	bufs := make([][]byte, n)
	for i := range n {
		senders[i], receivers[i] = NewPair(b, network)
		bufs[i] = make([]byte, benchMessage)
	}
	send, recv := k.executors(b, n, how)
	b.ReportAllocs()
	before := processorTime(b)
	for b.Loop() {
		send(senders, bufs)
		recv(receivers, bufs)
	}
	used := processorTime(b) - before
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*2*n), "ns/socketop")
	b.ReportMetric(float64(used.Nanoseconds())/float64(b.N*2*n), "cpu-ns/socketop")
}

// processorTime returns the processor time that this process has used.
func processorTime(b *testing.B) time.Duration {
	var use unix.Rusage
	require.NoError(b, unix.Getrusage(unix.RUSAGE_SELF, &use))
	return time.Duration(use.Utime.Nano() + use.Stime.Nano())
}

func (k Kind) executors(b *testing.B, n int, how string) (send, recv ioBatch) {
	if how != "ring" {
		call := unix.Syscall6
		if how == "raw" {
			call = unix.RawSyscall6
		}
		plain := func(trap uintptr) ioBatch {
			return func(fds []int, bufs [][]byte) {
				for i, p := range bufs {
					m, _, _ := call(trap, uintptr(fds[i]), uintptr(unsafe.Pointer(&p[0])), uintptr(len(p)),
						unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL, 0, 0)
					if m != benchMessage {
						b.Fatalf("plain call %d: %d bytes", trap, int(m))
					}
				}
			}
		}
		return plain(unix.SYS_SENDTO), plain(unix.SYS_RECVFROM)
	}
	ring := k.ring(b, uint32(n))
	done := func(tag uint64, res int32) {
		if res != benchMessage {
			b.Fatalf("operation %d: %d", tag, res)
		}
	}
	submit := func(queue func(int, []byte, uint64) bool) ioBatch {
		return func(fds []int, bufs [][]byte) {
			for i, p := range bufs {
				queue(fds[i], p, uint64(i))
			}
			require.NoError(b, ring.Submit(done))
		}
	}
	return submit(ring.Send), submit(ring.Recv)
}
