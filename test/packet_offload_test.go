package test

// Datagrams that the system cuts and joins, and what it tells about them: programs see the same datagrams with and without.

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cloudwego/netpoll"
	"github.com/cloudwego/netpoll/internal/testkit"
)

// offloadedAs runs a test with senders and receivers with and without offload.
func offloadedAs(t *testing.T, f func(t *testing.T, send, receive netpoll.PacketOption)) {
	for _, gso := range []bool{true, false} {
		for _, gro := range []bool{true, false} {
			t.Run(fmt.Sprintf("gso=%v,gro=%v", gso, gro), func(t *testing.T) {
				f(t, netpoll.WithPacketGSO(gso), netpoll.WithPacketGRO(gro))
			})
		}
	}
}

// mixed returns packets of many lengths: runs that can be joined, with shorter and longer ones between them.
func mixed(to netip.AddrPort) (list []netpoll.Packet) {
	add := func(n, size int) {
		for range n {
			data := bytes.Repeat([]byte{byte(len(list))}, size)
			list = append(list, netpoll.Packet{Data: data, Addr: to})
		}
	}
	add(20, 1200)
	add(1, 77)
	add(3, 500)
	add(2, 0)
	add(6, 500)
	add(1, 501)
	add(9, 1)
	add(70, 300)
	add(1, 299)
	return list
}

func TestOffloadedDatagramsAreTheSame(t *testing.T) {
	for _, network := range []string{"udp4", "udp6"} {
		address := map[string]string{"udp4": "127.0.0.1:0", "udp6": "[::1]:0"}[network]
		t.Run(network, func(t *testing.T) {
			offloadedAs(t, func(t *testing.T, send, receive netpoll.PacketOption) {
				a := listenPackets(t, network, address, send)
				b := listenPackets(t, network, address, receive, netpoll.WithPacketReadBuffer(1<<20))
				out := mixed(addressOf(b))
				sent, err := a.WriteBatch(out)
				require.NoError(t, err)
				require.Equal(t, len(out), sent)
				for i, p := range readAll(t, b, len(out)) {
					require.Equal(t, out[i].Data, append([]byte{}, p.Data...), "datagram %d", i)
					require.Equal(t, addressOf(a), p.Addr)
					p.Data, p.Buffer, p.Addr = nil, nil, netip.AddrPort{}
					require.Zero(t, p, "nothing else was asked for")
				}
			})
		})
	}
}

// Each method receives one datagram, whatever the system has joined.
func TestMethodsOfASocketThatJoinsReceiveSingleDatagrams(t *testing.T) {
	offloadedAs(t, func(t *testing.T, send, receive netpoll.PacketOption) {
		a := listenPackets(t, "udp4", "127.0.0.1:0", send)
		b := listenPackets(t, "udp4", "127.0.0.1:0", receive)
		p := make([]byte, 10)
		methods := map[string]func() (n int, from netip.AddrPort, err error){
			"Read": func() (int, netip.AddrPort, error) { n, err := b.Read(p); return n, addressOf(a), err },
			"ReadFrom": func() (int, netip.AddrPort, error) {
				n, from, err := b.ReadFrom(p)
				return n, from.(*net.UDPAddr).AddrPort(), err
			},
			"ReadFromUDP": func() (int, netip.AddrPort, error) {
				n, from, err := b.ReadFromUDP(p)
				return n, from.AddrPort(), err
			},
			"ReadFromUDPAddrPort": func() (int, netip.AddrPort, error) { return b.ReadFromUDPAddrPort(p) },
			"ReadMsgUDP": func() (int, netip.AddrPort, error) {
				n, _, _, from, err := b.ReadMsgUDP(p, nil)
				return n, from.AddrPort(), err
			},
			"ReadMsgUDPAddrPort": func() (int, netip.AddrPort, error) {
				n, _, _, from, err := b.ReadMsgUDPAddrPort(p, nil)
				return n, from, err
			},
		}
		out := make([]netpoll.Packet, len(methods)+2)
		for i := range out {
			out[i] = netpoll.Packet{Data: []byte{byte(i), 1, 2, 3}, Addr: addressOf(b)}
		}
		_, err := a.WriteBatch(out)
		require.NoError(t, err)
		next := 0
		for name, receive := range methods {
			n, from, err := receive()
			require.NoError(t, err, name)
			require.Equal(t, addressOf(a), netip.AddrPortFrom(from.Addr().Unmap(), from.Port()), name)
			require.Equal(t, out[next].Data, p[:n], name)
			next++
		}
		list := rooms(1, 3)
		_, err = b.ReadBatch(list)
		require.NoError(t, err)
		require.Equal(t, out[next].Data[:3], list[0].Data)
		require.True(t, list[0].Truncated)

		require.NoError(t, b.SetReadDeadline(time.Unix(1, 0)))
		_, err = b.Read(p)
		require.ErrorIs(t, err, os.ErrDeadlineExceeded, "although there is a datagram")
		require.NoError(t, b.SetReadDeadline(time.Time{}))
		require.NoError(t, b.Close())
		_, err = b.Read(p)
		require.ErrorIs(t, err, net.ErrClosed)
	})
}

