package test

// Hostile peers of a server of datagrams: floods of garbage, of nothing, of too much, from peers that are gone when the
// answer comes. The server goes on to answer others.

import (
	"context"
	"errors"
	"net"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/cloudwego/netpoll"
	"github.com/cloudwego/netpoll/internal/testkit"
)

func TestPacketLoopAnswersWhileItIsFlooded(t *testing.T) {
	const size = 512
	var long atomic.Int64
	handled := make(chan struct{}, 5)
	conn := listenPackets(t, "udp4", "127.0.0.1:0", netpoll.WithPacketInfo(), netpoll.WithPacketECN())
	require.NoError(t, conn.SetWriteDeadline(time.Time{}))
	s := servePackets(t, conn, func(_ context.Context, conn *netpoll.UDPConn, packets []netpoll.Packet) error {
		for i := range packets {
			p := &packets[i]
			if len(p.Data) > size {
				t.Errorf("a datagram of %d bytes", len(p.Data))
			}
			if p.Truncated {
				long.Add(1)
			}
		}
		for range cap(handled) - len(handled) {
			handled <- struct{}{}
		}
		// An answer to garbage comes back as an error at most: that of one packet, after which the rest is sent.
		for len(packets) > 0 {
			n, err := conn.WriteBatch(packets)
			if err == nil {
				break
			}
			packets = packets[n+1:]
		}
		return nil
	}, netpoll.WithPacketSize(size), netpoll.WithPacketBatch(16))

	var stops []func()
	for k, datagrams := range [][]byte{{}, make([]byte, 1), []byte("\x00\x00\xff\xff garbage"), make([]byte, size+1), make([]byte, 9000)} {
		stops = append(stops, testkit.Repeat(t, func(i int) bool {
			select {
			case <-handled: // a handler has run: many times what it has taken follows, but it is never starved
			case <-time.After(testkit.Calm):
			}
			// A new source for every few datagrams. It never reads, and is gone soon, so that answers find nobody.
			c, err := net.DialUDP("udp4", nil, s.addr)
			if err != nil {
				t.Error(err)
				return false
			}
			defer c.Close()
			for range 1 + (i+k)%40 {
				_, _ = c.Write(datagrams)
			}
			return true
		}))
	}
	c := packetClient(t, s.addr)
	text, p := []byte("an honest question"), make([]byte, 1000)
	tells := runtime.GOOS == "linux" // a datagram that was too long
	for answers := 0; answers < 20 || tells && long.Load() == 0; {
		_, err := c.Write(text)
		require.NoError(t, err)
		require.NoError(t, c.SetReadDeadline(time.Now().Add(testkit.Short))) // the system may drop it: then again
		n, err := c.Read(p)
		if e := net.Error(nil); errors.As(err, &e) && e.Timeout() {
			continue
		}
		require.NoError(t, err)
		require.Equal(t, text, p[:n])
		answers++
	}
	for _, stop := range stops {
		stop()
	}
	require.True(t, !tells || conn.Stats().Truncated > 0)
	require.NoError(t, s.Shutdown(context.Background()))
	require.NoError(t, testkit.Receive(t, s.serve))
}
