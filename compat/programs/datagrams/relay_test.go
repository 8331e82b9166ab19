package datagrams

// A relay between clients and a server, on a PacketLoop, which does to datagrams what networks do.

import (
	"context"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/cloudwego/netpoll"
	"github.com/stretchr/testify/require"
)

// relay forwards the datagrams of each client to the server, and back. Each client has a socket of its own there.
type relay struct {
	t      *testing.T
	server *net.UDPAddr
	front  *netpoll.UDPConn // that clients send to
	loop   netpoll.PacketLoop

	rude                 bool         // one of ten is lost, one repeated, one comes after the next
	marked               atomic.Int64 // datagrams that came with congestion bits
	lost, repeated, late atomic.Int64

	// mu guards the fields below.
	mu      sync.Mutex
	random  *rand.Rand
	sockets map[netip.AddrPort]*netpoll.UDPConn // that send to the server
	clients map[*netpoll.UDPConn]netip.AddrPort // and whom for
}

// newRelay makes a relay to a server for the time of the test.
func newRelay(t *testing.T, server net.Addr, rude bool) *relay {
	t.Helper()
	front, err := netpoll.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	require.NoError(t, err)
	r := &relay{t: t, server: server.(*net.UDPAddr), front: front, rude: rude, random: rand.New(rand.NewPCG(1, 2)),
		sockets: map[netip.AddrPort]*netpoll.UDPConn{}, clients: map[*netpoll.UDPConn]netip.AddrPort{}}
	r.loop, err = netpoll.NewPacketLoop(r.onPackets, netpoll.WithPacketECN())
	require.NoError(t, err)
	serve(t, r.loop, front)
	return r
}

// onPackets forwards a batch. It is called for several sockets at once.
func (r *relay) onPackets(_ context.Context, conn *netpoll.UDPConn, packets []netpoll.Packet) error {
	for i := range packets {
		if packets[i].ECN != 0 {
			r.marked.Add(1)
		}
	}
	if conn == r.front {
		return r.toServer(packets)
	}
	r.mu.Lock()
	client := r.clients[conn]
	r.mu.Unlock()
	for i := range packets {
		packets[i].Addr = client
	}
	_, err := r.front.WriteBatch(r.spoil(packets))
	return err
}

// toServer sends packets of clients, each by the socket of its client.
func (r *relay) toServer(packets []netpoll.Packet) error {
	for len(packets) > 0 {
		from, n := packets[0].Addr, 1
		for n < len(packets) && packets[n].Addr == from {
			n++
		}
		conn, err := r.socketOf(from)
		if err != nil {
			return err
		}
		for i := range packets[:n] {
			packets[i].Addr = netip.AddrPort{} // the socket is connected
		}
		if _, err := conn.WriteBatch(r.spoil(packets[:n])); err != nil {
			return err
		}
		packets = packets[n:]
	}
	return nil
}

// socketOf returns the socket for a client, which the loop serves, too.
func (r *relay) socketOf(client netip.AddrPort) (*netpoll.UDPConn, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if conn := r.sockets[client]; conn != nil {
		return conn, nil
	}
	conn, err := netpoll.DialUDP("udp4", nil, r.server)
	if err != nil {
		return nil, err
	}
	r.sockets[client], r.clients[conn] = conn, client
	go func() { // which Shutdown of the loop ends
		if err := r.loop.Serve(conn); err != nil {
			r.t.Error(err)
		}
	}()
	return conn, nil
}

// spoil returns what the network leaves of packets.
func (r *relay) spoil(packets []netpoll.Packet) []netpoll.Packet {
	if !r.rude {
		return packets
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	var left []netpoll.Packet
	for _, p := range packets {
		switch r.random.IntN(30) {
		case 0, 1, 2:
			r.lost.Add(1)
			continue
		case 3, 4, 5:
			left = append(left, p)
			r.repeated.Add(1)
		}
		left = append(left, p)
	}
	for i := 1; i < len(left); i++ {
		if r.random.IntN(10) == 0 {
			left[i-1], left[i] = left[i], left[i-1]
			r.late.Add(1)
		}
	}
	return slices.Clip(left)
}
