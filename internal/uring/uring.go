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

import "errors"

// This file holds what is the same on every system.

// ErrMisbehaves is wrapped by the errors of [Probe] and [Ring.Submit] that say that the kernel took an operation and
// did not do with it what the package relies on.
var ErrMisbehaves = errors.New("io_uring operation misbehaves")
