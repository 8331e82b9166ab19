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

import "errors"

// This file holds what is the same on every system.

// ErrMisbehaves is wrapped by the errors of [Probe] and [Ring.Submit] that say that the kernel took an operation and
// did not do with it what the package relies on.
var ErrMisbehaves = errors.New("linux aio operation misbehaves")
