//go:build !faults && ((linux && !netconn) || darwin || dragonfly || freebsd || netbsd || openbsd)

package netpoll

// This file holds the rest of the seam for faults as it is shipped: the calls that move bytes, the ring, and what the
// poller sees. Each function is inlined to what it stands for.

import "syscall"

// faultCut returns how much of p the next call of op on fd is to move: all of it.
func faultCut(_ sysOp, _ int, p []byte) ([]byte, syscall.Errno) { return p, 0 }

// faultyGather is gatherWrite.
func faultyGather(fd int, v *vector) (int, error) { return gatherWrite(fd, v) }

// faultyRing returns what does the work of r.
func faultyRing(r ring) ring { return r }

// sightings are the events of one look, as the poller is to see them: as they are.
type sightings struct{}

// note takes the n events of a look of p and returns how many to handle.
func (sightings) note(_ *poller, n int) int { return n }

// event is the i-th of them.
func (sightings) event(s *selector, i int) (token uint64, ev pollEvent) { return s.event(i) }
