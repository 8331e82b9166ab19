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
	var name unix.Utsname
	if unix.Uname(&name) != nil {
		return false
	}
	var version [2]int
	for i, part := 0, 0; i < len(name.Release) && part < len(version); i++ {
		digit := int(name.Release[i]) - '0'
		if digit < 0 || digit > 9 {
			part++
			continue
		}
		version[part] = 10*version[part] + digit
	}
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