func TestSegmentsAreSentAndReceivedAsAsked(t *testing.T) {
	features := netpoll.Features()
	offloadedAs(t, func(t *testing.T, send, receive netpoll.PacketOption) {
		a := listenPackets(t, "udp4", "127.0.0.1:0", send)
		b := listenPackets(t, "udp4", "127.0.0.1:0", receive)
		data := []byte("aaaabbbbccccddddeee")
		n, err := a.WriteBatch([]netpoll.Packet{
			{Data: data, SegmentSize: 4, Addr: addressOf(b)}, {Data: data, Addr: addressOf(b)},
			{Data: data, SegmentSize: 100, Addr: addressOf(b)}})
		require.NoError(t, err)
		require.Equal(t, 3, n)
		for i, p := range readAll(t, b, 7) {
			want := string(data)
			if i < 5 {
				want = []string{"aaaa", "bbbb", "cccc", "dddd", "eee"}[i]
			}
			require.Equal(t, want, string(p.Data))
		}
		for _, wrong := range []netpoll.Packet{
			{Data: make([]byte, 65), SegmentSize: 1, Addr: addressOf(b)},
			{Data: make([]byte, 65508), SegmentSize: 2000, Addr: addressOf(b)},
		} {
			n, err := a.WriteBatch([]netpoll.Packet{{Data: data, Addr: addressOf(b)}, wrong})
			require.Equal(t, 1, n)
			require.ErrorContains(t, err, "64 segments")
			readAll(t, b, 1)
		}
	})
	if !features.GSO || !features.GRO {
		return
	}
	a := listenPackets(t, "udp4", "127.0.0.1:0")
	b := listenPackets(t, "udp4", "127.0.0.1:0", netpoll.WithPacketGRO(true), netpoll.WithPacketSegments())
	for _, count := range []int{3, 4, 64} {
		out := make([]netpoll.Packet, count)
		for i := range out {
			out[i] = netpoll.Packet{Data: []byte("12345"), Addr: addressOf(b)}
		}
		_, err := a.WriteBatch(out)
		require.NoError(t, err)
		in := rooms(64, 70000)
		n, err := b.ReadBatch(in)
		require.NoError(t, err)
		if count < 4 {
			require.Equal(t, count, n, "too few for one message")
			continue
		}
		require.Equal(t, 1, n)
		require.Equal(t, 5, in[0].SegmentSize)
		require.Len(t, in[0].Data, 5*count)
	}
}

// The unit of a loop stays the datagram, and its limit of a batch holds. A handler that ends its goroutine loses its own
// datagrams only.
func TestPacketLoopTakesJoinedDatagramsApart(t *testing.T) {
	offloadedAs(t, func(t *testing.T, send, receive netpoll.PacketOption) {
		testkit.CaptureLog(t, netpoll.SetLoggerOutput)
		a := listenPackets(t, "udp4", "127.0.0.1:0", send)
		got := make(chan netpoll.Packet, 1000)
		s := servePackets(t, packetConns["UDPConn"](t), func(_ context.Context, _ *netpoll.UDPConn, packets []netpoll.Packet) error {
			require.LessOrEqual(t, len(packets), 7)
			for _, p := range packets {
				require.LessOrEqual(t, len(p.Data), len(p.Buffer))
				p.Data = bytes.Clone(p.Data)
				got <- p
			}
			runtime.Goexit()
			return nil
		}, receive, netpoll.WithPacketBatch(7), netpoll.WithPacketReadBuffer(1<<20))
		out := mixed(s.addr.AddrPort())
		_, err := a.WriteBatch(out)
		require.NoError(t, err)
		for i := range out {
			p := testkit.Receive(t, got)
			require.Equal(t, string(out[i].Data), string(p.Data))
			require.Zero(t, p.SegmentSize)
			require.False(t, p.Truncated)
		}
	})
}

