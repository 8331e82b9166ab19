package test

// ReadBatch and WriteBatch.

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cloudwego/netpoll"
	"github.com/cloudwego/netpoll/internal/testkit"
)

// otherPackets is a net.PacketConn that is none of package net.
type otherPackets struct{ net.PacketConn }

// listenPackets makes a socket for a test, with deadlines against waiting in vain.
func listenPackets(t testing.TB, network, address string, ops ...netpoll.PacketOption) *netpoll.UDPConn {
	t.Helper()
	conn, err := netpoll.ListenPacket(network, address, ops...)
	require.NoError(t, err)
	t.Cleanup(func() { conn.Close() })
	require.NoError(t, conn.SetDeadline(time.Now().Add(testkit.Timeout)))
	return conn.(*netpoll.UDPConn)
}

// packetsOver makes a socket of another kind for each name.
var packetsOver = map[string]func(t testing.TB) *netpoll.UDPConn{
	"udp4": func(t testing.TB) *netpoll.UDPConn { return listenPackets(t, "udp4", "127.0.0.1:0") },
	"udp6": func(t testing.TB) *netpoll.UDPConn { return listenPackets(t, "udp6", "[::1]:0") },
	"net.PacketConn": func(t testing.TB) *netpoll.UDPConn {
		conn, err := net.ListenPacket("udp4", "127.0.0.1:0")
		require.NoError(t, err)
		own, err := netpoll.NewUDPConn(otherPackets{conn})
		require.NoError(t, err)
		t.Cleanup(func() { own.Close() })
		require.NoError(t, own.SetDeadline(time.Now().Add(testkit.Timeout)))
		return own
	},
}

func addressOf(conn net.PacketConn) netip.AddrPort {
	return conn.LocalAddr().(*net.UDPAddr).AddrPort()
}

// rooms returns n packets to receive into.
func rooms(n, size int) []netpoll.Packet {
	packets := make([]netpoll.Packet, n)
	for i := range packets {
		packets[i].Buffer = make([]byte, size)
	}
	return packets
}

// readAll receives n datagrams by ReadBatch.
func readAll(t testing.TB, conn *netpoll.UDPConn, n int) (list []netpoll.Packet) {
	t.Helper()
	for len(list) < n {
		packets := rooms(n-len(list), 2000)
		got, err := conn.ReadBatch(packets)
		require.NoError(t, err)
		require.Positive(t, got)
		list = append(list, packets[:got]...)
	}
	return list
}

func TestBatchesCarryDatagramsInOrder(t *testing.T) {
	for name, listen := range packetsOver {
		t.Run(name, func(t *testing.T) {
			a, b := listen(t), listen(t)
			for _, n := range []int{1, 3, 63, 64, 65, 150} {
				out := make([]netpoll.Packet, n)
				for i := range out {
					out[i] = netpoll.Packet{Data: fmt.Appendf(nil, "datagram %d", i), Addr: addressOf(b)}
				}
				out[n/2].Data = nil
				sent, err := a.WriteBatch(out)
				require.NoError(t, err)
				require.Equal(t, n, sent)
				for i, p := range readAll(t, b, n) {
					require.Equal(t, string(out[i].Data), string(p.Data))
					require.Equal(t, addressOf(a), p.Addr)
					require.False(t, p.Truncated)
				}
			}
			stats := b.Stats()
			require.EqualValues(t, 1+3+63+64+65+150, stats.Received)
			require.Equal(t, stats.Received, a.Stats().Sent)
		})
	}
}

func TestBatchIsWhatHasArrived(t *testing.T) {
	a, b := listenPackets(t, "udp4", "127.0.0.1:0"), listenPackets(t, "udp4", "127.0.0.1:0")
	out := make([]netpoll.Packet, 20)
	for i := range out {
		out[i] = netpoll.Packet{Data: []byte{byte(i)}, Addr: addressOf(b)}
	}
	_, err := a.WriteBatch(out)
	require.NoError(t, err)
	require.Len(t, readAll(t, b, 20), 20)
	if hasBatches {
		require.EqualValues(t, 1, b.Stats().Receives)
		require.EqualValues(t, 1, a.Stats().Sends)
	}
}

