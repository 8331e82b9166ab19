//go:build linux

package test

// Forged sources. What the kernel lets through is a source that nobody can answer: port 0. Sending it takes a raw socket,
// which takes a privilege.

import (
	"context"
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/cloudwego/netpoll"
	"github.com/cloudwego/netpoll/internal/testkit"
)

// forge sends a datagram with that source, and reports whether the process may.
func forge(t *testing.T, from, to netip.AddrPort, data []byte) bool {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_RAW)
	if errors.Is(err, unix.EPERM) || errors.Is(err, unix.EACCES) {
		return false
	}
	require.NoError(t, err)
	defer unix.Close(fd)
	source, target := from.Addr().As4(), to.Addr().As4()
	p := make([]byte, 28, 28+len(data)) // the kernel fills in lengths and the checksum of IP
	p[0], p[8], p[9] = 4<<4|5, 64, unix.IPPROTO_UDP
	copy(p[12:], source[:])
	copy(p[16:], target[:])
	binary.BigEndian.PutUint16(p[20:], from.Port())
	binary.BigEndian.PutUint16(p[22:], to.Port())
	binary.BigEndian.PutUint16(p[24:], uint16(8+len(data))) // without a checksum of UDP
	require.NoError(t, unix.Sendto(fd, append(p, data...), 0, &unix.SockaddrInet4{Addr: target}))
	return true
}

// An answer to a forged source fails, alone: the server answers the others of the batch, and goes on.
func TestAnswersToForgedSourcesHarmNoOthers(t *testing.T) {
	for name, forged := range map[string]string{"port 0": "127.0.0.1:0", "another host": "127.9.8.7:7"} {
		t.Run(name, func(t *testing.T) {
			goOn := make(chan struct{})
			type failure struct {
				to  netip.AddrPort
				err error
			}
			failures := make(chan failure, 100)
			conn := listenPackets(t, "udp4", "127.0.0.1:0", netpoll.WithPacketInfo())
			s := servePackets(t, conn, func(_ context.Context, conn *netpoll.UDPConn, packets []netpoll.Packet) error {
				<-goOn
				for len(packets) > 0 {
					n, err := conn.WriteBatch(packets)
					if err == nil {
						break
					}
					failures <- failure{packets[n].Addr, err}
					packets = packets[n+1:]
				}
				return nil
			})
			c, text := packetClient(t, s.addr), "an honest question"
			source := netip.MustParseAddrPort(forged)
			if !forge(t, source, s.addr.AddrPort(), []byte(text)) {
				t.Log("not allowed to forge")
				close(goOn)
				return
			}
			for i := range 10 { // equal ones in a row, which could be sent as one
				if i > 2 {
					forge(t, source, s.addr.AddrPort(), []byte(text))
				}
				_, err := c.Write([]byte(text))
				require.NoError(t, err)
			}
			for range 5 {
				forge(t, source, s.addr.AddrPort(), []byte(text))
			}
			close(goOn)
			for range 10 {
				expectPacket(t, c, text)
			}
			if source.Port() == 0 {
				for range 1 + 7 + 5 {
					f := testkit.Receive(t, failures)
					require.Equal(t, source, f.to)
					require.ErrorIs(t, f.err, syscall.EINVAL)
					var op *net.OpError
					require.ErrorAs(t, f.err, &op)
					require.Equal(t, source.String(), op.Addr.String())
				}
			}
			expectPacketEcho(t, c, "another")
			require.Empty(t, failures)
		})
	}
}
