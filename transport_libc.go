//go:build darwin || openbsd

package netpoll

// This file holds the gathering write of the systems whose system calls are those of their C library alone.

import "golang.org/x/sys/unix"

// gatherWrite sends the pieces of v with one writev, without those that go beyond what one call may take.
func gatherWrite(fd int, v *vector) (int, error) {
	total, n := 0, 0
	for n < v.n && len(v.bufs[n]) <= maxTransfer-total {
		total += len(v.bufs[n])
		n++
	}
	if n == 0 {
		return unix.Write(fd, v.bufs[0][:maxTransfer])
	}
	return unix.Writev(fd, v.bufs[:n])
}
