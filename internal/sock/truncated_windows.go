package sock

// This file holds how package net reports on Windows that a datagram was longer than the memory for it.

import (
	"errors"

	"golang.org/x/sys/windows"
)

// Truncated reports whether it was, by the flags and the error of ReadMsgUDP, and returns the error if it is another one.
func Truncated(_ int, err error) (truncated bool, other error) {
	if errors.Is(err, windows.WSAEMSGSIZE) {
		return true, nil
	}
	return false, err
}
