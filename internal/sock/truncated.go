//go:build unix

package sock

// This file holds how package net reports that a datagram was longer than the memory for it.

import "syscall"

// Truncated reports whether it was, by the flags and the error of ReadMsgUDP, and returns the error if it is another one.
func Truncated(flags int, err error) (truncated bool, other error) {
	return flags&syscall.MSG_TRUNC != 0, err
}