func TestWriteBatchReportsTheFirstThatCannotBeSent(t *testing.T) {
	a, b := listenPackets(t, "udp4", "127.0.0.1:0"), listenPackets(t, "udp4", "127.0.0.1:0")
	good := netpoll.Packet{Data: []byte("good"), Addr: addressOf(b)}
	for name, bad := range map[string]netpoll.Packet{
		"too long":       {Data: make([]byte, 70000), Addr: addressOf(b)},
		"no address":     {Data: []byte("x")},
		"another family": {Data: []byte("x"), Addr: netip.MustParseAddrPort("[::1]:1")},
	} {
		t.Run(name, func(t *testing.T) {
			out := []netpoll.Packet{good, good, bad, good}
			sent, err := a.WriteBatch(out)
			require.Equal(t, 2, sent)
			var op *net.OpError
			require.ErrorAs(t, err, &op)
			require.Equal(t, "write", op.Op)
			_, want := a.WriteToUDPAddrPort(bad.Data, bad.Addr)
			require.Equal(t, causeOf(want), causeOf(err))
			sent, err = a.WriteBatch(out[sent+1:])
			require.NoError(t, err)
			require.Equal(t, 1, sent)
			for _, p := range readAll(t, b, 3) {
				require.Equal(t, "good", string(p.Data))
			}
		})
	}
}

// causeOf is the text of the innermost error.
func causeOf(err error) string {
	for inner := errors.Unwrap(err); inner != nil; inner = errors.Unwrap(err) {
		err = inner
	}
	return err.Error()
}

func TestBatchesOfAConnectedSocket(t *testing.T) {
	server := listenPackets(t, "udp4", "127.0.0.1:0")
	c, err := netpoll.DialUDP("udp4", nil, server.LocalAddr().(*net.UDPAddr))
	require.NoError(t, err)
	defer c.Close()
	sent, err := c.WriteBatch([]netpoll.Packet{{Data: []byte("a")}, {Data: []byte("b")}, {Data: []byte("c"), Addr: addressOf(server)}})
	require.Equal(t, 2, sent)
	require.ErrorIs(t, err, net.ErrWriteToConnected)
	got := readAll(t, server, 2)
	require.Equal(t, "b", string(got[1].Data))
	_, err = server.WriteBatch(got)
	require.NoError(t, err)
	for _, p := range readAll(t, c, 2) {
		require.Equal(t, addressOf(server), p.Addr)
	}
}

func TestReadBatchTruncates(t *testing.T) {
	for name, listen := range packetsOver {
		if name == "net.PacketConn" {
			continue // which cannot tell
		}
		t.Run(name, func(t *testing.T) {
			a, b := listen(t), listen(t)
			_, err := a.WriteBatch([]netpoll.Packet{{Data: []byte("0123456789"), Addr: addressOf(b)}, {Data: []byte("0123"), Addr: addressOf(b)}})
			require.NoError(t, err)
			packets := rooms(1, 4)
			for _, truncated := range []bool{true, false} {
				n, err := b.ReadBatch(packets)
				require.NoError(t, err)
				require.Equal(t, 1, n)
				require.Equal(t, "0123", string(packets[0].Data))
				require.Equal(t, truncated, packets[0].Truncated)
			}
			require.EqualValues(t, 1, b.Stats().Truncated)
		})
	}
}

func TestBatchesOfNothing(t *testing.T) {
	for name, listen := range packetsOver {
		t.Run(name, func(t *testing.T) {
			a := listen(t)
			n, err := a.ReadBatch(nil)
			require.NoError(t, err)
			require.Zero(t, n)
			n, err = a.WriteBatch(nil)
			require.NoError(t, err)
			require.Zero(t, n)
			n, err = a.ReadBatch(make([]netpoll.Packet, 1))
			require.ErrorContains(t, err, "packet has no buffer")
			require.Zero(t, n)
		})
	}
}

