package netpoll

// This file holds the memory of a batch of datagrams. A server takes it when there is something to receive, and gives it
// back when nothing is left: idle sockets need none.

import "sync"

// packetSlab is the memory of one batch.
type packetSlab struct {
	packets []Packet
	rooms   [][]byte // of the packets; a handler may change those
	cut     []Packet // datagrams that have come together; made when some do
}

// slabPool holds packetSlabs of one size.
type slabPool struct{ sync.Pool }

func (p *slabPool) get() *packetSlab { return p.Get().(*packetSlab) }

// put takes slab back, and forgets memory of the handler.
func (p *slabPool) put(slab *packetSlab) {
	clear(slab.packets)
	clear(slab.cut)
	p.Put(slab)
}

// roomGap is left between the rooms of a slab. If the beginnings of all were a multiple of 64 KiB apart, they would take
// each other's place in the caches of the processor.
const roomGap = 3 * 64

// newSlabPool makes a pool of slabs for n datagrams of that size.
func newSlabPool(n, size int) *slabPool {
	p := new(slabPool)
	p.New = func() any { return newSlab(n, size) }
	return p
}

// newSlab makes the memory for n datagrams of that size. The system gives memory to pages that were written to, so what it
// takes is less than its size as long as datagrams are short.
func newSlab(n, size int) *packetSlab {
	slab := &packetSlab{packets: make([]Packet, n), rooms: make([][]byte, n)}
	memory := make([]byte, n*(size+roomGap))
	for i := range n {
		at := i * (size + roomGap)
		slab.rooms[i] = memory[at : at+size : at+size]
	}
	return slab
}

// first returns the first n packets, ready to be received into.
func (s *packetSlab) first(n int) []Packet {
	packets := s.packets[:n]
	for i := range packets {
		packets[i] = Packet{Buffer: s.rooms[i]}
	}
	return packets
}

// slabReader receives from a socket. It has a slab from when something arrives until there is nothing more. One goroutine
// at a time uses it.
type slabReader struct {
	conn  *UDPConn
	slabs *slabPool
	limit int // datagrams of a batch
	slab  *packetSlab
	whole bool     // datagrams that have come together stay so
	rest  []Packet // received and not given to the user yet
	calls readerCalls
}

func (r *slabReader) init(conn *UDPConn, slabs *slabPool, limit int) {
	r.conn, r.slabs, r.limit = conn, slabs, min(limit, conn.batches.most())
	r.calls.init(r)
}

// take returns packets to receive into.
func (r *slabReader) take() []Packet {
	if r.slab == nil {
		r.slab = r.slabs.get()
	}
	return r.slab.first(r.limit)
}

// next waits for datagrams, and gives no more than the limit. There may be an error beside some.
func (r *slabReader) next() (packets []Packet, err error) {
	if len(r.rest) == 0 {
		if packets, err = r.calls.next(); r.whole || !haveSegments(packets) {
			return packets, err
		}
		r.rest = packets
	}
	return r.cutRest(), err
}

// cutRest gives the next of the datagrams that have come together.
func (r *slabReader) cutRest() []Packet {
	if r.slab.cut == nil {
		r.slab.cut = make([]Packet, len(r.slab.packets))
	}
	list := r.slab.cut[:r.limit]
	n := 0
	for n < len(list) && len(r.rest) > 0 {
		if list[n] = cutFirst(&r.rest[0]); len(r.rest[0].Data) == 0 {
			r.rest = r.rest[1:]
		}
		n++
	}
	return list[:n]
}

// drop gives up what was received and not given to the user, and the slab.
func (r *slabReader) drop() {
	r.rest = nil
	r.give()
}

// give gives the slab back, if there is one and it is not needed any more.
func (r *slabReader) give() {
	if r.slab != nil && len(r.rest) == 0 {
		r.slabs.put(r.slab)
		r.slab = nil
	}
}

// nextByNet waits for a datagram by the methods of package net.
func (r *slabReader) nextByNet() ([]Packet, error) {
	packets := r.take()
	n, err := r.conn.readOne(packets)
	return packets[:n], err
}

func haveSegments(packets []Packet) bool {
	for i := range packets {
		if packets[i].SegmentSize > 0 {
			return true
		}
	}
	return false
}

// cutFirst takes the first datagram off those that p is. Only the last one can have been truncated.
func cutFirst(p *Packet) Packet {
	first := *p
	first.SegmentSize = 0
	if p.segments() > 1 {
		first.Data, p.Data = p.segment(0), p.Data[p.SegmentSize:]
		first.Buffer, first.Truncated = first.Data, false
		return first
	}
	if p.SegmentSize > 0 {
		first.Buffer = first.Data
	}
	p.Data = nil
	return first
}
