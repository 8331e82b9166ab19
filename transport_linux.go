//go:build !netconn

package netpoll

// This file holds receiving and sending one piece, as quick as Linux can do it.

import (
	"syscall"
	"unsafe"
)

// maxQuick is how much may be moved by a system call that the scheduler is not told of: a few microseconds' worth. For
// one that it is told of it may give the processor to another thread, which costs more than the call.
const maxQuick = 64 << 10

// transfer is read or write on a non-blocking descriptor.
func transfer(trap uintptr, fd int, p []byte) (int, error) {
	call := syscall.Syscall
	if len(p) <= maxQuick {
		call = syscall.RawSyscall
	}
	n, _, errno := call(trap, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p)))
	if errno != 0 {
		return 0, errno
	}
	return int(n), nil
}

func readNow(fd int, p []byte) (int, error)  { return transfer(syscall.SYS_READ, fd, p) }
func writeNow(fd int, p []byte) (int, error) { return transfer(syscall.SYS_WRITE, fd, p) }
