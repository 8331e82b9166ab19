package sock

// This file holds the question whether a socket uses multipath TCP.

import (
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// The kernel's numbers for multipath TCP.
const (
	levelMultipath = 0x11c
	multipathInfo  = 1
)

// reportsFallback says whether the kernel reports a fall back, which it does since 5.16.
var reportsFallback = sync.OnceValue(func() bool {
	version := KernelVersion(KernelRelease())
	return version[0] > 5 || version[0] == 5 && version[1] >= 16
})

// UsesMultipath asks for the state of multipath TCP. A socket that does not use it, or has fallen back, has none.
func UsesMultipath(fd int) bool {
	protocol, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_PROTOCOL)
	if err != nil || protocol != unix.IPPROTO_MPTCP {
		return false
	}
	if !reportsFallback() {
		return true
	}
	_, err = unix.GetsockoptInt(fd, levelMultipath, multipathInfo)
	return err != syscall.EOPNOTSUPP && err != syscall.ENOPROTOOPT
}
