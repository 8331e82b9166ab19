//go:build (linux && !netconn) || darwin || dragonfly || freebsd || netbsd || openbsd

package netpoll

// This file holds what pollers ask of the rules for io_uring, and tell them.

import "fmt"

// leastBatch is how many operations a batch needs for the ring to cost less than plain system calls.
const leastBatch = 4

// least returns the number of operations from which on a batch is worth a ring; 0 if no ring is to be used.
func (u *ringPolicy) least() int {
	if u.broken.Load() != nil {
		return 0
	}
	switch IOUringMode(u.mode.Load()) {
	case IOUringOff:
		return 0
	case IOUringAlways:
		return 1
	}
	return leastBatch
}

// refused notes that no ring could be made. Where the probe could make one, that is news.
func (u *ringPolicy) refused(err error) {
	if u.probe() == nil {
		u.failed(err)
	}
}

// failed ends the use of rings in the process. The first to report it is the one that logs it.
func (u *ringPolicy) failed(err error) {
	err = fmt.Errorf("netpoll: io_uring failed: %w", err)
	if u.broken.CompareAndSwap(nil, &err) {
		logger().Printf("%v; plain system calls are used from now on", err)
	}
}
