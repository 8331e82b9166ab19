package netpoll

// This file holds what a datagram is for programs, and what is counted of datagrams.

import (
	"net/netip"
	"sync/atomic"
)

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
	if truncated > 0 {
		p.truncated.Add(truncated)
	}
}

func (p *packetCounters) addSent(n int) {
	p.sent.Add(uint64(n))
	p.sends.Add(1)
}

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
