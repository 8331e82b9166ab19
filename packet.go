package netpoll

// This file holds what a datagram is for programs, and what is counted of datagrams.

import (
	"net/netip"
	"sync/atomic"
	"unsafe"

	"github.com/cloudwego/netpoll/internal/metric"
)

// maxPacketSize is more than any datagram of UDP has.
const maxPacketSize = 64 << 10

// Packet is a datagram of ReadBatch, of WriteBatch, or of a [PacketLoop].
type Packet struct {
	// Data is the content of the datagram. It may be empty.
	Data []byte
	// Addr is the peer: the sender of a datagram that was received, the receiver of one to send. It has the form that
	// ReadFromUDPAddrPort of package net gives it. To send from a connected socket it must be the zero value.
	Addr netip.AddrPort
	// Buffer is the memory that ReadBatch receives into; Data is then its beginning. Nothing else uses it.
	Buffer []byte
	// Truncated: the datagram was longer than the memory for it, and the rest is lost.
	Truncated bool

	// The fields below are zero in what is received unless an option asks for them, and on systems other than Linux.
	// WriteBatch regards them: a packet that is sent back leaves from the address that it came to.

	// Local is the address of this side that the datagram came to, or leaves from; see [WithPacketInfo]. The zero value,
	// and that of datagrams to a group of IPv6, lets the system choose. For a group of IPv4 it is that of the interface.
	Local netip.Addr
	// Interface is the index of the network interface that the datagram came in by. To send it is used only if Local is
	// an address of one link.
	Interface int
	// ECN are the bits of explicit congestion notification; see [WithPacketECN]. To send, 0 leaves what the socket has.
	ECN uint8
	// SegmentSize, if it is not 0, says that Data are several datagrams of that size, the last one maybe shorter: up to
	// 64, and 65507 bytes. Only sockets and loops with [WithPacketSegments] receive such ones. WriteBatch sends them on
	// all systems.
	SegmentSize int
}

// segments is how many datagrams p is.
func (p *Packet) segments() int {
	if p.SegmentSize <= 0 || len(p.Data) <= p.SegmentSize {
		return 1
	}
	return (len(p.Data) + p.SegmentSize - 1) / p.SegmentSize
}

// segment returns the i-th of the datagrams that p is.
func (p *Packet) segment(i int) []byte {
	if i == 0 && p.segments() == 1 {
		return p.Data
	}
	from, to := i*p.SegmentSize, min((i+1)*p.SegmentSize, len(p.Data))
	return p.Data[from:to:to]
}

// PacketStats is the result of [UDPConn.Stats]. What the methods of package net move is not counted.
type PacketStats struct {
	// Received and Sent are the numbers of datagrams that ReadBatch, WriteBatch and [PacketLoop] have moved.
	Received, Sent uint64
	// Receives and Sends are in how many batches.
	Receives, Sends uint64
	// Truncated is how many of those received were longer than the memory for them.
	Truncated uint64
	// Dropped is how many datagrams the system has dropped for the socket, most often because they were not received
	// quickly enough and its buffer was full. Only Linux counts them.
	Dropped uint64
	// ReadBuffer and WriteBuffer are what the system has granted to the socket, in bytes; 0 if it does not tell, and after
	// Close. Linux doubles what was asked for, because it counts its own bookkeeping as well.
	ReadBuffer, WriteBuffer int
}

// packetCounters is the part of the statistics that is counted here. Any goroutine adds to it.
type packetCounters struct {
	received, receives, truncated atomic.Uint64
	sent, sends                   atomic.Uint64
	dropped                       atomic.Uint64 // stored at Close
}

func (p *packetCounters) addReceived(batch []Packet) {
	truncated := uint64(0)
	for i := range batch {
		if batch[i].Truncated {
			truncated++
		}
	}
	p.received.Add(uint64(len(batch)))
	p.receives.Add(1)
	all := p.ofProcess()
	all.PacketsIn.Add(uint64(len(batch)))
	all.PacketReceives.Add(1)
	if truncated > 0 {
		p.truncated.Add(truncated)
	}
}

func (p *packetCounters) addSent(n int) {
	p.sent.Add(uint64(n))
	p.sends.Add(1)
	all := p.ofProcess()
	all.PacketsOut.Add(uint64(n))
	all.PacketSends.Add(1)
}

// ofProcess is where the same is counted for the process.
func (p *packetCounters) ofProcess() *metric.Counters { return metric.Elsewhere.For(unsafe.Pointer(p)) }

// Stats tells what has happened to the datagrams of the socket. It asks the system, and may be called at any time.
func (c *UDPConn) Stats() PacketStats {
	p := &c.counts
	s := PacketStats{
		Received: p.received.Load(), Receives: p.receives.Load(), Truncated: p.truncated.Load(),
		Sent: p.sent.Load(), Sends: p.sends.Load(), Dropped: p.dropped.Load(),
	}
	if now, err := c.batches.stats(); err == nil {
		s.ReadBuffer, s.WriteBuffer = now.ReadBuffer, now.WriteBuffer
		s.Dropped = max(s.Dropped, now.Dropped)
	}
	return s
}

// keepDrops is called before the socket is closed, after which the system does not tell any more.
func (c *UDPConn) keepDrops() {
	if now, err := c.batches.stats(); err == nil {
		c.counts.dropped.Store(now.Dropped)
	}
}

// packetOffload are options of sockets of datagrams, and of loops.
type packetOffload struct {
	noGSO      bool
	gro        int8 // 1 and -1: as the program says; 0: as it is for sockets, and for loops
	segments   bool
	local, ecn bool
}
