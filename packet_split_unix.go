//go:build (linux && !netconn) || darwin || dragonfly || freebsd || netbsd || openbsd

package netpoll

// This file holds receiving from a single socket whose datagrams the system may join: all methods that receive take what
// has come together apart, and copy it to where the program wants it.

import (
	"errors"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"syscall"

	"github.com/cloudwego/netpoll/internal/sock"
)

// packetExtras is what the system was asked for. It is set before the socket is received from.
type packetExtras struct {
	ancillary atomic.Bool // the system tells something with each datagram
	coalesces atomic.Bool // datagrams may come together
}

// offload asks the system for what o says. It does not fail for what the system does not have. coalesce says whether
// datagrams may come together.
func (io *packetIO) offload(o *packetOffload, coalesce bool) error {
	if o.noGSO {
		io.limit.Store(0)
	}
	coalesce = coalesce && defaultGRO.refusal() == nil
	if io.raw == nil || !o.local && !o.ecn && coalesce == io.extras.coalesces.Load() {
		return nil
	}
	var err error
	controlErr := io.raw.Control(func(fd uintptr) { err = io.ask(int(fd), o, coalesce) })
	if controlErr != nil {
		return insideOf(controlErr)
	}
	return err
}

func (io *packetIO) ask(fd int, o *packetOffload, coalesce bool) error {
	x := &io.extras
	for _, want := range []struct {
		what bool
		f    func() error
	}{
		{o.local, func() error { return sock.TellLocal(fd, io.inet6) }},
		{o.ecn, func() error { return sock.TellECN(fd, io.inet6) }},
	} {
		if !want.what {
			continue
		}
		switch err := want.f(); {
		case err == nil:
			x.ancillary.Store(true)
		case !errors.Is(err, errors.ErrUnsupported):
			return err
		}
	}
	if coalesce {
		x.ancillary.Store(true) // before the first can come
	}
	if coalesce != x.coalesces.Load() && sock.Coalesce(fd, coalesce) == nil { // it is no loss if this fails
		x.coalesces.Store(coalesce)
	}
	return nil
}

// split makes the methods of c take apart what has come together, if the program does not want to do so itself.
func (io *packetIO) split(c *UDPConn, o *packetOffload) {
	if !io.extras.coalesces.Load() || o.segments {
		return
	}
	io.apart = &splitReader{}
	io.apart.in.init(c, splitSlabs, splitBatch)
	c.socket = &splitSocket{udpSocket: c.socket, r: io.apart}
}

// splitBatch is how many times a socket receives at once; each may be 64 datagrams.
const splitBatch = 8

var splitSlabs = newSlabPool(splitBatch, maxPacketSize)

// splitReader receives from a socket, and takes apart what has come together.
type splitReader struct {
	// mu is held by the goroutine that receives, while it waits too, and guards the fields below. Deadlines and Close end
	// its waiting, and then that of the next.
	mu   sync.Mutex
	in   slabReader
	left []Packet // taken apart, and not given to the program yet
}

// read receives into the buffers of packets, as ReadBatch says.
func (r *splitReader) read(packets []Packet) (n int, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if err := r.mayTake(); err != nil {
		return 0, err
	}
	for n < len(packets) && err == nil {
		if len(r.left) == 0 {
			if n > 0 && len(r.in.rest) == 0 {
				break // nothing but what is here already
			}
			r.left, err = r.in.next()
		}
		taken := min(len(r.left), len(packets)-n)
		for i := range taken {
			copyPacket(&packets[n+i], &r.left[i])
		}
		r.left = r.left[taken:]
		n += taken
	}
	if len(r.left) == 0 {
		r.in.give()
	}
	return n, err
}

// mayTake returns the error of a deadline, or of Close, for what is here already.
func (r *splitReader) mayTake() error {
	if len(r.left) == 0 && len(r.in.rest) == 0 {
		return nil
	}
	c := r.in.conn
	if err := c.batches.raw.Read(func(uintptr) bool { return true }); err != nil {
		return c.opError("read", insideOf(err))
	}
	return nil
}

// copyPacket copies a datagram into the buffer of p.
func copyPacket(p, from *Packet) {
	data := p.Buffer[:copy(p.Buffer, from.Data)]
	*p = Packet{Data: data, Buffer: p.Buffer, Addr: from.Addr, Truncated: from.Truncated || len(data) < len(from.Data),
		Local: from.Local, Interface: from.Interface, ECN: from.ECN}
}

// splitSocket is a udpSocket that receives by a splitReader.
type splitSocket struct {
	udpSocket
	r *splitReader
}

func (s *splitSocket) one(b []byte) (p Packet, err error) {
	var list [1]Packet
	list[0].Buffer = b
	_, err = s.r.read(list[:])
	return list[0], err
}

func (s *splitSocket) Read(b []byte) (int, error) {
	p, err := s.one(b)
	return len(p.Data), err
}

func (s *splitSocket) ReadFrom(b []byte) (int, net.Addr, error) {
	n, addr, err := s.ReadFromUDP(b)
	if addr == nil {
		return n, nil, err
	}
	return n, addr, err
}

func (s *splitSocket) ReadFromUDP(b []byte) (n int, addr *net.UDPAddr, err error) {
	n, _, _, addr, err = s.ReadMsgUDP(b, nil)
	return n, addr, err
}

func (s *splitSocket) ReadFromUDPAddrPort(b []byte) (n int, addr netip.AddrPort, err error) {
	p, err := s.one(b)
	return len(p.Data), p.Addr, err
}

func (s *splitSocket) ReadMsgUDP(b, _ []byte) (n, oobn, flags int, addr *net.UDPAddr, err error) {
	n, _, flags, from, err := s.ReadMsgUDPAddrPort(b, nil)
	if err == nil {
		addr = net.UDPAddrFromAddrPort(from)
	}
	return n, 0, flags, addr, err
}

func (s *splitSocket) ReadMsgUDPAddrPort(b, _ []byte) (n, oobn, flags int, addr netip.AddrPort, err error) {
	p, err := s.one(b)
	if p.Truncated {
		flags = syscall.MSG_TRUNC
	}
	return len(p.Data), 0, flags, p.Addr, err
}
