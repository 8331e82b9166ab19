//go:build linux && !kqsim

package sock

// This file holds the options of sockets that ask for ancillary data, and its content: control messages
// like those in control.go.

import (
	"encoding/binary"
	"net/netip"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// ancillaryRoom is for the control data of a datagram: more than all that is asked for here, because a program may have
// asked the system for more.
const ancillaryRoom = 192

// ancillaryBuffer is memory for control data, aligned as the kernel wants it.
type ancillaryBuffer [ancillaryRoom / 8]uint64

func (b *ancillaryBuffer) bytes() []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(b)), ancillaryRoom)
}

// TellLocal makes the system tell the address of this side, and the interface, of each datagram that fd receives.
func TellLocal(fd int, inet6 bool) error {
	if inet6 {
		return setAncillary(fd, unix.IPPROTO_IPV6, unix.IPV6_RECVPKTINFO, 1)
	}
	return setAncillary(fd, unix.IPPROTO_IP, unix.IP_PKTINFO, 1)
}

// TellECN makes the system tell the bits of congestion notification of each datagram that fd receives.
func TellECN(fd int, inet6 bool) error {
	err := setAncillary(fd, unix.IPPROTO_IP, unix.IP_RECVTOS, 1)
	if err == nil && inet6 {
		err = setAncillary(fd, unix.IPPROTO_IPV6, unix.IPV6_RECVTCLASS, 1)
	}
	return err
}

// Coalesce says whether the system may join datagrams that arrive for fd (UDP_GRO).
func Coalesce(fd int, on bool) error {
	value := 0
	if on {
		value = 1
	}
	return setAncillary(fd, unix.IPPROTO_UDP, unix.UDP_GRO, value)
}

func setAncillary(fd, level, option, value int) error {
	return os.NewSyscallError("setsockopt", setOption(fd, level, option, value))
}

// ProbeSegments returns why the system cannot cut what is sent into datagrams (UDP_SEGMENT), or nil.
func ProbeSegments() error {
	return probe(func(fd int) error {
		_, err := unix.GetsockoptInt(fd, unix.IPPROTO_UDP, unix.UDP_SEGMENT)
		return os.NewSyscallError("getsockopt", err)
	})
}

// ProbeCoalesce returns why the system cannot join datagrams that arrive, or nil.
func ProbeCoalesce() error { return probe(func(fd int) error { return Coalesce(fd, true) }) }

// probe calls try with a socket of UDP, of IPv6 if there is no other.
func probe(try func(fd int) error) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err == unix.EAFNOSUPPORT {
		fd, err = unix.Socket(unix.AF_INET6, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	}
	if err != nil {
		return os.NewSyscallError("socket", err)
	}
	err = try(fd)
	_ = unix.Close(fd)
	return err
}

// parseAncillary reads control data. It ignores messages that it does not know, and those too short for what they should
// have; at a length that cannot be it stops.
func parseAncillary(p []byte) (a Ancillary) {
	for len(p) >= unix.CmsgLen(0) {
		hdr, data, rest, err := unix.ParseOneSocketControlMessage(p)
		if err != nil {
			return a
		}
		a.take(hdr.Level, hdr.Type, data)
		p = rest
	}
	return a
}

// take reads one message.
func (a *Ancillary) take(level, kind int32, data []byte) {
	switch {
	case level == unix.IPPROTO_IP && kind == unix.IP_PKTINFO && len(data) >= unix.SizeofInet4Pktinfo:
		// The second field is the address to reply from; the third is that of the datagram, maybe of a group.
		a.setLocal(netip.AddrFrom4([4]byte(data[4:8])), binary.NativeEndian.Uint32(data))
	case level == unix.IPPROTO_IPV6 && kind == unix.IPV6_PKTINFO && len(data) >= unix.SizeofInet6Pktinfo:
		a.setLocal(netip.AddrFrom16([16]byte(data[:16])), binary.NativeEndian.Uint32(data[16:]))
	case level == unix.IPPROTO_IP && kind == unix.IP_TOS && len(data) >= 1:
		a.ECN = data[0] & 3
	case level == unix.IPPROTO_IPV6 && kind == unix.IPV6_TCLASS && len(data) >= 4:
		a.ECN = uint8(binary.NativeEndian.Uint32(data) & 3)
	case level == unix.IPPROTO_UDP && kind == unix.UDP_GRO && len(data) >= 4:
		if size := binary.NativeEndian.Uint32(data); size <= 0xffff {
			a.SegmentSize = int(size)
		}
	}
}

// setLocal keeps an address that replies can leave from.
func (a *Ancillary) setLocal(local netip.Addr, index uint32) {
	if !local.Unmap().IsMulticast() && !local.Unmap().IsUnspecified() {
		a.Local = local
	}
	if index <= 1<<31-1 {
		a.Interface = int(index)
	}
}

// writeAncillary writes into p what a says about a datagram to send, and returns how long that is. inet6 says that it is
// for a socket of IPv6, and to4 that the receiver has an address of IPv4.
func writeAncillary(p []byte, a Ancillary, inet6, to4 bool) (n int) {
	if a.Local.IsValid() && !a.Local.Unmap().IsMulticast() && !a.Local.Unmap().IsUnspecified() {
		n = writeLocal(p, a, inet6)
	}
	if ecn := uint32(a.ECN & 3); ecn != 0 {
		if to4 {
			n += writeInt(p[n:], unix.IPPROTO_IP, unix.IP_TOS, ecn)
		} else {
			n += writeInt(p[n:], unix.IPPROTO_IPV6, unix.IPV6_TCLASS, ecn)
		}
	}
	if a.SegmentSize > 0 {
		var data [2]byte
		binary.NativeEndian.PutUint16(data[:], uint16(a.SegmentSize))
		n += writeControl(p[n:], unix.IPPROTO_UDP, unix.UDP_SEGMENT, data[:])
	}
	return n
}

// writeLocal writes the address that the datagram shall leave from. Only one of a link needs the interface: otherwise
// the way back is that of the routing table, which may not be the way in.
func writeLocal(p []byte, a Ancillary, inet6 bool) int {
	if !inet6 {
		local := a.Local.Unmap()
		if !local.Is4() {
			return 0
		}
		var data [unix.SizeofInet4Pktinfo]byte
		address := local.As4()
		copy(data[4:], address[:])
		return writeControl(p, unix.IPPROTO_IP, unix.IP_PKTINFO, data[:])
	}
	var data [unix.SizeofInet6Pktinfo]byte
	address := a.Local.As16()
	copy(data[:], address[:])
	if a.Local.IsLinkLocalUnicast() {
		binary.NativeEndian.PutUint32(data[16:], uint32(a.Interface))
	}
	return writeControl(p, unix.IPPROTO_IPV6, unix.IPV6_PKTINFO, data[:])
}

func writeInt(p []byte, level, kind int32, value uint32) int {
	var data [4]byte
	binary.NativeEndian.PutUint32(data[:], value)
	return writeControl(p, level, kind, data[:])
}

// writeControl is putControl of a message that begins with its level and its type.
func writeControl(p []byte, level, kind int32, data []byte) int {
	return putControl(p, unix.Cmsghdr{Level: level, Type: kind}, data)
}
