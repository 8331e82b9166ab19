//go:build !((linux && !netconn) || darwin || dragonfly || freebsd || netbsd || openbsd)

package test

// hasBatches: one call receives many datagrams.
const hasBatches = false

// isRefused: each system has a name of its own for it.
func isRefused(err error) bool { return err != nil }
