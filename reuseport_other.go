//go:build !(linux || darwin || dragonfly || freebsd || netbsd || openbsd || aix)

package netpoll

import "syscall"

// reusePort returns a Control function that fails: this system has no such option.
func reusePort(controlFunc) controlFunc {
	return func(string, string, syscall.RawConn) error { return Exception(ErrUnsupported, "ReusePort") }
}
