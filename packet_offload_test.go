//go:build (linux && !netconn) || darwin || dragonfly || freebsd || netbsd || openbsd

package netpoll

// Which work on datagrams is left to the system, and which packets become one message.

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cloudwego/netpoll/internal/testkit"
)

func TestKernelsWhoseGSOIsBroken(t *testing.T) {
	for release, broken := range map[string]bool{
		"6.6.44": true, "6.6.43": false, "6.6.45-generic": false, "6.6.44-1-amd64": true, "6.6": false, "6.64.4": false,
		"7.0": true, "7.0.0-rc3": true, "7.0.12": true, "7.1": true, "7.1.4": true, "7.1.4+": true, "7.1.5": false,
		"7.2.0": false, "6.18.44-fc": false, "17.0.1": false, "": false, "x": false, "7x": true, "7.1.40": false,
	} {
		require.Equal(t, broken, brokenGSO(release) != nil, release)
	}
}

func TestOffloadIsUsedAsTheOperatorSays(t *testing.T) {
	log := testkit.CaptureLog(t, SetLoggerOutput)
	off, missing, faulty := errors.New("off"), errors.New("missing"), errors.New("broken")
	for _, c := range []struct {
		operator       string
		probe, broken  error
		want           error
		tried, checked int
	}{
		{"", nil, nil, nil, 1, 1},
		{"auto", nil, faulty, faulty, 1, 1},
		{"on", nil, faulty, nil, 1, 0},
		{"on", missing, nil, missing, 1, 0},
		{"off", nil, nil, off, 0, 0},
		{"", missing, nil, missing, 1, 0},
		{"perhaps", nil, nil, nil, 1, 1},
	} {
		t.Run(fmt.Sprintf("%+v", c), func(t *testing.T) {
			tried, checked := 0, 0
			p := newOffloadPolicy("NETPOLL_GSO", c.operator, off, func() error { tried++; return c.probe },
				func(string) error { checked++; return c.broken })
			for range 2 {
				require.Equal(t, c.want, p.refusal())
			}
			require.Equal(t, []int{c.tried, c.checked}, []int{tried, checked})
		})
	}
	require.Equal(t, 1, strings.Count(log.String(), "\n"), log.String())
	require.Contains(t, log.String(), `NETPOLL_GSO is "perhaps"`)
}

func TestRefusedSegmentsLowerTheLimit(t *testing.T) {
	for _, c := range []struct {
		size    int
		refusal error
		want    int32
	}{
		{1400, syscall.EIO, 0}, {1400, syscall.EINVAL, 1399}, {1200, syscall.EINVAL, 0}, {3, syscall.EMSGSIZE, 0}, {60001, syscall.EMSGSIZE, 1500},
	} {
		var l segmentLimit
		l.Store(1500)
		l.lower(c.size, c.refusal)
		require.Equal(t, c.want, l.Load(), "%+v", c)
	}
}

func TestRunsArePacketsThatGoTheSameWay(t *testing.T) {
	to, other := netip.MustParseAddrPort("127.0.0.1:7"), netip.MustParseAddrPort("127.0.0.1:8")
	list := func(change func(p []Packet), sizes ...int) []Packet {
		var packets []Packet
		for _, size := range sizes {
			packets = append(packets, Packet{Data: make([]byte, size), Addr: to})
		}
		if change != nil {
			change(packets)
		}
		return packets
	}
	all := func(f func(p *Packet)) func([]Packet) {
		return func(packets []Packet) {
			for i := range packets {
				f(&packets[i])
			}
		}
	}
	for name, c := range map[string]struct {
		packets []Packet
		limit   int
		want    int
	}{
		"equal":                 {list(nil, 9, 9, 9, 9, 9), 100, 5},
		"too few":               {list(nil, 9, 9, 9), 100, 1},
		"too few before others": {list(nil, 9, 9, 9, 10, 10), 100, 1},
		"shorter last":          {list(nil, 9, 9, 9, 9, 1, 9), 100, 5},
		"shorter in fourth":     {list(nil, 9, 9, 9, 1, 9), 100, 4},
		"longer":                {list(nil, 9, 9, 9, 9, 10), 100, 4},
		"empty":                 {list(nil, 9, 9, 9, 9, 0), 100, 4},
		"empty first":           {list(nil, 0, 0, 0, 0), 100, 1},
		"beyond the limit":      {list(nil, 9, 9, 9, 9), 8, 1},
		"switched off":          {list(nil, 9, 9, 9, 9), 0, 1},
		"too long together":     {list(nil, 16000, 16000, 16000, 16000, 16000), 60000, 4},
		"64 at most":            {list(nil, make64(2, 9)...), 100, 64},
		"other address":         {list(func(p []Packet) { p[4].Addr = other }, 9, 9, 9, 9, 9), 100, 4},
		"other way":             {list(func(p []Packet) { p[4].Local = to.Addr() }, 9, 9, 9, 9, 9), 100, 4},
		"other interface":       {list(func(p []Packet) { p[4].Interface = 2 }, 9, 9, 9, 9, 9), 100, 4},
		"other ECN":             {list(func(p []Packet) { p[4].ECN = 1 }, 9, 9, 9, 9, 9), 100, 4},
		"segments":              {list(func(p []Packet) { p[4].SegmentSize = 3 }, 9, 9, 9, 9, 9), 100, 4},
		"segment alone":         {list(func(p []Packet) { p[4].SegmentSize = 9 }, 9, 9, 9, 9, 9), 100, 5},
		"connected":             {list(all(func(p *Packet) { p.Addr = netip.AddrPort{} }), 9, 9, 9, 9), 100, 4},
		"port 0":                {list(all(func(p *Packet) { p.Addr = netip.AddrPortFrom(to.Addr(), 0) }), 9, 9, 9, 9), 100, 1},
	} {
		require.Equal(t, c.want, runOf(c.packets, c.limit), name)
	}
}

// make64 returns n times 64 sizes.
func make64(n, size int) (sizes []int) {
	for range n * 64 {
		sizes = append(sizes, size)
	}
	return sizes
}
