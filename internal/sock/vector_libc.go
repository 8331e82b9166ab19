//go:build darwin || openbsd

package sock

// This file holds the gathering write of the systems whose system calls are those of their C library alone.

import (
	"net"

	"golang.org/x/sys/unix"
)

// sysVector is the list for the kernel, or for package net.
type sysVector struct {
	list   net.Buffers
	pieces [MaxVector][]byte
}

// gatherWrite sends the pieces of v with one writev.
func gatherWrite(fd int, v *Vector) (int, error) {
	total := 0
	pieces := v.sys.pieces[:0]
	for _, b := range v.Bufs[:v.N] {
		b = b[:min(len(b), MaxTransfer-total)]
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
