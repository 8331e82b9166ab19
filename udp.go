package netpoll

// This file holds UDPConn with the methods of package net. Those that move many datagrams at once are in packet_batch.go,
// how one is made is in udp_listen.go.

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"sync"
	"syscall"
	"time"
)

// UDPConn is a UDP socket. It has every method of *[net.UDPConn], with the same signature and meaning: a program that uses
// one of these can use a UDPConn. Beside them there are ReadBatch and WriteBatch, and a [PacketLoop] can serve it.
//
// Goroutines that call its methods wait as those of package net do, by the poller of the Go runtime. Any number of
// goroutines may call any of them at any time, Close above all. Of several that receive, each gets other datagrams.
type UDPConn struct {
	socket  udpSocket
	network string
	batches packetIO
	counts  packetCounters
	gone    chan struct{} // closed when the socket is

	// mu guards the fields below. It is not held during calls of the user.
	mu     sync.Mutex
	closed bool
	user   packetUser
}

// udpSocket are the methods of *net.UDPConn.
type udpSocket interface {
	net.Conn
	net.PacketConn
	syscall.Conn
	File() (f *os.File, err error)
	ReadFromUDP(b []byte) (n int, addr *net.UDPAddr, err error)
	ReadFromUDPAddrPort(b []byte) (n int, addr netip.AddrPort, err error)
	ReadMsgUDP(b, oob []byte) (n, oobn, flags int, addr *net.UDPAddr, err error)
	ReadMsgUDPAddrPort(b, oob []byte) (n, oobn, flags int, addr netip.AddrPort, err error)
	WriteToUDP(b []byte, addr *net.UDPAddr) (int, error)
	WriteToUDPAddrPort(b []byte, addr netip.AddrPort) (int, error)
	WriteMsgUDP(b, oob []byte, addr *net.UDPAddr) (n, oobn int, err error)
	WriteMsgUDPAddrPort(b, oob []byte, addr netip.AddrPort) (n, oobn int, err error)
	SetReadBuffer(bytes int) error
	SetWriteBuffer(bytes int) error
}

var (
	_ udpSocket = (*net.UDPConn)(nil)
	_ udpSocket = (*UDPConn)(nil)
)

// packetUser is what receives from a socket without being asked: a server of packets.
type packetUser interface {
	// socketClosing is called before the socket is closed, once.
	socketClosing()
}

// errSocketServed ends a second Serve of a socket; the first goes on.
var errSocketServed = errors.New("netpoll: serve: socket is being served already")

// newUDPConn makes a UDPConn that owns socket.
func newUDPConn(socket udpSocket, network string) (*UDPConn, error) {
	c := &UDPConn{socket: socket, network: network, gone: make(chan struct{})}
	if err := c.batches.init(socket); err != nil {
		return nil, err
	}
	return c, nil
}

// bind makes user the one that receives. There can be one at a time.
func (c *UDPConn) bind(user packetUser) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.closed:
		return c.opError("read", net.ErrClosed)
	case c.user != nil:
		return errSocketServed
	}
	c.user = user
	return nil
}

// unbind undoes bind.
func (c *UDPConn) unbind(user packetUser) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.user == user {
		c.user = nil
	}
}

// shut marks c as closed. The first time it also returns the one that receives, if there is one.
func (c *UDPConn) shut() (user packetUser, first bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return nil, false
	}
	c.closed = true
	user, c.user = c.user, nil
	return user, true
}

// opError gives an error of a method that package net does not have the form of one that it has.
func (c *UDPConn) opError(op string, err error) error {
	return &net.OpError{Op: op, Net: c.network, Source: c.socket.LocalAddr(), Addr: c.socket.RemoteAddr(), Err: err}
}

// Close closes the socket and wakes the goroutines that wait in its methods, with an error that Is [net.ErrClosed]. A Serve
// of the socket returns such an error, when the handler that may be running has returned.
func (c *UDPConn) Close() error {
	user, first := c.shut()
	if !first {
		return c.opError("close", net.ErrClosed)
	}
	defer close(c.gone)
	if user != nil {
		user.socketClosing()
	}
	c.keepDrops()
	return c.socket.Close()
}

// closeNow is Close that also waits for one that has begun.
func (c *UDPConn) closeNow() {
	_ = c.Close()
	<-c.gone
}

// LocalAddr returns the address of this side, a *[net.UDPAddr].
func (c *UDPConn) LocalAddr() net.Addr { return c.socket.LocalAddr() }

// RemoteAddr returns the address of the peer, a *[net.UDPAddr], or nil if the socket is not connected.
func (c *UDPConn) RemoteAddr() net.Addr { return c.socket.RemoteAddr() }

