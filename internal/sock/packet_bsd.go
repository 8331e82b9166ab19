//go:build darwin || dragonfly || freebsd || netbsd || openbsd

package sock

// This file stands in for what these systems do not know about sockets of datagrams.

// No option goes beyond the limit of the system.
const forceRead, forceWrite = 0, 0

// Drops fails: these systems count for all sockets together.
func Drops(int) (uint32, error) { return 0, Unsupported("counting dropped datagrams") }
