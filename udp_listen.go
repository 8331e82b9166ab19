package netpoll

// This file holds how UDP sockets are made, and their options. Package net makes them: names, families, multicast.

import (
	"context"
	"errors"
	"net"
	"runtime"
	"syscall"

	"github.com/cloudwego/netpoll/internal/sock"
)

// UDPAddr is a [net.UDPAddr].
type UDPAddr = net.UDPAddr

// ResolveUDPAddr is [net.ResolveUDPAddr].
func ResolveUDPAddr(network, address string) (*UDPAddr, error) {
	return net.ResolveUDPAddr(network, address)
}

// PacketOption is an option of a UDP socket, or of a [PacketLoop].
type PacketOption struct{ f func(*packetOptions) }

type packetOptions struct {
	readBuffer, writeBuffer int // of sockets; 0 or less: as the system has it
	reusePort               bool
	batch                   int // of loops
	size                    int
}

const (
	// defaultPacketBatch is how many datagrams a loop receives at once at most.
	defaultPacketBatch = 32
	// maxPacketSize is more than any datagram of UDP has.
	maxPacketSize = 64 << 10
)

func newPacketOptions(ops []PacketOption) *packetOptions {
	o := &packetOptions{batch: defaultPacketBatch, size: maxPacketSize}
	for _, op := range ops {
		if op.f != nil {
			op.f(o)
		}
	}
	return o
}

// WithPacketReadBuffer asks the system for that many bytes of buffer for what has arrived and was not received yet: what
// does not fit is dropped. Where the process may, it goes beyond the limit of the system, which is SO_RCVBUFFORCE of
// Linux and needs CAP_NET_ADMIN. [UDPConn.Stats] tells what was granted. A loop applies it to the sockets that it serves.
func WithPacketReadBuffer(bytes int) PacketOption {
	return PacketOption{func(o *packetOptions) { o.readBuffer = bytes }}
}

// WithPacketWriteBuffer is WithPacketReadBuffer for what is being sent.
func WithPacketWriteBuffer(bytes int) PacketOption {
	return PacketOption{func(o *packetOptions) { o.writeBuffer = bytes }}
}

// WithPacketReusePort lets several sockets, of this process or others, have one address. All of them must have the option.
// It is for ListenUDP and ListenPacket; see [ListenPackets].
func WithPacketReusePort() PacketOption {
	return PacketOption{func(o *packetOptions) { o.reusePort = true }}
}

// WithPacketBatch limits how many datagrams a loop receives at once and gives to one call of its handler. The default is
// 32, and 64 is the most; 0 or less means the default.
func WithPacketBatch(n int) PacketOption {
	return PacketOption{func(o *packetOptions) {
		o.batch = min(n, maxPacketBatch)
		if n <= 0 {
			o.batch = defaultPacketBatch
		}
	}}
}

// WithPacketSize says how long the datagrams of a loop are at most, in bytes. Longer ones are truncated. The default, and
// the most, is what UDP can carry; 0 or less means the default. While a socket has input the loop has memory for a batch
// of datagrams of that size, so a smaller size saves memory.
func WithPacketSize(bytes int) PacketOption {
	return PacketOption{func(o *packetOptions) {
		o.size = min(bytes, maxPacketSize)
		if bytes <= 0 {
			o.size = maxPacketSize
		}
	}}
}

// ListenUDP is [net.ListenUDP] with options.
func ListenUDP(network string, laddr *net.UDPAddr, ops ...PacketOption) (*UDPConn, error) {
	o := newPacketOptions(ops)
	if !o.reusePort {
		conn, err := net.ListenUDP(network, laddr)
		return ownUDP(conn, network, o, err)
	}
	if !isUDP(network) {
		return nil, &net.OpError{Op: "listen", Net: network, Addr: opAddr(laddr), Err: net.UnknownNetworkError(network)}
	}
	address := ":0"
	if laddr != nil {
		address = laddr.String()
	}
	return listenUDP(network, address, o)
}

// DialUDP is [net.DialUDP] with options: the socket is connected, which means that it sends to raddr and receives from
// raddr alone, and learns that no program receives there.
func DialUDP(network string, laddr, raddr *net.UDPAddr, ops ...PacketOption) (*UDPConn, error) {
	conn, err := net.DialUDP(network, laddr, raddr)
	return ownUDP(conn, network, newPacketOptions(ops), err)
}

// ListenMulticastUDP is [net.ListenMulticastUDP] with options.
func ListenMulticastUDP(network string, ifi *net.Interface, gaddr *net.UDPAddr, ops ...PacketOption) (*UDPConn, error) {
	conn, err := net.ListenMulticastUDP(network, ifi, gaddr)
	return ownUDP(conn, network, newPacketOptions(ops), err)
}

