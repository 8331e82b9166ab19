package test

// The memory of the packets that a loop gives to its handler: nothing else uses it meanwhile, whatever the handler does
// with it, and the next datagrams do not suffer. It does not grow, and none is allocated.

import (
	"bytes"
	"context"
	"net"
	"strings"
	"sync"
	"sync/atomic"
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

// The memory of a slow handler's socket is the system's, which drops what is too much, and counts it.
func TestSlowPacketHandlerMakesTheSystemDrop(t *testing.T) {
	goOn, entered := make(chan struct{}), make(chan struct{}, 1)
	var once sync.Once
	var got atomic.Int64
	conn := packetConns["UDPConn"](t).(*netpoll.UDPConn)
	s := servePackets(t, conn, func(_ context.Context, _ *netpoll.UDPConn, packets []netpoll.Packet) error {
		got.Add(int64(len(packets)))
		once.Do(func() {
			entered <- struct{}{}
			<-goOn
		})
		return nil
	}, netpoll.WithPacketReadBuffer(10000), netpoll.WithPacketSize(2000))
	c := packetClient(t, s.addr)
	_, err := c.Write(make([]byte, 1000))
	require.NoError(t, err)
	testkit.Receive(t, entered)
	const more = 500
	for range more {
		_, err := c.Write(make([]byte, 1000))
		require.NoError(t, err)
	}
	if hasBatches {
		require.Positive(t, conn.Stats().Dropped)
		require.EqualValues(t, 1, got.Load())
	}
	close(goOn)
	if hasBatches {
		testkit.Eventually(t, func() bool {
			return got.Load()+int64(conn.Stats().Dropped) == more+1
		}, "every datagram was received, or is counted as dropped")
	}
	require.NoError(t, s.Shutdown(context.Background()))
}

func TestPacketLoopTruncatesToItsSize(t *testing.T) {
	type seen struct {
		text      string
		truncated bool
		room      int
	}
	got := make(chan seen, 10)
	s := servePackets(t, packetConns["UDPConn"](t), func(_ context.Context, _ *netpoll.UDPConn, packets []netpoll.Packet) error {
		for _, p := range packets {
			got <- seen{string(p.Data), p.Truncated, len(p.Buffer)}
		}
		return nil
	}, netpoll.WithPacketSize(4), netpoll.WithPacketBatch(2))
	c := packetClient(t, s.addr)
	for _, text := range []string{"0123456789", "0123", ""} {
		_, err := c.Write([]byte(text))
		require.NoError(t, err)
	}
	require.Equal(t, seen{"0123", true, 4}, testkit.Receive(t, got))
	require.Equal(t, seen{"0123", false, 4}, testkit.Receive(t, got))
	require.Equal(t, seen{"", false, 4}, testkit.Receive(t, got))
}

func TestPacketLoopAllocatesNothing(t *testing.T) {
	if !batchesAllocateNothing {
		return
	}
	for _, kind := range []string{"UDPConn", "UDPConn of IPv6", "net.UDPConn"} {
		t.Run(kind, func(t *testing.T) {
			s := servePackets(t, packetConns[kind](t), echoPackets)
			c := packetClient(t, s.addr)
			p := make([]byte, 100)
			require.LessOrEqual(t, allocations(func() {
				for range 5 {
					if _, err := c.Write(p); err != nil {
						t.Error(err)
					}
				}
				for range 5 {
					if n, err := c.Read(p); n != len(p) || err != nil {
						t.Error(n, err)
					}
				}
			}), allocationBudget())
		})
	}
}
