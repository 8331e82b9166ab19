package errno

// This file holds the errnos of Windows, where the names of package syscall are numbers of Go's own invention, and
// sockets fail with others.

import "syscall"

// socketErrnos gives the errors of Windows sockets the names that programs match on every system.
var socketErrnos = map[syscall.Errno]syscall.Errno{
	10050: syscall.ENETDOWN,
	10051: syscall.ENETUNREACH,
	10052: syscall.ENETRESET,
	10053: syscall.ECONNABORTED,
	10054: syscall.ECONNRESET,
	10057: syscall.ENOTCONN,
	10058: syscall.EPIPE, // sending after this side has ended its sending
	10060: syscall.ETIMEDOUT,
	10061: syscall.ECONNREFUSED,
	10065: syscall.EHOSTUNREACH,
	232:   syscall.EPIPE, // ERROR_NO_DATA: the pipe is being closed
	109:   syscall.EPIPE, // ERROR_BROKEN_PIPE
}

// Common returns the name that no has on every system, or no itself.
func Common(no syscall.Errno) syscall.Errno {
	if common, ok := socketErrnos[no]; ok {
		return common
	}
	return no
}

// inventedErrno marks a packed errno that Go has invented.
const inventedErrno = 1 << 15

// Pack makes an errno fit into 16 bits.
func Pack(no syscall.Errno) uint16 {
	if no >= syscall.APPLICATION_ERROR {
		return uint16(no-syscall.APPLICATION_ERROR) | inventedErrno
	}
	return uint16(no &^ inventedErrno)
}

// Unpack undoes Pack.
func Unpack(packed uint16) syscall.Errno {
	if packed >= inventedErrno {
		return syscall.Errno(packed&^inventedErrno) + syscall.APPLICATION_ERROR
	}
	return syscall.Errno(packed)
}
