//go:build unix

package sock

// This file holds the tests of addresses as package syscall reads them.

import (
	"net"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

func loopbackInterface(t *testing.T) net.Interface {
	t.Helper()
	list, err := net.Interfaces()
	require.NoError(t, err)
	for _, i := range list {
		if i.Flags&net.FlagLoopback != 0 {
			return i
		}
	}
	t.Fatal("no loopback interface")
	return net.Interface{}
}

// linkLocal is an address that needs a zone.
var linkLocal = [16]byte{0xfe, 0x80, 15: 1}

func TestAddressIsWhatPackageNetHas(t *testing.T) {
	loopback := loopbackInterface(t)
	for name, c := range map[string]struct {
		name syscall.Sockaddr
		want net.Addr
	}{
		"IPv4": {
			&syscall.SockaddrInet4{Port: 80, Addr: [4]byte{127, 0, 0, 1}},
			&net.TCPAddr{IP: net.IP{127, 0, 0, 1}, Port: 80},
		},
		"IPv4 in IPv6": {
			&syscall.SockaddrInet6{Port: 65535, Addr: [16]byte{10: 0xff, 11: 0xff, 12: 10, 15: 7}},
			&net.TCPAddr{IP: net.IP{10, 0, 0, 7}, Port: 65535},
		},
		"IPv6 with a zone": {
			&syscall.SockaddrInet6{Port: 80, Addr: linkLocal, ZoneId: uint32(loopback.Index)},
			&net.TCPAddr{IP: linkLocal[:], Port: 80, Zone: loopback.Name},
		},
		"IPv6 with a zone that is gone": {
			&syscall.SockaddrInet6{Port: 80, Addr: linkLocal, ZoneId: 1 << 30},
			&net.TCPAddr{IP: linkLocal[:], Port: 80, Zone: "1073741824"},
		},
		"path":          {&syscall.SockaddrUnix{Name: "/run/x"}, &net.UnixAddr{Name: "/run/x", Net: "unix"}},
		"abstract":      {&syscall.SockaddrUnix{Name: "@name"}, &net.UnixAddr{Name: "@name", Net: "unix"}},
		"no name":       {&syscall.SockaddrUnix{}, nil},
		"none on Linux": {&syscall.SockaddrUnix{Name: "@"}, nil},
		"nothing":       {nil, nil},
	} {
		t.Run(name, func(t *testing.T) { require.Equal(t, c.want, fromSockaddr(c.name).Net()) })
	}
	require.Equal(t, unnamedSocket, Address{}.Unix().String(), "an unnamed peer, as package net calls it")
}
