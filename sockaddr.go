//go:build (linux && !netconn) || darwin || dragonfly || freebsd || netbsd || openbsd

package netpoll

// This file holds socket addresses as the kernel gives them, and what they are in package net. Turning a TCP address
// into a netip.AddrPort allocates nothing.

import (
	"bytes"
	"encoding/binary"
	"net"
	"net/netip"
	"strconv"
	"unsafe"

	"golang.org/x/sys/unix"
)

// sockaddr is filled by the kernel.
type sockaddr struct {
	raw  unix.RawSockaddrAny
	size uint32
}

// addrPort returns a TCP address; the zero value for anything else.
func (a *sockaddr) addrPort() netip.AddrPort {
	switch a.raw.Addr.Family {
	case unix.AF_INET:
		in := (*unix.RawSockaddrInet4)(unsafe.Pointer(&a.raw))
		return netip.AddrPortFrom(netip.AddrFrom4(in.Addr), networkOrder(in.Port))
	case unix.AF_INET6:
		in := (*unix.RawSockaddrInet6)(unsafe.Pointer(&a.raw))
		ip := netip.AddrFrom16(in.Addr).Unmap() // an IPv4 peer of a dual-stack listener
		if in.Scope_id != 0 && ip.Is6() {
			ip = ip.WithZone(zoneName(in.Scope_id))
		}
		return netip.AddrPortFrom(ip, networkOrder(in.Port))
	}
	return netip.AddrPort{}
}

// networkOrder reads a port that lies in memory as it goes over the wire.
func networkOrder(port uint16) uint16 {
	var b [2]byte
	binary.NativeEndian.PutUint16(b[:], port)
	return binary.BigEndian.Uint16(b[:])
}

// zoneName is the name of an interface, or its number if it has no name any more.
func zoneName(index uint32) string {
	if i, err := net.InterfaceByIndex(int(index)); err == nil {
		return i.Name
	}
	return strconv.FormatUint(uint64(index), 10)
}

// unnamed is the address of a Unix socket that has none, as package net gives it for accepted connections.
var unnamed net.Addr = &net.UnixAddr{Name: unnamedSocket, Net: "unix"}

// unixAddr returns the address of a Unix socket; a leading "@" stands for the abstract name space.
func (a *sockaddr) unixAddr() net.Addr {
	name := a.unixName()
	if name == "" {
		return unnamed
	}
	return &net.UnixAddr{Name: name, Net: "unix"}
}

// unixName returns "" for a socket without a name.
func (a *sockaddr) unixName() string {
	const pathOffset = unsafe.Offsetof(unix.RawSockaddrUnix{}.Path)
	if a.raw.Addr.Family != unix.AF_UNIX || uintptr(a.size) <= pathOffset {
		return ""
	}
	in := (*unix.RawSockaddrUnix)(unsafe.Pointer(&a.raw))
	path := unsafe.Slice((*byte)(unsafe.Pointer(&in.Path[0])), len(in.Path))
	path = path[:min(int(uintptr(a.size)-pathOffset), len(path))]
	prefix := ""
	if path[0] == 0 {
		prefix, path = "@", path[1:]
	}
	if end := bytes.IndexByte(path, 0); end >= 0 { // an abstract name could go on, but for package net it does not
		path = path[:end]
	}
	return prefix + string(path)
}

// netAddr returns the address in the form of package net, or a nil interface if it is none that a stream socket of this
// package can have.
func (a *sockaddr) netAddr() net.Addr {
	if ap := a.addrPort(); ap.IsValid() {
		return net.TCPAddrFromAddrPort(ap)
	}
	if name := a.unixName(); name != "" {
		return &net.UnixAddr{Name: name, Net: "unix"}
	}
	return nil
}

// localAddr returns the address of this side of a socket, or a nil interface if it has none.
func localAddr(fd int) net.Addr {
	var a sockaddr
	if err := getSocketName(fd, &a); err != nil {
		return nil
	}
	return a.netAddr()
}

// remoteAddr returns the address of the peer of a socket, or a nil interface if it has none.
func remoteAddr(fd int) net.Addr {
	var a sockaddr
	if err := getPeerName(fd, &a); err != nil {
		return nil
	}
	return a.netAddr()
}
