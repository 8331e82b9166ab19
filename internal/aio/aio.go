// Package aio runs batches of socket operations in one system call, with Linux AIO as the I/O batch.
//
// It does the same as package uring, with the same methods, where io_uring is refused: the seccomp profiles of Docker
// and containerd refuse its calls, and allow those of AIO. Nothing is asynchronous about it. An operation on a socket
// is executed inside the io_submit that hands it over, and carries RWF_NOWAIT, so it completes, or fails with EAGAIN,
// before the call returns. Its result is in a ring in mapped memory, which is read without a call. Between two calls of
// Submit the kernel therefore holds nothing: no memory, no descriptor, no operation to cancel.
//
// A send to a connection whose peer is gone raises SIGPIPE, unless the kernel knows RWF_NOSIGNAL. The Go runtime drops
// that signal; a program that asks for it by signal.Notify sees it, as it does with connections of package net.
package aio

import (
	"errors"

	"github.com/cloudwego/netpoll/internal/uring"
)

// This file holds what is the same on every system: the outcomes beyond those of a system call, and the errors.

// Results of an operation are those of recv(2) and send(2), and two more, which are those of package uring: the poller
// need not know which package executes its batch.
const (
	// NotExecuted: the kernel never began the operation. No byte was moved; do it with a plain system call.
	NotExecuted = uring.NotExecuted
	// InDoubt: the kernel took the operation and neither answered nor gave it back. The stream is beyond repair, and
	// the memory must not be used again. The package keeps a reference to it for good. Only a kernel at fault gives
	// this.
	InDoubt = uring.InDoubt
)

// ErrMisbehaves is wrapped by the errors of [Probe] and [Ring.Submit] that say that the kernel took an operation and
// did not do with it what the package relies on.
var ErrMisbehaves = errors.New("linux aio operation misbehaves")
