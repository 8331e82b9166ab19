package sock

// This file holds addresses as the kernel writes them.

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"unsafe"

	"golang.org/x/sys/unix"
)

// rawAddress is filled by the kernel.
type rawAddress struct {
	raw  unix.RawSockaddrAny
	size uint32
}

// address reads it.
func (a *rawAddress) address() Address {
	switch a.raw.Addr.Family {
	case unix.AF_INET:
		in := (*unix.RawSockaddrInet4)(unsafe.Pointer(&a.raw))
		return Address{TCP: netip.AddrPortFrom(netip.AddrFrom4(in.Addr), networkOrder(in.Port))}
	case unix.AF_INET6:
		in := (*unix.RawSockaddrInet6)(unsafe.Pointer(&a.raw))
		return Address{TCP: addrPort6(in.Addr, networkOrder(in.Port), in.Scope_id)}
	case unix.AF_UNIX:
		return Address{Name: a.unixName()}
	}
	return Address{}
}

// networkOrder reads a port that lies in memory as it goes over the wire, and lays one out like that.
func networkOrder(port uint16) uint16 {
	var b [2]byte
	binary.NativeEndian.PutUint16(b[:], port)
	return binary.BigEndian.Uint16(b[:])
}

// unixName returns "" for a socket without a name.
func (a *rawAddress) unixName() string {
	const pathOffset = unsafe.Offsetof(unix.RawSockaddrUnix{}.Path)
	if uintptr(a.size) <= pathOffset {
		return ""
	}
	in := (*unix.RawSockaddrUnix)(unsafe.Pointer(&a.raw))
	path := unsafe.Slice((*byte)(unsafe.Pointer(&in.Path[0])), len(in.Path))
	path = path[:min(int(uintptr(a.size)-pathOffset), len(path))]
	prefix := ""
	if path[0] == 0 {
		prefix, path = "@", path[1:]
	}
	if end := bytes.IndexByte(path, 0); end >= 0 { // an abstract name could go on, but package net ends it here
		path = path[:end]
	}
	return prefix + string(path)
}

func localAddress(fd int) (Address, error) { return socketName(unix.SYS_GETSOCKNAME, fd) }

func remoteAddress(fd int) (Address, error) { return socketName(unix.SYS_GETPEERNAME, fd) }

func socketName(call uintptr, fd int) (Address, error) {
	a := rawAddress{size: unix.SizeofSockaddrAny}
	_, _, errno := unix.RawSyscall(call, uintptr(fd), uintptr(unsafe.Pointer(&a.raw)), uintptr(unsafe.Pointer(&a.size)))
	if errno != 0 {
		return Address{}, errno
	}
	return a.address(), nil
}

// unnamedSocket is what package net calls a Unix socket without a name.
const unnamedSocket = "@"
