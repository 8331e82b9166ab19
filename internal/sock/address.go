//go:build unix

package sock

// This file holds addresses of sockets, and their forms in package net. Turning the address of a TCP socket into a
// netip.AddrPort allocates nothing. Reading addresses from the kernel is in address_linux.go and address_other.go.

import (
	"net"
	"net/netip"
	"strconv"
	"syscall"
)

// Address is the address of a socket or of its peer. No stream socket of this project has the zero value.
type Address struct {
	TCP  netip.AddrPort // not valid if it is none of TCP
	Name string         // of a Unix socket, if it has one; a leading "@" stands for the abstract name space
}

// fromSockaddr returns the address that package syscall has read.
func fromSockaddr(name syscall.Sockaddr) (a Address) {
	switch name := name.(type) {
	case *syscall.SockaddrInet4:
		a.TCP = netip.AddrPortFrom(netip.AddrFrom4(name.Addr), uint16(name.Port))
	case *syscall.SockaddrInet6:
		a.TCP = addrPort6(name.Addr, uint16(name.Port), name.ZoneId)
	case *syscall.SockaddrUnix:
		if name.Name != "@" { // package syscall for Linux gives "@" for none
			a.Name = name.Name
		}
	}
	return a
}

func addrPort6(addr [16]byte, port uint16, zone uint32) netip.AddrPort {
	ip := netip.AddrFrom16(addr).Unmap() // an IPv4 peer of a dual-stack listener
	if zone != 0 && ip.Is6() {
		ip = ip.WithZone(zoneName(zone))
	}
	return netip.AddrPortFrom(ip, port)
}

// zoneName is the name of an interface, or its number if the interface is gone.
func zoneName(index uint32) string {
	if i, err := net.InterfaceByIndex(int(index)); err == nil {
		return i.Name
	}
	return strconv.FormatUint(uint64(index), 10)
}

// unnamed is the address of a Unix socket without a name, as package net gives it for accepted connections.
var unnamed net.Addr = &net.UnixAddr{Name: unnamedSocket, Net: "unix"}

// Unix returns the address of a Unix socket in the form of package net.
func (a Address) Unix() net.Addr {
	if a.Name == "" {
		return unnamed
	}
	return &net.UnixAddr{Name: a.Name, Net: "unix"}
}

// Net returns the address in the form of package net, or a nil interface if there is none.
func (a Address) Net() net.Addr {
	switch {
	case a.TCP.IsValid():
		return net.TCPAddrFromAddrPort(a.TCP)
	case a.Name != "":
		return &net.UnixAddr{Name: a.Name, Net: "unix"}
	}
	return nil
}

// LocalAddr returns the address of this side of a socket, or a nil interface if it has none.
func LocalAddr(fd int) net.Addr {
	a, err := localAddress(fd)
	if err != nil {
		return nil
	}
	return a.Net()
}

// RemoteAddr returns the address of the peer of a socket, or a nil interface if it has none.
func RemoteAddr(fd int) net.Addr {
	a, err := remoteAddress(fd)
	if err != nil {
		return nil
	}
	return a.Net()
}
