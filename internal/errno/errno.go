// Package errno says what the error codes of the systems mean: which say that a connection is gone, which names they have
// on every system, and how one fits into 16 bits.
package errno

import "syscall"

// EndsConnection reports whether no, from a read or a write, says that the connection is gone.
func EndsConnection(no syscall.Errno) bool {
	switch no {
	case syscall.ECONNRESET, syscall.ECONNABORTED, syscall.EPIPE, syscall.ENOTCONN,
		syscall.ETIMEDOUT, syscall.EHOSTUNREACH, syscall.ENETUNREACH, syscall.ENETDOWN, syscall.ENETRESET:
		return true
	}
	return no == shutdown
}
