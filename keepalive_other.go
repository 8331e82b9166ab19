//go:build !(linux || darwin || dragonfly || freebsd || netbsd || openbsd)

package netpoll

// SetKeepAlive gives an error that Is [ErrUnsupported] on this system, where package net owns the descriptors. The
// method of the same name of a connection does work.
func SetKeepAlive(fd, secs int) error { return Exception(ErrUnsupported, "keepalive by descriptor") }
