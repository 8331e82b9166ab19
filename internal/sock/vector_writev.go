//go:build dragonfly || freebsd || linux || netbsd

package sock

// This file holds the gathering write of the systems that take system calls as they are.

import (
	"net"
	"runtime"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// sysVector is the list for the kernel, or for package net.
type sysVector struct {
	list net.Buffers
	iovs [MaxVector]unix.Iovec
}

// gatherWrite sends the pieces of v with one system call. The pieces stay alive through v; the kernel keeps nothing.
func gatherWrite(fd int, v *Vector) (int, error) {
	total := 0
	iovs := v.sys.iovs[:0]
	for _, b := range v.Bufs[:v.N] {
		b = b[:min(len(b), MaxTransfer-total)]
		if len(b) == 0 {
			break
		}
		total += len(b)
		iovs = iovs[:len(iovs)+1]
		iovs[len(iovs)-1].Base = &b[0]
		iovs[len(iovs)-1].SetLen(len(b))
	}
	n, errno := sendPieces(fd, iovs)
	clear(iovs)
	runtime.KeepAlive(v)
	if errno != 0 {
		return 0, errno
	}
	return int(n), nil
}

func writev(fd int, iovs []unix.Iovec) (n uintptr, errno syscall.Errno) {
	n, _, errno = syscall.Syscall(syscall.SYS_WRITEV, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(iovs))),
		uintptr(len(iovs)))
	return n, errno
}
