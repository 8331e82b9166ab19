// Package iobatch holds what the two executors of batches have in common, io_uring (package uring) and Linux AIO
// (package aio): the results of an operation, the queue of a batch, and the memory that a kernel did not give back.
//
// The poller does not know which of the two executes its batch.
package iobatch

import "math"

// Results of an operation are those of recv(2) and send(2): a count of bytes, or a negative errno. Two more exist;
// no kernel returns them.
const (
	// NotExecuted: the kernel never began the operation. No byte was moved; do it with a plain system call.
	NotExecuted int32 = math.MinInt32
	// InDoubt: the kernel took the operation and neither answered nor gave it back. Some, all or none of the bytes
	// may have been moved, so the stream is beyond repair; and the kernel may still use the memory, so it must
	// not be used again. This package keeps a reference to it for good. Only a kernel at fault gives this.
	InDoubt = NotExecuted + 1
)
