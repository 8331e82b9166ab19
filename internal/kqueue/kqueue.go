//go:build linux || darwin || dragonfly || freebsd || netbsd || openbsd

// Package kqueue is kqueue(2) and kevent(2) behind one small interface. On macOS and the BSDs the kernel answers,
// through golang.org/x/sys/unix. On Linux a model of those kernels answers, made of epoll, so that tests can run code
// written for kqueue there; only tests use it.
//
// The package hides how the systems lay out a change or an event. It does not hide differences in behaviour;
// docs/portability.md lists those.
package kqueue

import "time"

// Change is a request to a kqueue: to add a filter for a descriptor, to change or to delete it.
type Change struct {
	Ident  int
	Filter int
	Flags  int
	Fflags uint32
	Udata  uintptr // comes back with events; a number, never a pointer
}

// Info is an event, decoded. Of Flags only EOF and EV_ERROR mean the same everywhere: the systems differ in which flags
// of the change come back with an event.
type Info struct {
	Ident  int
	Filter int
	Flags  int
	Fflags uint32
	Data   int64
	Udata  uintptr
}

// Control applies one change and returns its errno, a syscall.Errno, or nil. It does not block and may be called
// from any goroutine, also while others wait. It allocates nothing.
func Control(kq int, c Change) error { return control(kq, c) }

// Wait fills events with ready ones and returns their number. It blocks until there is at least one, or until the
// timeout has passed if it is not nil; a timeout of 0 only looks. Its errors are errnos, EINTR among them. The memory
// of events must come from [NewEvents].
func Wait(kq int, events []Event, timeout *time.Duration) (n int, err error) {
	return call(kq, nil, events, timeout)
}

// Call is kevent(2) itself: it applies the changes, then fetches events. Failed changes are reported in events while
// there is room. It is for tests; a poller is better off with Control and Wait.
func Call(kq int, changes, events []Event, timeout *time.Duration) (n int, err error) {
	return call(kq, changes, events, timeout)
}
