package sock

// This file holds receiving and sending one piece, as quick as Linux can do it.

import (
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// maxQuick is how much a system call may move that the Go scheduler does not know of: it takes a few microseconds. In a
// call that the scheduler knows of, it may give the processor to another thread, which costs more than the call.
const maxQuick = 64 << 10

// transfer is a read or write that does not wait. All duplicates of a descriptor share its mode, in other processes
// too, so each call on a socket has the flag not to wait: a thread that waited in a call that the scheduler does not
// know of would stop the whole process. Other descriptors have no such flag, so the scheduler knows of those calls.
func transfer(socketTrap, trap uintptr, fd int, p []byte, flags uintptr) (int, error) {
	call := unix.Syscall6
	if len(p) <= maxQuick {
		call = unix.RawSyscall6
	}
	base, size := unsafe.Pointer(unsafe.SliceData(p)), uintptr(len(p))
	n, _, errno := call(socketTrap, uintptr(fd), uintptr(base), size, flags, 0, 0)
	if errno == unix.ENOTSOCK || errno == unix.ENOSYS {
		n, _, errno = unix.Syscall(trap, uintptr(fd), uintptr(base), size)
	}
	runtime.KeepAlive(p)
	if errno != 0 {
		return 0, errno
	}
	return int(n), nil
}

func readNow(fd int, p []byte) (int, error) {
	return transfer(unix.SYS_RECVFROM, unix.SYS_READ, fd, p, unix.MSG_DONTWAIT)
}

func writeNow(fd int, p []byte) (int, error) {
	return transfer(unix.SYS_SENDTO, unix.SYS_WRITE, fd, p, unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL)
}

// sendPieces is writeNow for several pieces.
func sendPieces(fd int, iovs []unix.Iovec) (n uintptr, errno unix.Errno) {
	msg := unix.Msghdr{Iov: unsafe.SliceData(iovs)}
	msg.SetIovlen(len(iovs))
	n, _, errno = unix.Syscall(unix.SYS_SENDMSG, uintptr(fd), uintptr(unsafe.Pointer(&msg)),
		unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL)
	if errno == unix.ENOTSOCK || errno == unix.ENOSYS {
		return writev(fd, iovs)
	}
	return n, errno
}
