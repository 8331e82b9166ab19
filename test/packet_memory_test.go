package test

// The memory of the packets that a loop gives to its handler: nothing else uses it meanwhile, whatever the handler does
// with it, and the next datagrams do not suffer.

import (
	"bytes"
	"context"
	"net"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cloudwego/netpoll"
	"github.com/cloudwego/netpoll/internal/testkit"
)

func TestPacketHandlerMayChangeItsPackets(t *testing.T) {
	overPacketConns(t, func(t *testing.T, listen func() net.PacketConn) {
		var own [8]byte
		got, goOn := make(chan string, 10), make(chan struct{})
		s := servePackets(t, listen(), func(_ context.Context, _ *netpoll.UDPConn, packets []netpoll.Packet) error {
			got <- string(packets[0].Data)
			<-goOn
			packets[0] = netpoll.Packet{Buffer: own[:], Truncated: true, SegmentSize: 1}
			return nil
		}, netpoll.WithPacketBatch(1))
		c := packetClient(t, s.addr)
		for _, text := range []string{"the first", "the second, which is longer than the memory of the handler", ""} {
			_, err := c.Write([]byte(text))
			require.NoError(t, err)
		}
		for _, text := range []string{"the first", "the second, which is longer than the memory of the handler", ""} {
			require.Equal(t, text, testkit.Receive(t, got))
			goOn <- struct{}{}
		}
		require.Zero(t, own)
	})
}

// A handler may write all over the Buffer of a packet: that of the others is theirs, also when the system has joined them.
func TestPacketsOfABatchShareNoMemory(t *testing.T) {
	offloadedAs(t, func(t *testing.T, send, receive netpoll.PacketOption) {
		a := listenPackets(t, "udp4", "127.0.0.1:0", send)
		got := make(chan string, 1000)
		s := servePackets(t, packetConns["UDPConn"](t), func(_ context.Context, _ *netpoll.UDPConn, packets []netpoll.Packet) error {
			for _, p := range packets {
				got <- string(p.Data)
				clear(p.Buffer[:cap(p.Buffer)])
			}
			return nil
		}, receive, netpoll.WithPacketReadBuffer(1<<20))
		out := mixed(s.addr.AddrPort())
		_, err := a.WriteBatch(out)
		require.NoError(t, err)
		for i := range out {
			require.True(t, string(out[i].Data) == testkit.Receive(t, got), "datagram %d", i)
		}
	})
}

// A loop with little memory for a datagram gets each by itself, and whole, although the system could join them.
func TestPacketLoopJoinsNothingThatDoesNotFit(t *testing.T) {
	offloadedAs(t, func(t *testing.T, send, receive netpoll.PacketOption) {
		a := listenPackets(t, "udp4", "127.0.0.1:0", send)
		got := make(chan string, 100)
		conn := listenPackets(t, "udp4", "127.0.0.1:0", netpoll.WithPacketReadBuffer(1<<20))
		s := servePackets(t, conn, func(_ context.Context, _ *netpoll.UDPConn, packets []netpoll.Packet) error {
			for _, p := range packets {
				got <- strings.Repeat("truncated ", map[bool]int{true: 1}[p.Truncated]) + string(p.Data)
			}
			return nil
		}, receive, netpoll.WithPacketSize(100))
		out := make([]netpoll.Packet, 40)
		for i := range out {
			out[i] = netpoll.Packet{Data: bytes.Repeat([]byte{byte('0' + i)}, 100), Addr: s.addr.AddrPort()}
		}
		_, err := a.WriteBatch(out)
		require.NoError(t, err)
		for i := range out {
			require.Equal(t, string(out[i].Data), testkit.Receive(t, got))
		}
		require.Zero(t, conn.Stats().Truncated)
	})
}
