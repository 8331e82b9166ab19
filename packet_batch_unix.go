//go:build (linux && !netconn) || darwin || dragonfly || freebsd || netbsd || openbsd

package netpoll

// This file holds batches of datagrams by a Batch of package sock, on the descriptor of a socket of package net. The Go
// runtime watches the descriptor for goroutines that wait: package net calls the functions given to its RawConn again
// when there is input, or room, and returns at a deadline and at Close.

import (
	"errors"
	"net"
	"net/netip"
	"sync"
	"syscall"

	"github.com/cloudwego/netpoll/internal/sock"
)

// packetIO moves the datagrams of one socket. It is constant after init.
type packetIO struct {
	raw       syscall.RawConn // nil if the socket is none of package net
	inet6     bool
	connected bool
}

func (io *packetIO) init(socket udpSocket) error {
	conn, ok := socket.(*net.UDPConn)
	if !ok {
		return nil
	}
	raw, err := conn.SyscallConn()
	if err != nil {
		return err
	}
	controlErr := raw.Control(func(fd uintptr) { io.inet6, err = sock.IsInet6(int(fd)) })
	if err := errors.Join(controlErr, err); err != nil {
		return err
	}
	io.raw, io.connected = raw, conn.RemoteAddr() != nil
	return nil
}

// most is how many datagrams one call receives at most.
func (io *packetIO) most() int {
	if io.raw == nil {
		return 1
	}
	return maxPacketBatch
}

// packetCall is one call of read, write or readNow. The functions are those of the RawConn, made once.
type packetCall struct {
	batch      sock.Batch
	count      int   // datagrams to move
	done       int   // and moved
	err        error // what the system said about the next
	readFunc   func(fd uintptr) (done bool)
	writeFunc  func(fd uintptr) (done bool)
	readingNow func(fd uintptr)
}

var packetCalls = sync.Pool{New: func() any {
	call := new(packetCall)
	call.readFunc, call.writeFunc = call.read, call.write
	call.readingNow = func(fd uintptr) { call.read(fd) }
	return call
}}

// newPacketCall returns a call for count datagrams. end must follow.
func newPacketCall(count int) *packetCall {
	call := packetCalls.Get().(*packetCall)
	call.count, call.done, call.err = count, 0, nil
	return call
}

// end gives the call back.
func (call *packetCall) end() {
	call.batch.Clear(call.count)
	call.err = nil
	packetCalls.Put(call)
}

// read receives. It returns false if it has to be called again when there is input.
func (call *packetCall) read(fd uintptr) (done bool) {
	call.done, call.err = call.batch.Receive(int(fd), call.count)
	return call.err != sock.ErrWouldBlock
}

// write sends. It returns false if it has to be called again when there is room.
func (call *packetCall) write(fd uintptr) (done bool) {
	for call.done < call.count {
		n, err := call.batch.Send(int(fd), call.done, call.count)
		if err != nil {
			call.err = err
			return err != sock.ErrWouldBlock
		}
		call.done += n
	}
	call.err = nil
	return true
}

// take makes rooms of the buffers of packets.
func (call *packetCall) take(packets []Packet) {
	for i := range packets {
		call.batch.Room(i, packets[i].Buffer)
	}
}

// give describes in packets what was received.
func (call *packetCall) give(packets []Packet) {
	for i := range packets[:call.done] {
		p := &packets[i]
		n, from, truncated := call.batch.Received(i)
		p.Data, p.Addr, p.Truncated = p.Buffer[:n], from, truncated
	}
}

// read implements ReadBatch.
func (io *packetIO) read(c *UDPConn, packets []Packet) (int, error) {
	if io.raw == nil {
		return c.readOne(packets)
	}
	call := newPacketCall(len(packets))
	defer call.end()
	call.take(packets)
	if err := io.raw.Read(call.readFunc); err != nil {
		return 0, c.opError("read", insideOf(err))
	}
	call.give(packets)
	if call.err != nil {
		return call.done, c.opError("read", call.err)
	}
	return call.done, nil
}

// readerCalls receive for a slabReader.
type readerCalls struct {
	r       *slabReader
	try     func(fd uintptr) (done bool) // tryOnce, made once
	packets []Packet                     // what has come
	err     error
}

