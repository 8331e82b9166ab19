package netpoll

// This file holds receiving and sending of many datagrams with one call, for programs. How the system does it is in
// packet_batch_unix.go where a Batch of package sock does it, and in packet_batch_other.go elsewhere.

import (
	"errors"
	"net/netip"

	"github.com/cloudwego/netpoll/internal/sock"
)

// maxPacketBatch is how many datagrams one system call moves at most.
const maxPacketBatch = sock.MaxBatch

var (
	errNoRoom   = errors.New("packet has no buffer")
	errNoTarget = errors.New("missing address") // as package net says it
	errSegments = errors.New("packet has more than 64 segments, or they are longer than a datagram")
)

// ReadBatch waits for a datagram, and then receives all that are there, but not more than there are elements in packets,
// nor more than one system call may take, which is 64. It returns how many it has received: of these it has set Data,
// Addr and Truncated. Each element needs a Buffer, which it receives into; what does not fit is lost. There may be an
// error beside datagrams. It allocates nothing on Linux.
//
// On systems without such a call, and if the socket was made of a [net.PacketConn] that is none of package net, it
// receives one datagram.
func (c *UDPConn) ReadBatch(packets []Packet) (int, error) {
	if len(packets) == 0 {
		return 0, nil
	}
	packets = packets[:min(len(packets), c.batches.most())]
	for i := range packets {
		if len(packets[i].Buffer) == 0 {
			return 0, c.opError("read", errNoRoom)
		}
	}
	n, err := c.batches.read(c, packets)
	if n > 0 {
		c.counts.addReceived(packets[:n])
	}
	return n, err
}

// WriteBatch sends the packets in their order, up to 64 with one system call, and waits while there is no room for them,
// until the write deadline. It returns how many were sent. If these are not all, the error is that of the next one: a
// program may leave that out and go on with the rest. If that one has segments, some of them may have been sent. Packets
// of one length to one address, four or more in a row, go through the system as one where it can; see [WithPacketGSO]. The
// memory of the packets is the caller's again when it returns. It allocates nothing on Linux.
func (c *UDPConn) WriteBatch(packets []Packet) (int, error) {
	sent := 0
	for sent < len(packets) {
		part := packets[sent:]
		part = part[:min(len(part), maxPacketBatch)]
		n, err := c.batches.write(c, part)
		if n > 0 {
			c.counts.addSent(n)
		}
		sent += n
		if err != nil {
			return sent, err
		}
	}
	return sent, nil
}

// readOne is ReadBatch by the methods of package net.
func (c *UDPConn) readOne(packets []Packet) (int, error) {
	p := &packets[0]
	n, _, flags, addr, err := c.socket.ReadMsgUDPAddrPort(p.Buffer, nil)
	truncated, err := sock.Truncated(flags, err)
	if err != nil {
		return 0, err
	}
	*p = Packet{Data: p.Buffer[:n], Buffer: p.Buffer, Addr: addr, Truncated: truncated}
	return 1, nil
}

// writeEach is WriteBatch by the methods of package net.
func (c *UDPConn) writeEach(packets []Packet) (sent int, _ error) {
	for i := range packets {
		p := &packets[i]
		if tooManySegments(p) {
			return sent, c.opError("write", errSegments)
		}
		for k := range p.segments() {
			if err := c.writeOne(p.segment(k), p.Addr); err != nil {
				return sent, err
			}
		}
		sent++
	}
	return sent, nil
}

func (c *UDPConn) writeOne(data []byte, to netip.AddrPort) (err error) {
	if to.IsValid() || c.socket.RemoteAddr() == nil {
		_, err = c.socket.WriteToUDPAddrPort(data, to)
	} else {
		_, err = c.socket.Write(data)
	}
	return err
}

// tooManySegments reports whether p is more datagrams than may be sent as one packet.
func tooManySegments(p *Packet) bool {
	n := p.segments()
	return n > sock.MaxSegments || n > 1 && len(p.Data) > sock.MaxSegmented
}
