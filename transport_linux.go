package netpoll

import (
	"runtime"
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

// gatherWrite sends the pieces of v with one writev. The pieces stay alive through v; the kernel keeps nothing.
func gatherWrite(fd int, v *vector) (int, error) {
	total := 0
	iovs := v.sys[:0]
	for _, b := range v.bufs[:v.n] {
		b = b[:min(len(b), maxTransfer-total)]
		if len(b) == 0 {
			break
		}
		total += len(b)
		iovs = iovs[:len(iovs)+1]
		iovs[len(iovs)-1].Base = &b[0]
		iovs[len(iovs)-1].SetLen(len(b))
	}
	n, _, errno := syscall.Syscall(syscall.SYS_WRITEV, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(iovs))),
		uintptr(len(iovs)))
	clear(iovs)
	runtime.KeepAlive(v)
	if errno != 0 {
		return 0, errno
	}
	return int(n), nil
}