func (rc *readerCalls) init(r *slabReader) { rc.r, rc.try = r, rc.tryOnce }

// next waits for datagrams. There may be an error beside some.
func (rc *readerCalls) next() ([]Packet, error) {
	r := rc.r
	raw := r.conn.batches.raw
	if raw == nil {
		return r.nextByNet()
	}
	rc.packets, rc.err = nil, nil
	if err := raw.Read(rc.try); err != nil {
		return nil, r.conn.opError("read", insideOf(err))
	}
	if rc.err != nil {
		return rc.packets, r.conn.opError("read", rc.err)
	}
	return rc.packets, nil
}

// tryOnce receives. It returns false if there is nothing, and has no memory then.
func (rc *readerCalls) tryOnce(fd uintptr) (done bool) {
	packets := rc.r.take()
	call := newPacketCall(len(packets))
	defer call.end()
	call.take(packets)
	if !call.read(fd) {
		rc.r.give()
		return false
	}
	call.give(packets)
	rc.packets, rc.err = packets[:call.done], call.err
	return true
}

// readNow is read that does not wait, and does not regard deadlines. If there is nothing to receive it returns 0 and no
// error.
func (io *packetIO) readNow(c *UDPConn, packets []Packet) (int, error) {
	call := newPacketCall(len(packets))
	defer call.end()
	call.take(packets)
	if err := io.raw.Control(call.readingNow); err != nil {
		return 0, c.opError("read", insideOf(err))
	}
	call.give(packets)
	if call.err != nil && call.err != sock.ErrWouldBlock {
		return call.done, c.opError("read", call.err)
	}
	return call.done, nil
}

// write implements WriteBatch.
func (io *packetIO) write(c *UDPConn, packets []Packet) (int, error) {
	if io.raw == nil {
		return c.writeEach(packets)
	}
	call := newPacketCall(len(packets))
	defer call.end()
	refused := io.put(call, packets)
	if call.count > 0 {
		if err := io.raw.Write(call.writeFunc); err != nil {
			return call.done, c.writeError(packets[call.done], insideOf(err))
		}
	}
	if call.err == nil {
		call.err = refused
	}
	if call.err != nil {
		return call.done, c.writeError(packets[call.done], call.err)
	}
	return call.done, nil
}

// put makes packets the datagrams of call, up to the first with a wrong address, whose error it returns.
func (io *packetIO) put(call *packetCall, packets []Packet) error {
	for i := range packets {
		p := &packets[i]
		if err := checkAddress(p.Addr, io.inet6, io.connected); err != nil {
			call.count = i
			return err
		}
		call.batch.Put(i, p.Data, p.Addr, io.inet6)
	}
	return nil
}

// stats returns what the system knows.
func (io *packetIO) stats() (s PacketStats, err error) {
	if io.raw == nil {
		return s, ErrUnsupported
	}
	controlErr := io.raw.Control(func(fd uintptr) {
		s.ReadBuffer, s.WriteBuffer, err = sock.Buffers(int(fd))
		if drops, err := sock.Drops(int(fd)); err == nil {
			s.Dropped = uint64(drops)
		}
	})
	return s, errors.Join(controlErr, err)
}

// insideOf returns the error that package net has wrapped into one of its RawConn.
func insideOf(err error) error {
	var op *net.OpError
	if errors.As(err, &op) {
		return op.Err
	}
	return err
}

// writeError gives the error of a packet that could not be sent the form of package net, which names the receiver.
func (c *UDPConn) writeError(p Packet, err error) error {
	to := c.socket.RemoteAddr()
	if p.Addr.IsValid() {
		to = net.UDPAddrFromAddrPort(p.Addr)
	}
	return &net.OpError{Op: "write", Net: c.network, Source: c.socket.LocalAddr(), Addr: to, Err: err}
}

// checkAddress returns the error of package net for an address that the socket cannot send to.
func checkAddress(to netip.AddrPort, inet6, connected bool) error {
	switch {
	case connected && to.IsValid():
		return net.ErrWriteToConnected
	case connected:
		return nil
	case !to.IsValid():
		return errNoTarget
	case !inet6 && !to.Addr().Is4() && !to.Addr().Is4In6():
		return &net.AddrError{Err: "non-IPv4 address", Addr: to.Addr().String()}
	}
	return nil
}
