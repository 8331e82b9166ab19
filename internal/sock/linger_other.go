//go:build !unix

package sock

// EndLinger has nothing to do: closing a socket of package net does not wait on these systems.
func EndLinger(int) {}
