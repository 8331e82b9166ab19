//go:build (linux && !netconn) || darwin || dragonfly || freebsd || netbsd || openbsd

package netpoll

// This file holds how packets become what the system sends: equal ones for one address become one message that the system
// cuts, where it can, and a packet of several datagrams becomes several messages where it cannot.

import (
	"errors"
	"sync/atomic"
	"syscall"

	"github.com/cloudwego/netpoll/internal/sock"
)

const (
	// leastRun is how many packets are worth a message that the system cuts.
	leastRun = 4
	// commonSegment is a length that every network can carry without fragments. If the system refuses longer segments,
	// shorter ones may do.
	commonSegment = 1200
)

// segmentLimit is how long the segments are that the system cuts; 0 if it cuts none. Any goroutine lowers it.
type segmentLimit struct{ atomic.Int32 }

// lower is called when the system has refused segments of that size, which could be sent one by one.
func (l *segmentLimit) lower(size int, refusal error) {
	to := int32(0)
	if size > commonSegment && !errors.Is(refusal, syscall.EIO) {
		to = int32(size) - 1
	}
	for {
		now := l.Load()
		if now <= to || l.CompareAndSwap(now, to) {
			return
		}
	}
}

// isSegmentRefusal reports whether err may mean that the system does not cut this message. Nothing of it was sent then.
func isSegmentRefusal(err error) bool {
	switch asErrno(err) {
	case syscall.EIO, syscall.EINVAL, syscall.EMSGSIZE, syscall.EOPNOTSUPP:
		return true
	}
	return false
}

// sendPlan says which packets the messages of a call are.
type sendPlan struct {
	ends [maxPacketBatch]uint8  // how many packets are sent when so many messages are
	cuts [maxPacketBatch]uint16 // the segment size of those that the system cuts, or 0
	used int                    // buffers
}

// put makes packets the messages of call, as many as it has place for, up to the first that cannot be sent, whose error it
// returns. It makes no segments longer than limit.
func (io *packetIO) put(call *packetCall, packets []Packet, limit int) error {
	call.count, call.plan.used = 0, 0
	for i := 0; i < len(packets); {
		p := &packets[i]
		if err := checkAddress(p.Addr, io.inet6, io.connected); err != nil {
			return err
		}
		if tooManySegments(p) {
			return errSegments
		}
		n := 1
		switch segments := p.segments(); {
		case segments > 1 && mayCut(p, limit):
			if call.plan.used == maxPacketBatch {
				return nil
			}
			io.message(call, p, p.Data, p.SegmentSize, i+1)
		case call.plan.used+segments > maxPacketBatch:
			return nil
		case segments > 1:
			for k := range segments {
				done := i
				if k == segments-1 {
					done = i + 1
				}
				io.message(call, p, p.segment(k), 0, done)
			}
		default:
			if n = runOf(packets[i:], limit); n > maxPacketBatch-call.plan.used {
				return nil
			}
			io.run(call, packets[i:i+n], i+n)
		}
		i += n
	}
	return nil
}

// run makes packets one message.
func (io *packetIO) run(call *packetCall, packets []Packet, end int) {
	size := 0
	if len(packets) > 1 {
		size = len(packets[0].Data)
	}
	io.message(call, &packets[0], packets[0].Data, size, end)
	for i := range packets[1:] {
		call.batch.Join(call.count-1, packets[i+1].Data)
		call.plan.used++
	}
}

// message adds a message to call. end is how many packets are sent with it.
func (io *packetIO) message(call *packetCall, p *Packet, data []byte, cut, end int) {
	i := call.count
	call.batch.Put(i, data, p.Addr, io.inet6)
	if cut > 0 || p.ECN != 0 || p.Local.IsValid() {
		a := sock.Ancillary{Local: p.Local, Interface: p.Interface, ECN: p.ECN, SegmentSize: cut}
		call.batch.Attach(i, a, p.Addr, io.inet6)
	}
	call.plan.ends[i], call.plan.cuts[i] = uint8(end), uint16(cut)
	call.plan.used++
	call.count++
}

// mayCut reports whether the system may cut a message for p into segments no longer than limit. It refuses port 0 for
// another reason.
func mayCut(p *Packet, limit int) bool {
	size := p.SegmentSize
	if p.segments() == 1 {
		size = len(p.Data)
	}
	return size > 0 && size <= limit && (!p.Addr.IsValid() || p.Addr.Port() != 0)
}

// runOf returns how many packets, from the first on, can be one message: they have the same length, except for a shorter
// last one, and go the same way.
func runOf(packets []Packet, limit int) int {
	first := &packets[0]
	if len(packets) < leastRun || !mayCut(first, limit) {
		return 1
	}
	size := len(first.Data)
	total := size
	n := 1
	for n < len(packets) && n < sock.MaxSegments {
		p := &packets[n]
		total += len(p.Data)
		if len(p.Data) == 0 || len(p.Data) > size || total > sock.MaxSegmented || !sameWay(first, p) {
			break
		}
		if n++; len(p.Data) < size {
			break
		}
	}
	if n < leastRun {
		return 1
	}
	return n
}

// sameWay reports whether one message can carry both.
func sameWay(a, b *Packet) bool {
	return a.Addr == b.Addr && a.Local == b.Local && a.Interface == b.Interface && a.ECN == b.ECN && b.segments() == 1
}

// sent is how many packets the messages are that were sent.
func (call *packetCall) sent() int {
	if call.done == 0 {
		return 0
	}
	return int(call.plan.ends[call.done-1])
}

// refused returns the segment size of the message that the system refused to cut, or 0.
func (call *packetCall) refused() int {
	if call.done >= call.count || !isSegmentRefusal(call.err) {
		return 0
	}
	return int(call.plan.cuts[call.done])
}

// write implements WriteBatch, maybe for the first packets only. What the system refuses to cut is sent one by one. If that
// works it was for the cutting, and is not tried again.
func (io *packetIO) write(c *UDPConn, packets []Packet) (int, error) {
	if io.raw == nil {
		return c.writeEach(packets)
	}
	sent, size, err := io.send(c, packets, int(io.limit.Load()))
	if size == 0 {
		return sent, err
	}
	more, _, again := io.send(c, packets[sent:], 0)
	if more > 0 {
		io.limit.lower(size, err)
	}
	return sent + more, again
}

// send sends packets, maybe the first only. If it fails because the system refused to cut segments, it returns their size.
func (io *packetIO) send(c *UDPConn, packets []Packet, limit int) (sent, refused int, err error) {
	call := newPacketCall(0)
	defer call.end()
	wrong := io.put(call, packets, limit)
	if call.count > 0 {
		if err := io.raw.Write(call.writeFunc); err != nil {
			return call.sent(), 0, c.writeError(packets[call.sent()], insideOf(err))
		}
	}
	if call.err == nil {
		call.err = wrong
	}
	if sent = call.sent(); call.err != nil {
		return sent, call.refused(), c.writeError(packets[sent], call.err)
	}
	return sent, 0, nil
}
