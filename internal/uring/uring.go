// Package uring runs batches of socket operations in one system call, with io_uring as the I/O batch.
//
// The ring is not used to wait for anything. Every operation carries MSG_DONTWAIT, so it completes, or fails with
// EAGAIN, inside the io_uring_enter that submits it. Between two calls of Submit the kernel therefore holds nothing:
// no memory, no descriptor, no operation to cancel; a descriptor may be closed at any time in between. So this package
// uses only one feature of io_uring, which epoll lacks: many receives and sends for one entry into the kernel.
//
// The package knows sockets by their descriptors and memory by slices. It knows no connections, and no retries:
// EAGAIN, a short send and the end of stream are results like any other.
package uring

import (
	"errors"
	"math"
)

// This file holds the part for every system: the results beyond those of a system call, and the errors.

// Results of an operation are those of recv(2) and send(2): a count of bytes, or a negative errno. Two more exist;
// no kernel returns them.
const (
	// NotExecuted: the kernel never began the operation. No byte was moved; do it with a plain system call.
	NotExecuted int32 = math.MinInt32
	// InDoubt: the kernel took the operation and neither answered nor gave it back. Some, all or none of the bytes
	// may have been moved, so the stream is beyond repair; and the kernel may still use the memory, so it must
	// not be used again. The package keeps a reference to it for good. Only a kernel at fault gives this.
	InDoubt = NotExecuted + 1
)

// ErrMisbehaves is wrapped by the errors of [Probe] and [Ring.Submit] that say that the kernel took an operation and
// did not do with it what the package relies on.
var ErrMisbehaves = errors.New("io_uring operation misbehaves")
