package sock

// This file holds what only Linux knows about sockets of datagrams.

import (
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// The options that go beyond the limit of the system.
const (
	forceRead  = unix.SO_RCVBUFFORCE
	forceWrite = unix.SO_SNDBUFFORCE
)

// Drops returns how many datagrams the system has dropped because what it buffers for fd was full. It counts modulo 2^32.
func Drops(fd int) (uint32, error) {
	var info [unix.SK_MEMINFO_VARS]uint32
	size := uint32(unsafe.Sizeof(info))
	_, _, errno := unix.RawSyscall6(unix.SYS_GETSOCKOPT, uintptr(fd), unix.SOL_SOCKET, unix.SO_MEMINFO,
		uintptr(unsafe.Pointer(&info)), uintptr(unsafe.Pointer(&size)), 0)
	if errno != 0 {
		return 0, os.NewSyscallError("getsockopt", errno)
	}
	return info[unix.SK_MEMINFO_DROPS], nil
}
