//go:build !(linux || darwin || dragonfly || freebsd || netbsd || openbsd || aix)

package sock

import "syscall"

// ReusePort fails: this system has no such option.
func ReusePort(syscall.RawConn) error { return Unsupported("ReusePort") }
