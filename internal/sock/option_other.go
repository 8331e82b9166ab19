//go:build !(linux || darwin || dragonfly || freebsd || netbsd || openbsd)

package sock

// This file stands in for keepalive by descriptor where package net owns the descriptors.

// SetKeepAlive fails on this system.
func SetKeepAlive(int, int) error { return Unsupported("keepalive by descriptor") }
