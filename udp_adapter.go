package netpoll

// This file holds the methods of UDPConn over a net.PacketConn that is none of package net.

import (
	"net"
	"net/netip"
	"os"
	"syscall"
)

// packetAdapter is a udpSocket over any net.PacketConn.
type packetAdapter struct{ net.PacketConn }

var _ udpSocket = (*packetAdapter)(nil)

// connected returns the net.Conn that the PacketConn is as well, or an error.
func (a *packetAdapter) connected(op string) (net.Conn, error) {
	if conn, ok := a.PacketConn.(net.Conn); ok && conn.RemoteAddr() != nil {
		return conn, nil
	}
	return nil, a.unsupported(op, "connected sockets")
}

func (a *packetAdapter) unsupported(op, what string) error {
	return a.opError(op, Exception(ErrUnsupported, what))
}

func (a *packetAdapter) opError(op string, err error) error {
	addr := a.LocalAddr()
	network := ""
	if addr != nil {
		network = addr.Network()
	}
	return &net.OpError{Op: op, Net: network, Source: addr, Err: err}
}

// RemoteAddr returns the peer if there is one.
func (a *packetAdapter) RemoteAddr() net.Addr {
	if conn, ok := a.PacketConn.(net.Conn); ok {
		return conn.RemoteAddr()
	}
	return nil
}

// Read is ReadFrom without the sender.
func (a *packetAdapter) Read(b []byte) (int, error) {
	n, _, err := a.ReadFrom(b)
	return n, err
}

func (a *packetAdapter) Write(b []byte) (int, error) {
	conn, err := a.connected("write")
	if err != nil {
		return 0, err
	}
	return conn.Write(b)
}

func (a *packetAdapter) ReadFromUDP(b []byte) (n int, addr *net.UDPAddr, err error) {
	n, from, err := a.ReadFrom(b)
	return n, udpAddrOf(from), err
}

func (a *packetAdapter) ReadFromUDPAddrPort(b []byte) (n int, addr netip.AddrPort, err error) {
	n, from, err := a.ReadFrom(b)
	return n, addrPortOf(from), err
}

func (a *packetAdapter) ReadMsgUDP(b, oob []byte) (n, oobn, flags int, addr *net.UDPAddr, err error) {
	n, addr, err = a.ReadFromUDP(b)
	return n, 0, 0, addr, err
}

func (a *packetAdapter) ReadMsgUDPAddrPort(b, oob []byte) (n, oobn, flags int, addr netip.AddrPort, err error) {
	n, addr, err = a.ReadFromUDPAddrPort(b)
	return n, 0, 0, addr, err
}

func (a *packetAdapter) WriteToUDP(b []byte, addr *net.UDPAddr) (int, error) {
	if addr == nil {
		return 0, a.opError("write", errNoTarget)
	}
	return a.WriteTo(b, addr)
}

func (a *packetAdapter) WriteToUDPAddrPort(b []byte, addr netip.AddrPort) (int, error) {
	if !addr.IsValid() {
		return 0, a.opError("write", errNoTarget)
	}
	return a.WriteTo(b, net.UDPAddrFromAddrPort(addr))
}

func (a *packetAdapter) WriteMsgUDP(b, oob []byte, addr *net.UDPAddr) (n, oobn int, err error) {
	switch {
	case len(oob) > 0:
		return 0, 0, a.unsupported("write", "control data")
	case addr == nil:
		n, err = a.Write(b)
	default:
		n, err = a.WriteTo(b, addr)
	}
	return n, 0, err
}

func (a *packetAdapter) WriteMsgUDPAddrPort(b, oob []byte, addr netip.AddrPort) (n, oobn int, err error) {
	if !addr.IsValid() {
		return a.WriteMsgUDP(b, oob, nil)
	}
	return a.WriteMsgUDP(b, oob, net.UDPAddrFromAddrPort(addr))
}

func (a *packetAdapter) SetReadBuffer(bytes int) error {
	if b, ok := a.PacketConn.(interface{ SetReadBuffer(int) error }); ok {
		return b.SetReadBuffer(bytes)
	}
	return a.unsupported("set", "buffer sizes")
}

func (a *packetAdapter) SetWriteBuffer(bytes int) error {
	if b, ok := a.PacketConn.(interface{ SetWriteBuffer(int) error }); ok {
		return b.SetWriteBuffer(bytes)
	}
	return a.unsupported("set", "buffer sizes")
}

func (a *packetAdapter) File() (f *os.File, err error) {
	if filer, ok := a.PacketConn.(interface{ File() (*os.File, error) }); ok {
		return filer.File()
	}
	return nil, a.unsupported("file", "files")
}

func (a *packetAdapter) SyscallConn() (syscall.RawConn, error) {
	if s, ok := a.PacketConn.(syscall.Conn); ok {
		return s.SyscallConn()
	}
	return nil, a.unsupported("syscall", "access to the descriptor")
}

// addrPortOf returns the address in a, not valid if it has none.
func addrPortOf(a net.Addr) netip.AddrPort {
	switch a := a.(type) {
	case nil:
		return netip.AddrPort{}
	case interface{ AddrPort() netip.AddrPort }: // a *net.UDPAddr above all
		return a.AddrPort()
	}
	addr, _ := netip.ParseAddrPort(a.String())
	return addr
}

// udpAddrOf returns the address in a, nil if it has none.
func udpAddrOf(a net.Addr) *net.UDPAddr {
	if udp, ok := a.(*net.UDPAddr); ok {
		return udp
	}
	addr := addrPortOf(a)
	if !addr.IsValid() {
		return nil
	}
	return net.UDPAddrFromAddrPort(addr)
}
