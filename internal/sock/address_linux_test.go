package sock

// This file holds the tests of addresses as the kernel writes them.

import (
	"net"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// kernelAddress lays out raw as the kernel would.
func kernelAddress[T any](raw T, size uintptr) *rawAddress {
	a := &rawAddress{size: uint32(size)}
	*(*T)(unsafe.Pointer(&a.raw)) = raw
	return a
}

// otherFamily is one that no stream socket of this project has.
const otherFamily = 199

func TestRawAddressIsReadAsPackageNetWouldWriteIt(t *testing.T) {
	loopback := loopbackInterface(t)
	wire := networkOrder(80) // turning the bytes round works both ways
	unixAddress := func(s string, terminated int) *rawAddress {
		raw := unix.RawSockaddrUnix{Family: unix.AF_UNIX}
		copy(unsafe.Slice((*byte)(unsafe.Pointer(&raw.Path[0])), len(raw.Path)), s)
		return kernelAddress(raw, uintptr(2+len(s)+terminated))
	}
	for name, c := range map[string]struct {
		addr *rawAddress
		want net.Addr
	}{
		"IPv4": {
			kernelAddress(unix.RawSockaddrInet4{Family: unix.AF_INET, Port: wire, Addr: [4]byte{127, 0, 0, 1}}, 16),
			&net.TCPAddr{IP: net.IP{127, 0, 0, 1}, Port: 80},
		},
		"IPv4 in IPv6": {
			kernelAddress(unix.RawSockaddrInet6{Family: unix.AF_INET6, Port: wire,
				Addr: [16]byte{10: 0xff, 11: 0xff, 12: 10, 15: 7}}, 28),
			&net.TCPAddr{IP: net.IP{10, 0, 0, 7}, Port: 80},
		},
		"IPv6 with a zone": {
			kernelAddress(unix.RawSockaddrInet6{Family: unix.AF_INET6, Port: wire, Addr: linkLocal,
				Scope_id: uint32(loopback.Index)}, 28),
			&net.TCPAddr{IP: linkLocal[:], Port: 80, Zone: loopback.Name},
		},
		"IPv6 with a zone that is gone": {
			kernelAddress(unix.RawSockaddrInet6{Family: unix.AF_INET6, Port: wire, Addr: linkLocal, Scope_id: 1 << 30}, 28),
			&net.TCPAddr{IP: linkLocal[:], Port: 80, Zone: "1073741824"},
		},
		"path":                    {unixAddress("/run/x", 1), &net.UnixAddr{Name: "/run/x", Net: "unix"}},
		"path without terminator": {unixAddress("/run/x", 0), &net.UnixAddr{Name: "/run/x", Net: "unix"}},
		"abstract":                {unixAddress("\x00name", 0), &net.UnixAddr{Name: "@name", Net: "unix"}},
		"abstract, padded":        {unixAddress("\x00name\x00\x00", 0), &net.UnixAddr{Name: "@name", Net: "unix"}},
		"no name":                 {unixAddress("", 0), nil},
		"another family":          {kernelAddress(unix.RawSockaddrInet4{Family: otherFamily}, 12), nil},
	} {
		t.Run(name, func(t *testing.T) { require.Equal(t, c.want, c.addr.address().Net()) })
	}
}

func TestTCPAddressIsReadWithoutAllocation(t *testing.T) {
	a := kernelAddress(unix.RawSockaddrInet6{Family: unix.AF_INET6, Addr: [16]byte{15: 1}}, 28)
	require.Zero(t, testing.AllocsPerRun(100, func() {
		if !a.address().TCP.IsValid() {
			t.Error("no address")
		}
	}))
}