// ListenPacket is [net.ListenPacket] with options. On the networks "udp", "udp4" and "udp6" the result is a [*UDPConn], on
// the others, such as "unixgram", it is a connection of package net, which ignores options that it has not.
func ListenPacket(network, address string, ops ...PacketOption) (net.PacketConn, error) {
	o := newPacketOptions(ops)
	if isUDP(network) {
		conn, err := listenUDP(network, address, o)
		if err != nil {
			return nil, err
		}
		return conn, nil
	}
	conn, err := net.ListenPacket(network, address)
	if err != nil {
		return nil, err
	}
	if b, ok := conn.(bufferSetter); ok {
		if err := o.setBuffers(b); err != nil {
			_ = conn.Close()
			return nil, &net.OpError{Op: "listen", Net: network, Source: nil, Addr: conn.LocalAddr(), Err: err}
		}
	}
	return conn, nil
}

// ListenPackets makes n sockets with one address, for a [PacketLoop] that serves them all: the system spreads the datagrams
// over them, and several processors can work on them. With an n of 0 or less there is one for each processor that Go uses.
// The network is "udp", "udp4" or "udp6"; a port of 0 is chosen by the system once for all.
//
// Linux decides by a hash of the addresses and ports of both sides, so all datagrams of one peer come to one socket, as long
// as the number of sockets stays the same. When a socket is added or closed, most peers move to another one; what was
// waiting in a closed one is lost. So make them once and close them together. FreeBSD, DragonFly and macOS take the
// option too, but give all datagrams to one of the sockets. Other systems refuse it.
func ListenPackets(network, address string, n int, ops ...PacketOption) ([]*UDPConn, error) {
	if n <= 0 {
		n = runtime.GOMAXPROCS(0)
	}
	if !isUDP(network) {
		return nil, &net.OpError{Op: "listen", Net: network, Err: net.UnknownNetworkError(network)}
	}
	o := newPacketOptions(ops)
	o.reusePort = true
	conns := make([]*UDPConn, 0, n)
	for range n {
		conn, err := listenUDP(network, address, o)
		if err != nil {
			for _, conn := range conns {
				_ = conn.Close()
			}
			return nil, err
		}
		conns = append(conns, conn)
		address = conn.LocalAddr().String()
	}
	return conns, nil
}

// NewUDPConn makes a UDPConn of a [net.PacketConn], which it owns from then on. After an error conn still belongs to the
// caller. A UDPConn is returned as it is, and a *[net.UDPConn] gives one with all abilities. Any other conn must have
// addresses like those of UDP. What its type does not have, such as the control data of ReadMsgUDP, gives an error that Is
// [ErrUnsupported]. Sockets that are none of UDP are refused with such an error.
func NewUDPConn(conn net.PacketConn) (*UDPConn, error) {
	if isNil(conn) {
		return nil, errors.New("netpoll: new UDP connection: it is nil")
	}
	switch conn := conn.(type) {
	case *UDPConn:
		return conn, nil
	case *net.UDPConn:
		return newUDPConn(conn, conn.LocalAddr().Network())
	case *net.UnixConn, *net.IPConn:
		return nil, Exception(ErrUnsupported, "sockets that are not UDP")
	}
	return newUDPConn(&packetAdapter{PacketConn: conn}, "udp")
}

// listenUDP listens as package net does.
func listenUDP(network, address string, o *packetOptions) (*UDPConn, error) {
	var config net.ListenConfig
	if o.reusePort {
		config.Control = reusePort(nil)
	}
	conn, err := config.ListenPacket(context.Background(), network, address)
	if err != nil {
		return nil, err
	}
	return ownUDP(conn.(*net.UDPConn), network, o, nil)
}

// ownUDP makes a UDPConn of what package net has returned.
func ownUDP(conn *net.UDPConn, network string, o *packetOptions, err error) (*UDPConn, error) {
	if err != nil {
		return nil, err
	}
	err = o.setBuffers(conn)
	if err == nil {
		var c *UDPConn
		if c, err = newUDPConn(conn, network); err == nil {
			return c, nil
		}
	}
	_ = conn.Close()
	return nil, &net.OpError{Op: "listen", Net: network, Addr: conn.LocalAddr(), Err: err}
}

// bufferSetter is a socket whose buffers can be set.
type bufferSetter interface {
	syscall.Conn
	SetReadBuffer(bytes int) error
	SetWriteBuffer(bytes int) error
}

// setBuffers asks for the sizes in o.
func (o *packetOptions) setBuffers(b bufferSetter) error {
	if o.readBuffer > 0 && !forceBuffer(b, sock.ForceReadBuffer, o.readBuffer) {
		if err := b.SetReadBuffer(o.readBuffer); err != nil {
			return err
		}
	}
	if o.writeBuffer > 0 && !forceBuffer(b, sock.ForceWriteBuffer, o.writeBuffer) {
		return b.SetWriteBuffer(o.writeBuffer)
	}
	return nil
}

// forceBuffer reports whether force has set a size beyond the limit of the system.
func forceBuffer(b bufferSetter, force func(fd uintptr, bytes int) bool, bytes int) (done bool) {
	raw, err := b.SyscallConn()
	if err != nil {
		return false
	}
	err = raw.Control(func(fd uintptr) { done = force(fd, bytes) })
	return done && err == nil
}

func isUDP(network string) bool { return network == "udp" || network == "udp4" || network == "udp6" }

// opAddr returns a as a net.Addr that is nil if a is.
func opAddr(a *net.UDPAddr) net.Addr {
	if a == nil {
		return nil
	}
	return a
}
