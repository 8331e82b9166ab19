package test

// Datagrams from sources that have no business here: strangers to a connected socket, and the server itself.

import (
	"context"
	"net"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/cloudwego/netpoll"
	"github.com/cloudwego/netpoll/internal/testkit"
)

// Anybody can send to the port of a connected socket. Only its peer gets through, whatever receives there.
func TestConnectedSocketTakesNothingFromStrangers(t *testing.T) {
	for name, dial := range map[string]func(t *testing.T, to *net.UDPAddr, got chan string) net.Addr{
		"ReadBatch": func(t *testing.T, to *net.UDPAddr, got chan string) net.Addr {
			conn, err := netpoll.DialUDP("udp4", nil, to, netpoll.WithPacketGRO(true))
			require.NoError(t, err)
			t.Cleanup(func() { _ = conn.Close() })
			go func() { // until the socket is closed
				list := rooms(8, 100)
				for {
					n, err := conn.ReadBatch(list)
					if err != nil {
						return
					}
					for _, p := range list[:n] {
						got <- string(p.Data)
					}
				}
			}()
			return conn.LocalAddr()
		},
		"PacketLoop": func(t *testing.T, to *net.UDPAddr, got chan string) net.Addr {
			conn, err := netpoll.DialUDP("udp4", nil, to)
			require.NoError(t, err)
			return servePackets(t, conn, func(_ context.Context, _ *netpoll.UDPConn, packets []netpoll.Packet) error {
				for _, p := range packets {
					got <- string(p.Data)
				}
				return nil
			}).addr
		},
		"Connection": func(t *testing.T, to *net.UDPAddr, got chan string) net.Addr {
			conn, err := netpoll.DialConnection("udp4", to.String(), testkit.Timeout)
			require.NoError(t, err)
			t.Cleanup(func() { _ = conn.Close() })
			require.NoError(t, conn.SetOnRequest(func(_ context.Context, conn netpoll.Connection) error {
				text, err := conn.Reader().ReadString(conn.Reader().Len())
				got <- text
				return err
			}))
			return conn.LocalAddr()
		},
	} {
		t.Run(name, func(t *testing.T) {
			peer, stranger := listenPackets(t, "udp4", "127.0.0.1:0"), listenPackets(t, "udp4", "127.0.0.1:0")
			got := make(chan string, 100)
			to := dial(t, peer.LocalAddr().(*net.UDPAddr), got)
			for range 20 {
				_, err := stranger.WriteTo([]byte("stranger"), to)
				require.NoError(t, err)
				_, err = peer.WriteTo([]byte("peer"), to)
				require.NoError(t, err)
			}
			for range 20 {
				require.Equal(t, "peer", testkit.Receive(t, got))
			}
		})
	}
}

// Who forges the server's own address as the source of a question makes an echo server answer itself, again and again.
// Others are answered meanwhile, and it ends.
func TestPacketLoopThatAnswersItselfGoesOnAndEnds(t *testing.T) {
	overPacketConns(t, func(t *testing.T, listen func() net.PacketConn) {
		var own atomic.Int64
		conn, err := netpoll.NewUDPConn(listen())
		require.NoError(t, err)
		self := conn.LocalAddr().(*net.UDPAddr).AddrPort()
		s := servePackets(t, conn, func(ctx context.Context, conn *netpoll.UDPConn, packets []netpoll.Packet) error {
			for _, p := range packets {
				if p.Addr.Port() == self.Port() {
					own.Add(1)
				}
			}
			return echoPackets(ctx, conn, packets)
		})
		_, err = conn.WriteToUDPAddrPort([]byte("to myself"), self)
		require.NoError(t, err)
		c := packetClient(t, s.addr)
		testkit.Eventually(t, func() bool {
			expectPacketEcho(t, c, "an honest question")
			return own.Load() > 100
		})
		require.NoError(t, s.Shutdown(context.Background()))
		require.NoError(t, testkit.Receive(t, s.serve))
	})
}
