//go:build !(linux || darwin || dragonfly || freebsd || netbsd || openbsd)

package sock

// This file stands in for options of sockets of datagrams where package net owns the descriptors.

// ForceReadBuffer does nothing on this system.
func ForceReadBuffer(uintptr, int) bool { return false }

// ForceWriteBuffer does nothing on this system.
func ForceWriteBuffer(uintptr, int) bool { return false }