func TestReadBatchEndsByDeadlineAndClose(t *testing.T) {
	for name, listen := range packetsOver {
		t.Run(name, func(t *testing.T) {
			a := listen(t)
			done := make(chan error, 1)
			read := func() {
				_, err := a.ReadBatch(rooms(4, 100))
				done <- err
			}
			require.NoError(t, a.SetReadDeadline(time.Time{}))
			go read()
			testkit.Silent(t, testkit.Short, done, "ReadBatch returned")
			require.NoError(t, a.SetReadDeadline(time.Now()))
			err := testkit.Receive(t, done)
			require.ErrorIs(t, err, os.ErrDeadlineExceeded)
			var op *net.OpError
			require.ErrorAs(t, err, &op)
			require.True(t, op.Timeout())
			require.Equal(t, "read", op.Op)
			_, err = a.WriteToUDPAddrPort([]byte("x"), addressOf(a))
			require.NoError(t, err)
			_, err = a.ReadBatch(rooms(4, 100))
			require.ErrorIs(t, err, os.ErrDeadlineExceeded, "although there is a datagram")
			require.NoError(t, a.SetReadDeadline(time.Time{}))
			require.Len(t, readAll(t, a, 1), 1)
			require.NoError(t, a.SetWriteDeadline(time.Now()))
			n, err := a.WriteBatch([]netpoll.Packet{{Data: []byte("x"), Addr: addressOf(a)}})
			require.Zero(t, n)
			require.ErrorIs(t, err, os.ErrDeadlineExceeded)

			go read()
			testkit.Silent(t, testkit.Short, done, "ReadBatch returned")
			require.NoError(t, a.Close())
			require.ErrorIs(t, testkit.Receive(t, done), net.ErrClosed)
			go read()
			require.ErrorIs(t, testkit.Receive(t, done), net.ErrClosed)
			_, err = a.WriteBatch([]netpoll.Packet{{Addr: netip.MustParseAddrPort("127.0.0.1:1")}})
			require.ErrorIs(t, err, net.ErrClosed)
			require.ErrorIs(t, a.Close(), net.ErrClosed)
		})
	}
}

// A report that nobody receives on the other side is an error of one call.
func TestBatchOfAConnectedSocketReportsRefusal(t *testing.T) {
	gone := listenPackets(t, "udp4", "127.0.0.1:0")
	addr := gone.LocalAddr().(*net.UDPAddr)
	require.NoError(t, gone.Close())
	c, err := netpoll.DialUDP("udp4", nil, addr)
	require.NoError(t, err)
	defer c.Close()
	require.NoError(t, c.SetDeadline(time.Now().Add(testkit.Timeout)))
	_, err = c.WriteBatch([]netpoll.Packet{{Data: []byte("x")}})
	require.NoError(t, err)
	n, err := c.ReadBatch(rooms(4, 100))
	require.Zero(t, n)
	require.True(t, isRefused(err), "%v", err)
}

func TestDroppedDatagramsAreCounted(t *testing.T) {
	if !hasBatches {
		return
	}
	a, b := listenPackets(t, "udp4", "127.0.0.1:0"), listenPackets(t, "udp4", "127.0.0.1:0", netpoll.WithPacketReadBuffer(10000))
	require.Positive(t, b.Stats().ReadBuffer)
	require.Less(t, b.Stats().ReadBuffer, 100000)
	const sent = 500
	for range sent {
		_, err := a.WriteToUDPAddrPort(make([]byte, 1000), addressOf(b))
		require.NoError(t, err)
	}
	require.NoError(t, b.SetReadDeadline(time.Now().Add(testkit.Short)))
	for {
		if _, err := b.ReadBatch(rooms(64, 2000)); err != nil {
			require.ErrorIs(t, err, os.ErrDeadlineExceeded)
			break
		}
	}
	s := b.Stats()
	require.Positive(t, s.Dropped)
	require.EqualValues(t, sent, s.Received+s.Dropped)
	require.NoError(t, b.Close())
	require.Equal(t, s.Dropped, b.Stats().Dropped, "after Close")
	require.Zero(t, b.Stats().ReadBuffer)
}

func TestBatchesAllocateNothing(t *testing.T) {
	if !batchesAllocateNothing {
		return
	}
	for _, network := range []string{"udp4", "udp6"} {
		a, b := packetsOver[network](t), packetsOver[network](t)
		out, in := make([]netpoll.Packet, 20), rooms(20, 100)
		for i := range out {
			out[i] = netpoll.Packet{Data: []byte("hello"), Addr: addressOf(b)}
		}
		require.LessOrEqual(t, allocations(func() {
			if n, err := a.WriteBatch(out); n != 20 || err != nil {
				t.Error(n, err)
			}
			for got := 0; got < 20; {
				n, err := b.ReadBatch(in)
				if err != nil {
					t.Error(err)
					return
				}
				got += n
			}
		}), allocationBudget(), network)
	}
}