// SetDeadline sets the deadlines for receiving and for sending, also of calls that wait already. The zero time means none.
// They do not limit a [PacketLoop].
func (c *UDPConn) SetDeadline(t time.Time) error { return c.socket.SetDeadline(t) }

// SetReadDeadline is SetDeadline for receiving.
func (c *UDPConn) SetReadDeadline(t time.Time) error { return c.socket.SetReadDeadline(t) }

// SetWriteDeadline is SetDeadline for sending.
func (c *UDPConn) SetWriteDeadline(t time.Time) error { return c.socket.SetWriteDeadline(t) }

// SetReadBuffer asks the system for that many bytes of buffer for what has arrived. Stats tells what it has granted.
func (c *UDPConn) SetReadBuffer(bytes int) error { return c.socket.SetReadBuffer(bytes) }

// SetWriteBuffer asks the system for that many bytes of buffer for what is being sent. Stats tells what it has granted.
func (c *UDPConn) SetWriteBuffer(bytes int) error { return c.socket.SetWriteBuffer(bytes) }

// File returns a duplicate of the descriptor, as the method of [net.UDPConn] does.
func (c *UDPConn) File() (f *os.File, err error) { return c.socket.File() }

// SyscallConn gives access to the descriptor, as the method of [net.UDPConn] does.
func (c *UDPConn) SyscallConn() (syscall.RawConn, error) { return c.socket.SyscallConn() }

// Read waits for a datagram and copies it into b. What does not fit is lost.
func (c *UDPConn) Read(b []byte) (int, error) { return c.socket.Read(b) }

// ReadFrom is Read that returns the sender, a *[net.UDPAddr].
func (c *UDPConn) ReadFrom(b []byte) (int, net.Addr, error) { return c.socket.ReadFrom(b) }

// ReadFromUDP is Read that returns the sender.
func (c *UDPConn) ReadFromUDP(b []byte) (n int, addr *net.UDPAddr, err error) {
	return c.socket.ReadFromUDP(b)
}

// ReadFromUDPAddrPort is Read that returns the sender, and allocates nothing. On a socket of both families an address of
// IPv4 is mapped into IPv6.
func (c *UDPConn) ReadFromUDPAddrPort(b []byte) (n int, addr netip.AddrPort, err error) {
	return c.socket.ReadFromUDPAddrPort(b)
}

// ReadMsgUDP is ReadFromUDP that also copies the control data that comes with the datagram into oob, and returns the
// system's flags.
func (c *UDPConn) ReadMsgUDP(b, oob []byte) (n, oobn, flags int, addr *net.UDPAddr, err error) {
	return c.socket.ReadMsgUDP(b, oob)
}

// ReadMsgUDPAddrPort is ReadMsgUDP with the sender as by ReadFromUDPAddrPort.
func (c *UDPConn) ReadMsgUDPAddrPort(b, oob []byte) (n, oobn, flags int, addr netip.AddrPort, err error) {
	return c.socket.ReadMsgUDPAddrPort(b, oob)
}

// Write sends b as one datagram to the peer of a connected socket.
func (c *UDPConn) Write(b []byte) (int, error) { return c.socket.Write(b) }

// WriteTo sends b as one datagram to addr, a *[net.UDPAddr]. It fails if the socket is connected.
func (c *UDPConn) WriteTo(b []byte, addr net.Addr) (int, error) { return c.socket.WriteTo(b, addr) }

// WriteToUDP is WriteTo.
func (c *UDPConn) WriteToUDP(b []byte, addr *net.UDPAddr) (int, error) {
	return c.socket.WriteToUDP(b, addr)
}

// WriteToUDPAddrPort is WriteTo that allocates nothing.
func (c *UDPConn) WriteToUDPAddrPort(b []byte, addr netip.AddrPort) (int, error) {
	return c.socket.WriteToUDPAddrPort(b, addr)
}

// WriteMsgUDP sends b with the control data in oob: to addr or, if the socket is connected, with a nil addr to its peer.
func (c *UDPConn) WriteMsgUDP(b, oob []byte, addr *net.UDPAddr) (n, oobn int, err error) {
	return c.socket.WriteMsgUDP(b, oob, addr)
}

// WriteMsgUDPAddrPort is WriteMsgUDP; for a connected socket addr is the zero value.
func (c *UDPConn) WriteMsgUDPAddrPort(b, oob []byte, addr netip.AddrPort) (n, oobn int, err error) {
	return c.socket.WriteMsgUDPAddrPort(b, oob, addr)
}
