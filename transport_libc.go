//go:build darwin || openbsd

package netpoll

// This file holds the gathering write of the systems whose system calls are those of their C library alone.

import "golang.org/x/sys/unix"

// sysVector holds the pieces of one call.
type sysVector [maxVector][]byte

// gatherWrite sends the pieces of v with one writev.
func gatherWrite(fd int, v *vector) (int, error) {
	total := 0
	pieces := v.sys[:0]
	for _, b := range v.bufs[:v.n] {
		b = b[:min(len(b), maxTransfer-total)]
		if len(b) == 0 {
			break
		}
		total += len(b)
		pieces = append(pieces, b)
	}
	n, err := unix.Writev(fd, pieces)
	clear(pieces)
	return n, err
}