func TestPacketLoopGivesSegmentsToHandlersThatAsk(t *testing.T) {
	a := listenPackets(t, "udp4", "127.0.0.1:0")
	s := servePackets(t, packetConns["UDPConn"](t), echoPackets, netpoll.WithPacketSegments())
	out := mixed(s.addr.AddrPort())
	_, err := a.WriteBatch(out)
	require.NoError(t, err)
	for i, p := range readAll(t, a, len(out)) {
		require.Equal(t, string(out[i].Data), string(p.Data))
	}
}

// What a wildcard socket sends back leaves from the address that was asked: else a connected client does not get it.
func TestReplyLeavesFromTheAddressThatWasAsked(t *testing.T) {
	if runtime.GOOS != "linux" || !batchesAllocateNothing {
		return // no other system has all of 127.0.0.0/8
	}
	for _, network := range []string{"udp4", "udp"} {
		conn, err := netpoll.ListenPacket(network, ":0", netpoll.WithPacketInfo(), netpoll.WithPacketECN())
		require.NoError(t, err)
		asked := make(chan netpoll.Packet, 10)
		servePackets(t, conn, func(ctx context.Context, conn *netpoll.UDPConn, packets []netpoll.Packet) error {
			for _, p := range packets {
				asked <- p
			}
			return echoPackets(ctx, conn, packets)
		})
		port := conn.LocalAddr().(*net.UDPAddr).Port
		for _, host := range []string{"127.0.0.1", "127.0.0.3", "127.0.7.9"} {
			c, err := net.DialUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 2)}, &net.UDPAddr{IP: net.ParseIP(host), Port: port})
			require.NoError(t, err)
			defer c.Close()
			require.NoError(t, c.SetDeadline(time.Now().Add(testkit.Timeout)))
			expectPacketEcho(t, c, "hello "+host)
			p := testkit.Receive(t, asked)
			require.Equal(t, host, p.Local.Unmap().String())
			require.Positive(t, p.Interface)
			require.Zero(t, p.ECN)
		}
	}
}

func TestECNIsToldAndSent(t *testing.T) {
	if !batchesAllocateNothing {
		return // only Linux tells
	}
	for _, network := range []string{"udp4", "udp6", "udp"} {
		address := map[string]string{"udp4": "127.0.0.1:0", "udp6": "[::1]:0", "udp": ":0"}[network]
		a := listenPackets(t, network, address)
		b := listenPackets(t, network, address, netpoll.WithPacketECN(), netpoll.WithPacketInfo())
		for _, host := range []string{"127.0.0.1", "::1"} {
			to := addressOf(b)
			if network == "udp" {
				to = netip.AddrPortFrom(netip.MustParseAddr(host), to.Port())
			}
			out := make([]netpoll.Packet, 12)
			for i := range out {
				out[i] = netpoll.Packet{Data: []byte{1, 2, 3}, Addr: to, ECN: uint8(i/5) + 1, Local: to.Addr()}
			}
			_, err := a.WriteBatch(out)
			require.NoError(t, err)
			for i, p := range readAll(t, b, len(out)) {
				require.Equal(t, out[i].ECN, p.ECN, "%s %d", network, i)
				require.Equal(t, to.Addr(), p.Local.Unmap())
				require.Equal(t, to.Addr(), p.Addr.Addr().Unmap())
			}
		}
	}
}

func TestOffloadsAllocateNothing(t *testing.T) {
	if !batchesAllocateNothing {
		return
	}
	a := listenPackets(t, "udp4", "127.0.0.1:0")
	for _, ops := range [][]netpoll.PacketOption{
		{netpoll.WithPacketInfo(), netpoll.WithPacketECN()},
		{netpoll.WithPacketGRO(true)},
		{netpoll.WithPacketGRO(true), netpoll.WithPacketSegments()},
	} {
		b := listenPackets(t, "udp4", "127.0.0.1:0", ops...)
		out, in := make([]netpoll.Packet, 20), rooms(20, 1000)
		for i := range out {
			out[i] = netpoll.Packet{Data: []byte("hello"), Addr: addressOf(b), ECN: 1, Local: addressOf(a).Addr()}
		}
		require.LessOrEqual(t, allocations(func() {
			if n, err := a.WriteBatch(out); n != 20 || err != nil {
				t.Error(n, err)
			}
			for got := 0; got < 20*len("hello"); {
				n, err := b.ReadBatch(in)
				if err != nil {
					t.Error(err)
					return
				}
				for _, p := range in[:n] {
					got += len(p.Data)
				}
			}
		}), allocationBudget())
	}
}
