//go:build linux && !kqsim

package sock

// Ancillary data of datagrams: what is written is read again, and hostile control data is read without harm, as a model
// that the standard parser helps says.

import (
	"net/netip"
	"syscall"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// modelAncillary reads control data by means of package syscall. It gives up, with false, what that calls malformed.
func modelAncillary(p []byte) (a Ancillary, ok bool) {
	list, err := syscall.ParseSocketControlMessage(p)
	if err != nil {
		return a, false
	}
	for _, m := range list {
		a.take(m.Header.Level, m.Header.Type, m.Data)
	}
	return a, true
}

// inWords returns p in memory that is aligned, with nothing that may be read behind it.
func inWords(p []byte) []byte {
	words := make([]uint64, len(p)/8+1)
	memory := unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(words))), 8*len(words))
	copy(memory, p)
	return memory[:len(p):len(p)]
}

func written(a Ancillary, inet6, to4 bool) []byte {
	b := new(ancillaryBuffer)
	return b.bytes()[:writeAncillary(b.bytes(), a, inet6, to4)]
}

func TestAncillaryDataIsReadAsItWasWritten(t *testing.T) {
	for name, c := range map[string]struct {
		a, want    Ancillary
		inet6, to4 bool
		messages   int
	}{
		"nothing":      {},
		"IPv4":         {a: Ancillary{Local: netip.MustParseAddr("192.0.2.7"), Interface: 3, ECN: 1}, want: Ancillary{Local: netip.MustParseAddr("192.0.2.7"), ECN: 1}, to4: true, messages: 2},
		"IPv6":         {a: Ancillary{Local: netip.MustParseAddr("2001:db8::7"), Interface: 3, ECN: 3}, want: Ancillary{Local: netip.MustParseAddr("2001:db8::7"), ECN: 3}, inet6: true, messages: 2},
		"of a link":    {a: Ancillary{Local: netip.MustParseAddr("fe80::7"), Interface: 3}, want: Ancillary{Local: netip.MustParseAddr("fe80::7"), Interface: 3}, inet6: true, messages: 1},
		"mapped":       {a: Ancillary{Local: netip.MustParseAddr("::ffff:192.0.2.7"), ECN: 2}, want: Ancillary{Local: netip.MustParseAddr("::ffff:192.0.2.7"), ECN: 2}, inet6: true, to4: true, messages: 2},
		"of a group":   {a: Ancillary{Local: netip.MustParseAddr("ff02::1")}, inet6: true},
		"wrong family": {a: Ancillary{Local: netip.MustParseAddr("2001:db8::7")}, to4: true},
		"no address":   {a: Ancillary{Local: netip.IPv4Unspecified(), ECN: 4}, to4: true},
	} {
		t.Run(name, func(t *testing.T) {
			p := written(c.a, c.inet6, c.to4)
			list, err := syscall.ParseSocketControlMessage(p)
			require.NoError(t, err)
			require.Len(t, list, c.messages)
			got := parseAncillary(p)
			if c.to4 && !c.inet6 && c.want.Local.IsValid() {
				// What is sent has the address where the kernel writes that of replies, too.
				require.Equal(t, c.want.Local, got.Local)
			}
			require.Equal(t, c.want, got)
		})
	}
	list, err := syscall.ParseSocketControlMessage(written(Ancillary{SegmentSize: 1234}, false, true))
	require.NoError(t, err)
	require.Len(t, list, 1)
	require.EqualValues(t, unix.UDP_SEGMENT, list[0].Header.Type)
	require.Equal(t, []byte{1234 & 0xff, 1234 >> 8}, list[0].Data[:2])
}

func TestAncillaryDataOfWrongLengthIsIgnored(t *testing.T) {
	good := written(Ancillary{Local: netip.MustParseAddr("192.0.2.7"), ECN: 2}, false, true)
	for _, length := range []byte{0, 1, unix.SizeofCmsghdr - 1, 255} {
		p := inWords(good)
		p[0] = length
		require.Zero(t, parseAncillary(p), "length %d", length)
	}
	p := inWords(good)
	p[0] = unix.SizeofCmsghdr + 11 // a byte too short for what it should have
	require.Equal(t, Ancillary{ECN: 2}, parseAncillary(p))
	for n := range len(good) {
		parseAncillary(inWords(good[:n]))
	}
	large := make([]byte, unix.CmsgSpace(4))
	writeInt(large, unix.IPPROTO_UDP, unix.UDP_GRO, 1<<16)
	require.Zero(t, parseAncillary(large), "a segment that no datagram has")
	writeInt(large, unix.IPPROTO_UDP, unix.UDP_GRO, 1200)
	require.Equal(t, 1200, parseAncillary(large).SegmentSize)
}

func FuzzAncillary(f *testing.F) {
	f.Add([]byte(nil))
	f.Add(written(Ancillary{Local: netip.MustParseAddr("192.0.2.7"), ECN: 2}, false, true))
	f.Add(written(Ancillary{Local: netip.MustParseAddr("fe80::7"), Interface: 2, ECN: 1, SegmentSize: 1200}, true, false))
	gro := make([]byte, 2*unix.CmsgSpace(4))
	writeInt(gro, unix.IPPROTO_UDP, unix.UDP_GRO, 1200)
	writeInt(gro[unix.CmsgSpace(4):], unix.IPPROTO_IPV6, unix.IPV6_TCLASS, 0xff)
	f.Add(gro)
	f.Fuzz(func(t *testing.T, p []byte) {
		p = inWords(p)
		before := string(p)
		a := parseAncillary(p)
		require.Equal(t, before, string(p))
		require.LessOrEqual(t, a.ECN, uint8(3))
		require.True(t, a.SegmentSize >= 0 && a.SegmentSize <= 0xffff && a.Interface >= 0)
		require.False(t, a.Local.Unmap().IsMulticast())
		if want, ok := modelAncillary(p); ok {
			require.Equal(t, want, a)
		}
	})
}
