package ringtest

// This file holds what the suite needs of a ring, and its list of tests.

import (
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// Ring executes batches.
type Ring interface {
	Recv(fd int, p []byte, tag uint64) bool
	Send(fd int, p []byte, tag uint64) bool
	Submit(done func(tag uint64, res int32)) error
	Cap() int
	Len() int
	Close() error
}

// Kind describes a kind of ring.
type Kind struct {
	New func(entries uint32) (Ring, error)
	// Intercept makes the ring call play instead of the kernel from now on, and counts these calls.
	Intercept func(r Ring, play Play) (calls *int)
	// Stalls is after how many calls in a row without progress the ring gives up the rest of a batch.
	Stalls int
	// NotExecuted is the result of an operation that the kernel never began.
	NotExecuted int32
	// Pipe is the result of a receive from an empty pipe.
	Pipe int32
}

// Play stands in for the kernel in a call that submits operations, and may fail. It gets the number of the call, from 0,
// and how many operations the call is for. do makes the real call for the first n of them.
type Play func(call, want int, do func(n int) (int, unix.Errno)) (int, unix.Errno)

// work is a kernel without faults.
func work(_, want int, do func(int) (int, unix.Errno)) (int, unix.Errno) { return do(want) }

// Run runs the suite for rings of that kind.
func Run(t *testing.T, k Kind) {
	for _, test := range []struct {
		name string
		run  func(t *testing.T)
	}{
		{"BatchOfAnySizeMovesEachMessage", k.batchOfAnySizeMovesEachMessage},
		{"FullRingRefusesAndTakesTheRestAfterSubmit", k.fullRingRefusesAndTakesTheRestAfterSubmit},
		{"ResultsAreThoseOfPlainCalls", k.resultsAreThoseOfPlainCalls},
		{"BadDescriptorFailsAloneInItsBatch", k.badDescriptorFailsAloneInItsBatch},
		{"ShortSendSaysExactlyWhatThePeerGets", k.shortSendSaysExactlyWhatThePeerGets},
		{"EmptyBatchDoesNotEnterTheKernel", k.emptyBatchDoesNotEnterTheKernel},
		{"OneBatchIsOneCall", k.oneBatchIsOneCall},
		{"DoneMayQueueAndSubmitTheNextBatch", k.doneMayQueueAndSubmitTheNextBatch},
		{"SubmitAllocatesNothing", k.submitAllocatesNothing},
		{"ManyGoroutinesShareARingUnderALock", k.manyGoroutinesShareARingUnderALock},
		{"BytesThroughRingsOrderMemory", k.bytesThroughRingsOrderMemory},
		{"SocketMadeBlockingDoesNotWait", k.socketMadeBlockingDoesNotWait},
		{"SubmitAccountsForEachOperationWhenCallsFail", k.submitAccountsForEachOperationWhenCallsFail},
		{"ClosedRingReportsWhatWasQueuedAsNotExecuted", k.closedRingReportsWhatWasQueuedAsNotExecuted},
		{"StreamsSurviveRandomFaults", k.streamsSurviveRandomFaults},
	} {
		t.Run(test.name, test.run)
	}
}

// ring returns a ring that is closed at the end of the test.
func (k Kind) ring(t testing.TB, entries uint32) Ring {
	t.Helper()
	ring, err := k.New(entries)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, ring.Close()) })
	return ring
}

// Submit submits the batch and returns the results in order. The tests must have queued the operations with tags 0, 1,
// 2, ….
func Submit(t testing.TB, ring Ring) ([]int32, error) {
	t.Helper()
	var results []int32
	err := ring.Submit(func(tag uint64, res int32) {
		require.EqualValues(t, len(results), tag, "each operation is answered once, in order")
		results = append(results, res)
	})
	require.Zero(t, ring.Len(), "nothing stays queued")
	return results, err
}
