//go:build linux || darwin || dragonfly || freebsd || netbsd || openbsd

// Package kqueue is kqueue(2) and kevent(2) behind one small face. On macOS and the BSDs the kernel answers, through
// golang.org/x/sys/unix. On Linux a model of those kernels answers, made of epoll, so that code written for kqueue can
// be tested where there is none; nothing but tests uses it.
//
// The package hides what differs between the systems in how a change or an event is laid out. What they do differently
// it does not hide; docs/portability.md lists that.
package kqueue

import "time"

// Change is what is asked of a kqueue: to add a filter for a descriptor, to change or to delete it.
type Change struct {
	Ident  int
	Filter int
	Flags  int
	Fflags uint32
	Udata  uintptr // comes back with events; a number, never a pointer
}

// Info is an event, decoded. Of Flags only EOF and EV_ERROR mean the same everywhere: which of the flags of the change
// come back with an event differs.
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

// Wait fills events with what is ready and returns how many there are. It blocks until there is at least one, or until
// the timeout has passed if it is not nil; a timeout of 0 only looks. Its errors are errnos, EINTR
// among them. The memory of events must come from [NewEvents].
func Wait(kq int, events []Event, timeout *time.Duration) (n int, err error) {
	return call(kq, nil, events, timeout)
}

// Call is kevent(2) itself: it applies the changes, then fetches events. Changes that fail are reported in events as
// far as there is room. It is for tests; a poller is better off with Control and Wait.
func Call(kq int, changes, events []Event, timeout *time.Duration) (n int, err error) {
	return call(kq, changes, events, timeout)
}
