//go:build darwin || dragonfly || freebsd || netbsd || openbsd

package netpoll

// usesMultipath is known on Linux only.
func usesMultipath(int) bool { return false }
