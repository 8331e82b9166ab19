//go:build !unix

package netpoll

// endLinger has nothing to do: closing a socket of package net does not wait on these systems.
func endLinger(int) {}