func TestListenPacketsShareAnAddress(t *testing.T) {
	conns, err := netpoll.ListenPackets("udp4", "127.0.0.1:0", 3)
	if errors.Is(err, netpoll.ErrUnsupported) {
		require.False(t, hasBatches)
		return
	}
	require.NoError(t, err)
	require.Len(t, conns, 3)
	for _, c := range conns {
		require.Equal(t, conns[0].LocalAddr(), c.LocalAddr())
		require.NoError(t, c.Close())
	}
	_, err = netpoll.ListenPackets("tcp", "127.0.0.1:0", 3)
	require.ErrorAs(t, err, new(net.UnknownNetworkError))
	_, err = netpoll.ListenPackets("udp", "127.0.0.1", 3)
	require.Error(t, err)
	a, err := netpoll.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)}, netpoll.WithPacketReusePort())
	require.NoError(t, err)
	defer a.Close()
	b, err := netpoll.ListenUDP("udp4", a.LocalAddr().(*net.UDPAddr), netpoll.WithPacketReusePort())
	require.NoError(t, err)
	defer b.Close()
	_, err = netpoll.ListenUDP("tcp", nil, netpoll.WithPacketReusePort())
	require.ErrorAs(t, err, new(net.UnknownNetworkError))
}

func TestNewUDPConnTakesWhatHasAddressesOfUDP(t *testing.T) {
	for _, nothing := range []net.PacketConn{nil, (*net.UDPConn)(nil), (*netpoll.UDPConn)(nil)} {
		_, err := netpoll.NewUDPConn(nothing)
		require.ErrorContains(t, err, "nil")
	}
	own := listenPackets(t, "udp4", "127.0.0.1:0")
	same, err := netpoll.NewUDPConn(own)
	require.NoError(t, err)
	require.True(t, same == own)
	unix, err := netpoll.ListenPacket("unixgram", testkit.LocalAddress(t, "unix"), netpoll.WithPacketReadBuffer(10000))
	if err != nil {
		return // a system without them
	}
	defer unix.Close()
	require.IsType(t, (*net.UnixConn)(nil), unix)
	_, err = netpoll.NewUDPConn(unix)
	require.ErrorIs(t, err, netpoll.ErrUnsupported)
}

func TestOtherPacketConnHasWhatItsTypeHas(t *testing.T) {
	a, b := packetsOver["net.PacketConn"](t), packetsOver["net.PacketConn"](t)
	to := b.LocalAddr().(*net.UDPAddr)
	require.Nil(t, a.RemoteAddr())
	p := make([]byte, 100)
	for name, send := range map[string]func(text []byte) (int, error){
		"WriteTo":            func(text []byte) (int, error) { return a.WriteTo(text, to) },
		"WriteToUDP":         func(text []byte) (int, error) { return a.WriteToUDP(text, to) },
		"WriteToUDPAddrPort": func(text []byte) (int, error) { return a.WriteToUDPAddrPort(text, to.AddrPort()) },
		"WriteMsgUDP": func(text []byte) (int, error) {
			n, _, err := a.WriteMsgUDP(text, nil, to)
			return n, err
		},
		"WriteMsgUDPAddrPort": func(text []byte) (int, error) {
			n, _, err := a.WriteMsgUDPAddrPort(text, nil, to.AddrPort())
			return n, err
		},
	} {
		n, err := send([]byte(name))
		require.NoError(t, err)
		require.Equal(t, len(name), n)
		n, from, err := b.ReadFromUDP(p)
		require.NoError(t, err)
		require.Equal(t, name, string(p[:n]))
		require.Equal(t, a.LocalAddr(), from)
	}
	_, err := a.Write(p)
	require.ErrorIs(t, err, netpoll.ErrUnsupported)
	_, _, err = a.WriteMsgUDP(p, p, to)
	require.ErrorIs(t, err, netpoll.ErrUnsupported)
	_, err = a.WriteToUDP(p, nil)
	require.Error(t, err)
	_, err = a.File()
	require.ErrorIs(t, err, netpoll.ErrUnsupported)
	_, err = a.SyscallConn()
	require.ErrorIs(t, err, netpoll.ErrUnsupported)
	require.ErrorIs(t, a.SetReadBuffer(10000), netpoll.ErrUnsupported)
	require.ErrorIs(t, a.SetWriteBuffer(10000), netpoll.ErrUnsupported)
}
